"""``[upsample]``: repeat every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.upsample import downsample_cpu, upsample_cpu
from darknet_bn.layers.layer import Channels, Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image
from darknet_bn.work.cuts import Block, run_blocks


@dataclass(frozen=True, kw_only=True)
class Upsample(Layer):
    """Repeat pixels in squares; with a negative stride, add up squares of pixels.

    C: ``src/upsample_layer.c``.
    """

    names: ClassVar[tuple[str, ...]] = ("upsample",)
    channels: ClassVar[Channels] = "kept"

    stride: int = option(lambda dialect: 1 if dialect.opencv else 2)
    scale: float = option(1.0)

    def out_shape(self, xs: Shapes) -> Shape:
        """Multiply rows and columns by the stride, or divide them."""
        x, side = image(xs[0]), abs(self.stride)
        if side == 0:
            raise ShapeError(
                "the stride must not be 0", where=Where(key="stride"), expected="1 or more, or -1…"
            )
        if self.stride > 0:
            return Shape(x.c, x.h * side, x.w * side)
        if x.h % side or x.w % side:
            raise ShapeError(
                f"squares of side {side} do not fill the image",
                where=Where(key="stride"),
                expected=f"w and h divisible by {side}",
                found=f"{x}",
            )
        return Shape(x.c, x.h // side, x.w // side)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Repeat or add up."""
        sample = upsample_cpu if self.stride > 0 else downsample_cpu
        side = abs(self.stride)

        def resize(xs: Sequence[F32], y: F32) -> None:
            x = xs[0]

            def block(at: Block) -> None:
                sample(x[at], side, self.scale, y[at])

            n, c, h, w = y.shape if self.stride > 0 else x.shape
            run_blocks(block, n, c, h * w)

        return resize

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Resize`` by repeating, or ``AveragePool``."""
        side = abs(self.stride)
        if self.stride < 0:
            mean = graph.add("AveragePool", values[0], kernel_shape=[side] * 2, strides=[side] * 2)
            return graph.scaled(mean, self.scale * side**2)
        scales = graph.constant("scales", np.array([1, 1, side, side], np.float32), exact=True)
        large = graph.add(
            "Resize",
            values[0],
            None,
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        return graph.scaled(large, self.scale)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Resize; the backward pass does the opposite.  In C, a negative stride overwrites."""
        x = xs[0]
        overwrites = self.stride < 0 and not context.dialect.exact_gradients

        def back(delta: F32) -> Backward:
            given = np.empty_like(x)
            sample = downsample_cpu if self.stride > 0 else upsample_cpu
            sample(delta, abs(self.stride), self.scale, given)
            return Backward((given,), overwrites=overwrites)

        return Trained(as_inferred(self, xs, p, context), back)

    def size_text(self) -> str:
        """``stride x``."""
        return f"{self.stride}x"
