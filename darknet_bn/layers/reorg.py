"""``[reorg]``: fewer pixels with more channels, in YOLOv2's unusual order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.reorg import flatten, reorg_cpu
from darknet_bn.layers.layer import Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import UnevenImageError, flat, image


@dataclass(frozen=True, kw_only=True)
class Reorg(Layer):
    """Reorder the values; ``flatten`` and ``extra`` are pjreddie's.  C: ``src/reorg_layer.c``.

    C always treats the shape of the input as the shape of the small image, so that without
    ``reverse`` the result is not a plain space-to-depth: ``src/reorg_old_layer.c`` of AlexeyAB.
    """

    names: ClassVar[tuple[str, ...]] = ("reorg",)

    stride: int = option(lambda dialect: 2 if dialect.opencv else 1, at_least=1)
    reverse: bool = option(False)
    flatten: bool = option(False, original=True)
    extra: int = option(0, at_least=0, original=True)

    def out_shape(self, xs: Shapes) -> Shape:
        """Exchange pixels for channels, or append ``extra`` zeros."""
        if self.extra:
            if self.flatten:
                raise ShapeError(
                    "extra and flatten cannot be used together",
                    where=Where(key="extra"),
                    expected="at most one of them",
                )
            return Shape(xs[0].size + self.extra, flat=True)
        x = image(xs[0])
        y = reorged(x, self.stride, reverse=self.reverse)
        if not self.flatten and x.c % self.stride**2:
            raise ShapeError(
                f"stride={self.stride} does not fit the channels",
                where=Where(key="stride"),
                expected=f"channels divisible by {self.stride**2}",
                found=f"{x.c}",
            )
        return y

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Copy in a different order."""
        x_shape = xs[0]

        def reorder(xs: Sequence[F32], y: F32) -> None:
            if self.flatten:
                pixels = x_shape.h * x_shape.w
                flatten(xs[0], pixels, x_shape.c, y, forward=not self.reverse)
            elif self.extra:
                flat(y)[:, : x_shape.size] = flat(xs[0])
                flat(y)[:, x_shape.size :] = 0
            else:
                dims = (x_shape.c, x_shape.h, x_shape.w)
                reorg_cpu(xs[0], dims, self.stride, y, forward=self.reverse)

        return reorder

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Reshape`` and ``Transpose``, ``DepthToSpace`` with ``reverse``."""
        x, y, side = xs[0], self.out_shape(xs), self.stride
        if self.extra:
            graph.require_fixed_size("extra=")
            flat_x = values[0] if x.flat else graph.add("Flatten", values[0], axis=1)
            return graph.pad(flat_x, (0, 0), (0, self.extra))
        if self.flatten:
            graph.require_fixed_size("flatten=1")
            rows = (x.h * x.w, x.c) if self.reverse else (x.c, x.h * x.w)
            turned = graph.add("Transpose", graph.reshape(values[0], *rows), perm=[0, 2, 1])
            return graph.reshape(turned, *y.dims)
        if self.reverse:
            return graph.add("DepthToSpace", values[0], blocksize=side, mode="DCR")
        graph.require_fixed_size("the order of [reorg]")
        squares = graph.reshape(values[0], x.c // side**2, x.h, side, x.w, side)
        return graph.reshape(graph.add("Transpose", squares, perm=[0, 3, 5, 1, 2, 4]), *y.dims)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Copy in a different order; the backward pass, which overwrites in C, undoes this."""
        x = xs[0]

        def back(delta: F32) -> Backward:
            given = np.empty_like(x)
            if self.flatten:
                pixels = x.shape[2] * x.shape[3]
                flatten(delta, pixels, x.shape[1], given, forward=self.reverse)
            elif self.extra:
                np.copyto(flat(given), flat(delta)[:, : flat(x).shape[1]])
            else:
                dims = (x.shape[1], x.shape[2], x.shape[3])
                reorg_cpu(delta, dims, self.stride, given, forward=not self.reverse)
            return Backward((given,), overwrites=not context.dialect.exact_gradients)

        return Trained(as_inferred(self, xs, p, context), back)

    def size_text(self) -> str:
        """``/ stride``."""
        return "" if self.extra else f"/ {self.stride}"


def reorged(x: Shape, stride: int, *, reverse: bool) -> Shape:
    """Return the shape with ``stride**2`` times the channels, or ``stride**2`` times the pixels.

    Raises
    ------
    ShapeError
        The stride does not divide the shape.
    """
    square = stride**2
    if reverse:
        if x.c % square:
            raise ShapeError(
                f"stride={stride} does not fit the channels",
                where=Where(key="stride"),
                expected=f"channels divisible by {square}",
                found=f"{x.c}",
            )
        return Shape(x.c // square, x.h * stride, x.w * stride)
    if x.h % stride or x.w % stride:
        raise UnevenImageError(
            f"stride={stride} does not fit the image",
            stride,
            where=Where(key="stride"),
            found=f"{x}",
        )
    return Shape(x.c * square, x.h // stride, x.w // stride)
