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
