"""One layer in training, on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import darknet_bn as dn
from darknet_bn.dialect import Dialect
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.passes import Trained, TrainingContext
from darknet_bn.layers.shape import Shape
from tests.support.examples import Example, apart, drawn


def train_layer(
    layer: Layer,
    x: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    dialect: Dialect = dn.PJREDDIE.sound,
    params: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    **more: Any,
) -> Trained:
    """The forward pass, with the backward pass to come."""
    rng = np.random.default_rng(seed)
    training = TrainingContext(dialect, rng, Shape(3, 8, 8), truth, batch=len(x), **more)
    return layer.train([x], params or {}, training)


def delta_x(done: Trained, delta_y: np.ndarray | float = 0.0) -> np.ndarray:
    """What goes back to the input for a delta of the output."""
    (given,) = done.back(
        np.broadcast_to(np.asarray(delta_y, done.y.dtype), done.y.shape).copy()
    ).deltas
    assert given is not None
    return given


def slope_of_loss(layer: Layer, x: np.ndarray, truth: np.ndarray, dialect: Dialect) -> np.ndarray:
    """The derivative of the loss by each value of the input, by central differences."""
    slope = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        losses = []
        for step in (1e-5, -1e-5):
            moved = x.copy()
            moved[place] += step
            loss = train_layer(layer, moved, truth, dialect=dialect).loss
            assert loss is not None
            losses.append(loss)
        slope[place] = (losses[0] - losses[1]) / 2e-5
    return slope


class Case:
    """An example with values drawn, all in one type."""

    def __init__(self, example: Example, dialect: Dialect, dtype: Any = np.float64) -> None:
        rng = np.random.default_rng([len(example.text), example.seed])
        self.example, self.dialect = example, dialect
        self.layer = example.layer(dialect)
        self.shapes = example.sources
        self.xs = [apart(rng, (example.batch, *shape.dims)).astype(dtype) for shape in self.shapes]
        self.p = {
            param.name: drawn(rng, param.name, param.shape).astype(dtype)
            for param in self.layer.params(self.shapes, dialect)
        }
        self.truth = None
        if example.truth is not None:
            self.truth = rng.uniform(0.1, 0.9, (example.batch, *example.truth)).astype(dtype)
        self.state = {
            name: rng.standard_normal(shape).astype(dtype) for name, shape in example.state.items()
        }
        y = self.forward().y
        self.weights = rng.standard_normal(y.shape).astype(dtype)

    def training(self) -> TrainingContext:
        return TrainingContext(
            self.dialect,
            np.random.default_rng(3),
            Shape(1, 8, 8),
            self.truth,
            batch=self.example.batch,
            time_steps=self.example.time_steps,
            state=dict(self.state),
        )

    def forward(self) -> Trained:
        return self.layer.train(self.xs, self.p, self.training())

    def loss(self) -> float:
        done = self.forward()
        return float((done.y * self.weights).sum()) + (done.loss or 0.0)
