"""``[local_avgpool]``: the mean of every window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.pooling.average import (
    backward_local_avgpool_layer,
    forward_local_avgpool_layer,
)
from darknet_bn.kernels.pooling.windows import Window
from darknet_bn.layers.layer import Channels, Cost, Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image, pooled, window_text
from darknet_bn.layers.shared.reach import Reach
from darknet_bn.layers.shared.windows_graph import pooled_average


@dataclass(frozen=True, kw_only=True)
class LocalAvgPool(Layer):
    """Windows over each channel; pixels outside the image are ignored.

    C: ``parse_local_avgpool`` in AlexeyAB's ``src/parser.c``, ``src/maxpool_layer.c``.
    """

    names: ClassVar[tuple[str, ...]] = ("local_avgpool", "local_avg")
    channels: ClassVar[Channels] = "kept"
    extended: ClassVar[bool] = True

    stride: int = option(1, at_least=1)
    size: int | None = option(None, at_least=1)
    padding: int | None = option(None, at_least=0)
    stride_x: int | None = option(None, at_least=1)
    stride_y: int | None = option(None, at_least=1)

    @property
    def window(self) -> Window:
        """How the windows move."""
        size = self.size or self.stride
        padding = size - 1 if self.padding is None else self.padding
        return Window(size, self.stride_x or self.stride, self.stride_y or self.stride, padding)

    def out_shape(self, xs: Shapes) -> Shape:
        """Count the windows."""
        return pooled(image(xs[0]), self.window)

    def reach(self, xs: Shapes) -> Reach:
        """Return the extent of the windows."""
        window = self.window
        return Reach((window.size - 1, window.size - 1), (window.stride_y, window.stride_x))

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Average."""
        window = self.window

        def average(xs: Sequence[F32], y: F32) -> None:
            forward_local_avgpool_layer(xs[0], window, y)

        return average

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``AveragePool``."""
        return pooled_average(graph, values[0], self.window, xs[0])

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Average; in C the shares of the delta are too small at the edges."""
        x, exact = xs[0], context.dialect.exact_gradients

        def back(delta: F32) -> Backward:
            given = backward_local_avgpool_layer(x, delta, self.window, over_inside=exact)
            return Backward((given,))

        return Trained(as_inferred(self, xs, p, context), back)

    def cost(self, xs: Shapes) -> Cost:
        """Count an addition for every element of every window, as AlexeyAB does."""
        return Cost(pooled(xs[0], self.window).size * self.window.size**2)

    def size_text(self) -> str:
        """``size x size / stride``."""
        return window_text(self.window.size, self.window.stride_x, self.window.stride_y)
