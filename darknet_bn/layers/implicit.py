"""``[implicit]``: trained values that do not depend on any input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ShapeError
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Param, Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes


@dataclass(frozen=True, kw_only=True)
class Implicit(Layer):
    """Return the same values for every image.  C: AlexeyAB's ``src/representation_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("implicit",)
    extended: ClassVar[bool] = True

    filters: int = option(128, at_least=1)
    atoms: int = option(1, at_least=1)
    mean: float = option(0.0)
    std: float = option(0.2)

    def sources(self, index: int) -> tuple[int, ...]:
        """Return no layers."""
        return ()

    def out_shape(self, xs: Shapes) -> Shape:
        """Return ``filters`` channels of ``atoms`` rows of one pixel."""
        return Shape(self.filters, self.atoms, 1)

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Return the values, filter by filter."""
        if not abs(self.mean) + abs(self.std) <= float(np.finfo(np.float32).max):
            raise ShapeError(
                "the first values do not fit into float32",
                expected="a finite mean and std",
                found=f"{self.mean:g} and {self.std:g}",
            )
        return (Param("weights", (self.filters, self.atoms), init=self._draw),)

    def _draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> F32:
        spread = abs(self.std)
        return rng.uniform(self.mean - spread, self.mean + spread, shape).astype(np.float32)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Copy the values for every image."""
        weights = p["weights"]

        def repeat(xs: Sequence[F32], y: F32) -> None:
            np.copyto(y[:, :, :, 0], weights)

        return repeat

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Expand`` to the batch."""
        batch = graph.slice(graph.add("Shape", graph.images), 0, 0, 1)
        dims = graph.ints("dims", self.filters, self.atoms, 1)
        shape = graph.add("Concat", batch, dims, axis=0)
        weights = graph.shaped_parameter("weights", 1, self.filters, self.atoms, 1)
        return graph.add("Expand", weights, shape)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Copy the values for every image; the updates are summed over them."""
        weights = p["weights"]
        y = np.empty((context.batch, *weights.shape, 1), weights.dtype)
        np.copyto(y[:, :, :, 0], weights)
        return Trained(y, lambda delta: Backward((), {"weights": delta[:, :, :, 0].sum(axis=0)}))
