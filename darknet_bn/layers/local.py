"""``[local]``: a convolution with different filters for each pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ShapeError, Where
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, activate_training
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.kernels.convolution.local import backward_local_layer, forward_local_layer
from darknet_bn.layers.activation import activation_option
from darknet_bn.layers.layer import Cost, Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Param, Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image, window_text
from darknet_bn.layers.shared.initial import Uniform
from darknet_bn.layers.shared.reach import Reach
from darknet_bn.layers.shared.windows_graph import convolved


@dataclass(frozen=True, kw_only=True)
class Local(Layer):
    """Separate filters for every output pixel.  C: ``src/local_layer.c``.

    The layer does not have batch norm.
    """

    names: ClassVar[tuple[str, ...]] = ("local",)

    filters: int = option(1, at_least=1)
    size: int = option(1, at_least=1)
    stride: int = option(1, at_least=1)
    pad: bool = option(False)
    activation: str = activation_option("logistic")

    @property
    def _geometry(self) -> ConvGeometry:
        return ConvGeometry(
            size=self.size, stride_x=self.stride, stride_y=self.stride, pad=int(self.pad)
        )

    def out_shape(self, xs: Shapes) -> Shape:
        """Slide over the image, with a border of one pixel if ``pad`` is on."""
        x = image(xs[0])
        if self.pad and self.size != 3:
            raise ShapeError(
                "Darknet has a bug here: it pads by one pixel, but counts the windows "
                "as if it padded by half their size",
                where=Where(key="pad"),
                expected="size=3, or pad=0",
                found=f"size={self.size}",
            )
        h, w = self._geometry.out_hw(x.h, x.w)
        if h < 1 or w < 1:
            raise ShapeError(
                f"filters of size {self.size} do not fit into the image",
                expected=f"at least {self.size} x {self.size} with its padding",
                found=f"{x.w} x {x.h}, padding {int(self.pad)}",
            )
        return Shape(self.filters, h, w)

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Return one bias for each output, then the filters of each output pixel.

        C draws initial filters only for the first pixel, and leaves the others at zero.
        """
        y = self.out_shape(xs)
        filters = (self.filters, xs[0].c, self.size, self.size)
        draw = Uniform(math.sqrt(2.0 / math.prod(filters[1:])))
        return (Param("biases", y.dims), Param("weights", (y.h * y.w, *filters), init=draw))

    def reach(self, xs: Shapes) -> Reach:
        """Return the extent of the filters."""
        return Reach((self.size - 1, self.size - 1), (self.stride, self.stride))

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Multiply, add, activate."""
        activation = ACTIVATIONS[self.activation]

        def multiply(xs: Sequence[F32], y: F32) -> None:
            forward_local_layer(xs[0], p["weights"], p["biases"], self._geometry, activation, y)

        return multiply

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Conv`` to extract each window, ``MatMul`` by its filters."""
        graph.require_fixed_size("a filter for every pixel")
        y, c, taps = self.out_shape(xs), xs[0].c, self.size**2
        each = np.eye(taps, dtype=np.float32).reshape(taps, 1, self.size, self.size)
        kernel = graph.constant("taps", np.tile(each, (c, 1, 1, 1)))
        geometry = replace(self._geometry, groups=c)
        seen = convolved(graph, values[0], kernel, None, geometry, xs[0])
        pixels = y.h * y.w
        seen = graph.add("Transpose", graph.reshape(seen, c * taps, pixels), perm=[2, 1, 0])
        filters = graph.shaped_parameter("weights", pixels, self.filters, c * taps)
        sums = graph.add("MatMul", filters, seen)
        image = graph.reshape(graph.add("Transpose", sums, perm=[2, 1, 0]), *y.dims)
        biased = graph.add("Add", image, graph.parameter("biases"))
        return activated(graph, biased, self.activation)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Multiply, add, activate.  C: ``backward_local_layer``."""
        z = as_inferred(replace(self, activation="linear"), xs, p, context)
        y, activation_back = activate_training(z, self.activation, context.dialect)

        def back(delta: F32) -> Backward:
            delta = activation_back(delta)
            given, weights = backward_local_layer(xs[0], p["weights"], delta, self._geometry)
            updates = {"biases": delta.sum(axis=0), "weights": weights}
            return Backward((given,), updates, delta)

        return Trained(y, back)

    def cost(self, xs: Shapes) -> Cost:
        """Count two operations per weight."""
        return Cost(2 * self.out_shape(xs).size * xs[0].c * self.size**2)

    def size_text(self) -> str:
        """``size x size / stride``."""
        return window_text(self.size, self.stride, self.stride)
