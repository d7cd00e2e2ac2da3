"""``[reorg3d]``: fewer pixels with more channels, in the usual order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.reorg import reorg_cpu
from darknet_bn.layers.layer import Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.reorg import reorged
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image


@dataclass(frozen=True, kw_only=True)
class Reorg3d(Layer):
    """Space to depth.  C: AlexeyAB's ``src/reorg_layer.c``.

    C always treats the shape of the output as the shape of the small image, so that ``reverse``
    does not undo it.
    """

    names: ClassVar[tuple[str, ...]] = ("reorg3d",)
    extended: ClassVar[bool] = True

    stride: int = option(1, at_least=1)
    reverse: bool = option(False)

    def out_shape(self, xs: Shapes) -> Shape:
        """Exchange pixels for channels."""
        y = reorged(image(xs[0]), self.stride, reverse=self.reverse)
        if y.c % self.stride**2:
            raise ShapeError(
                f"stride={self.stride} does not fit the channels of the output",
                where=Where(key="stride"),
                expected=f"channels divisible by {self.stride**2}",
                found=f"{y.c}",
            )
        return y

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Copy in a different order."""
        y_shape = self.out_shape(xs)
        dims = (y_shape.c, y_shape.h, y_shape.w)

        def reorder(xs: Sequence[F32], y: F32) -> None:
            reorg_cpu(xs[0], dims, self.stride, y, forward=self.reverse)

        return reorder

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``SpaceToDepth``; with ``reverse`` the operators for what C computes."""
        y, side = self.out_shape(xs), self.stride
        if not self.reverse:
            return graph.add("SpaceToDepth", values[0], blocksize=side)
        graph.require_fixed_size("the reverse order of [reorg3d]")
        squares = graph.reshape(values[0], side, side, y.c // side**2, y.h, y.w)
        return graph.reshape(graph.add("Transpose", squares, perm=[0, 3, 4, 1, 5, 2]), *y.dims)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Copy in a different order; the backward pass, which overwrites in C, undoes this."""
        x, y = xs[0], as_inferred(self, xs, p, context)
        dims = (y.shape[1], y.shape[2], y.shape[3])

        def back(delta: F32) -> Backward:
            given = np.empty_like(x)
            reorg_cpu(delta, dims, self.stride, given, forward=not self.reverse)
            return Backward((given,), overwrites=not context.dialect.exact_gradients)

        return Trained(y, back)

    def size_text(self) -> str:
        """``/ stride``."""
        return f"/ {self.stride}"
