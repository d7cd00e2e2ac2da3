"""``[maxpool]``: the largest value of every window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ExportError, ShapeError, Where
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.convolution.blur import (
    backward_blur,
    backward_blur_as_coded,
    blur,
    blurred_size,
)
from darknet_bn.kernels.pooling.maximum import (
    backward_maxpool_depth,
    backward_maxpool_layer,
    forward_maxpool_depth,
    forward_maxpool_layer,
)
from darknet_bn.kernels.pooling.windows import Window
from darknet_bn.layers.layer import Channels, Cost, Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image, pooled, window_text
from darknet_bn.layers.shared.reach import Reach
from darknet_bn.layers.shared.windows_graph import blurred, pooled_max


@dataclass(frozen=True, kw_only=True)
class MaxPool(Layer):
    """Windows over each channel, or with ``maxpool_depth`` over the channels of each pixel.

    C: ``src/maxpool_layer.c``.
    """

    names: ClassVar[tuple[str, ...]] = ("maxpool", "max")
    channels: ClassVar[Channels] = "kept"

    stride: int = option(lambda dialect: 2 if dialect.opencv else 1, at_least=1)
    size: int | None = option(lambda dialect: 2 if dialect.opencv else None, at_least=1)
    padding: int | None = option(None, at_least=0)
    stride_x: int | None = option(None, at_least=1, extended=True)
    stride_y: int | None = option(None, at_least=1, extended=True)
    maxpool_depth: bool = option(False, extended=True)
    out_channels: int = option(1, at_least=1, extended=True)
    antialiasing: int = option(0, extended=True)
    maxpool_zero_nonmax: bool = option(False, extended=True)

    @property
    def strides(self) -> tuple[int, int]:
        """Distances between windows in x and y, in pixels."""
        return self.stride_x or self.stride, self.stride_y or self.stride

    @property
    def window(self) -> Window:
        """How the windows move; by one pixel with antialiasing, because the blur has the stride."""
        stride_x, stride_y = (1, 1) if self.antialiasing else self.strides
        size = self.size or self.stride
        padding = size - 1 if self.padding is None else self.padding
        return Window(size, stride_x, stride_y, padding)

    def out_shape(self, xs: Shapes) -> Shape:
        """Count the windows, or keep the pixels with ``maxpool_depth``."""
        x = image(xs[0])
        if self.maxpool_depth:
            if self.out_channels > x.c:
                raise ShapeError(
                    "there are more output channels than input channels",
                    where=Where(key="out_channels"),
                    expected=f"at most {x.c}",
                    found=f"{self.out_channels}",
                )
            return Shape(self.out_channels, x.h, x.w)
        before = pooled(x, self.window)
        if not self.antialiasing:
            return before
        stride_x, stride_y = self.strides
        h = blurred_size(before.h, self.antialiasing, stride_y)
        w = blurred_size(before.w, self.antialiasing, stride_x)
        if h < 1 or w < 1:
            raise ShapeError("the blur does not fit into the image", found=f"{before}")
        return Shape(x.c, h, w)

    def reach(self, xs: Shapes) -> Reach:
        """Return the extent of the windows; the blur reads two pixels more."""
        if self.maxpool_depth:
            return Reach((0, 0), (1, 1))
        more = self.window.size - 1 + (2 if self.antialiasing else 0)
        stride_x, stride_y = self.strides
        return Reach((more, more), (stride_y, stride_x))

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Pool, and blur."""
        window = self.window

        def pool_depth(xs: Sequence[F32], y: F32) -> None:
            forward_maxpool_depth(xs[0], y)

        def pool(xs: Sequence[F32], y: F32) -> None:
            forward_maxpool_layer(xs[0], window, y)

        def pool_and_blur(xs: Sequence[F32], y: F32) -> None:
            sharp = np.empty((len(y), *before.dims), np.float32)
            forward_maxpool_layer(xs[0], window, sharp)
            blur(sharp, self.antialiasing, *self.strides, y)

        if self.maxpool_depth:
            return pool_depth
        if not self.antialiasing:
            return pool
        before = pooled(xs[0], window)
        return pool_and_blur

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``MaxPool``, and blur; ``Max`` of parts of the channels with ``maxpool_depth``."""
        x, depth = xs[0], self.out_channels
        if self.maxpool_depth:
            sizes = [min(depth, x.c - start) for start in range(0, x.c, depth)]
            if len(set(sizes)) > 1 or sizes[0] != depth:
                raise ExportError(
                    "ONNX needs channels that divide into equal parts",
                    expected=f"a multiple of {depth}",
                    found=f"{x.c}",
                )
            return graph.add("Max", *graph.split(values[0], 1, sizes))
        y = pooled_max(graph, values[0], self.window, x)
        if not self.antialiasing:
            return y
        return blurred(graph, y, x.c, self.antialiasing, self.strides)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Pool, and blur; the backward pass goes to the largest value of each window.

        C: ``backward_maxpool_layer``, which goes backward as if there were no blur.
        """
        x, window = xs[0], self.window
        if self.maxpool_depth:
            y = as_inferred(self, xs, p, context)
            return Trained(y, lambda delta: Backward((backward_maxpool_depth(x, y, delta),)))
        before = pooled(Shape.of(x), window)
        sharp = np.empty((len(x), *before.dims), x.dtype)
        forward_maxpool_layer(x, window, sharp)

        def back(delta: F32) -> Backward:
            return Backward((backward_maxpool_layer(x, sharp, delta, window),))

        if not self.antialiasing:
            return Trained(sharp, back)
        y = np.empty((len(x), *self.out_shape((Shape.of(x),)).dims), x.dtype)
        blur(sharp, self.antialiasing, *self.strides, y)
        sharp_hw = (before.h, before.w)

        def back_through_blur(delta: F32) -> Backward:
            if not context.dialect.exact_gradients:
                return back(backward_blur_as_coded(delta, sharp_hw))
            return back(backward_blur(delta, self.antialiasing, *self.strides, sharp_hw))

        return Trained(y, back_through_blur)

    def cost(self, xs: Shapes) -> Cost:
        """Count a comparison for every element of every window, as AlexeyAB does."""
        if self.maxpool_depth:
            return Cost(xs[0].size)
        return Cost(pooled(xs[0], self.window).size * self.window.size**2)

    def size_text(self) -> str:
        """``size x size / stride``."""
        return "" if self.maxpool_depth else window_text(self.window.size, *self.strides)
