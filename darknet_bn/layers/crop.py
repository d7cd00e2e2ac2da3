"""``[crop]``: the middle of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.layer import Channels, Layer
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image


@dataclass(frozen=True, kw_only=True)
class Crop(Layer):
    """Cut out the middle, and stretch 0..1 to -1..1.  C: ``src/crop_layer.c``.

    In training, a different part is cut out each time, flipped, rotated and recoloured.
    """

    names: ClassVar[tuple[str, ...]] = ("crop",)
    channels: ClassVar[Channels] = "kept"

    crop_width: int = option(1, at_least=1)
    crop_height: int = option(1, at_least=1)
    noadjust: bool = option(False)
    flip: bool = option(False)
    angle: float = option(0.0)
    saturation: float = option(1.0)
    exposure: float = option(1.0)
    shift: float = option(0.0)

    def out_shape(self, xs: Shapes) -> Shape:
        """Return ``crop_width`` and ``crop_height``, which must fit in the image."""
        x = image(xs[0])
        for key, size, room in (
            ("crop_width", self.crop_width, x.w),
            ("crop_height", self.crop_height, x.h),
        ):
            if size > room:
                raise ShapeError(
                    "the part is larger than the image",
                    where=Where(key=key),
                    expected=f"at most {room}",
                    found=f"{size}",
                )
        return Shape(x.c, self.crop_height, self.crop_width)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Copy the middle, and stretch it."""
        top, left = (xs[0].h - self.crop_height) // 2, (xs[0].w - self.crop_width) // 2
        rows, columns = slice(top, top + self.crop_height), slice(left, left + self.crop_width)

        def crop(xs: Sequence[F32], y: F32) -> None:
            middle = xs[0][:, :, rows, columns]
            if self.noadjust:
                np.copyto(y, middle)
            else:
                np.multiply(middle, 2, out=y)
                np.subtract(y, 1, out=y)

        return crop

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Slice``, and the operators that stretch the values."""
        graph.require_fixed_size("a crop of the middle")
        graph.not_trained = "a random part of the images"
        middle = values[0]
        for axis, size, room in ((2, self.crop_height, xs[0].h), (3, self.crop_width, xs[0].w)):
            start = (room - size) // 2
            middle = graph.slice(middle, axis, start, start + size)
        return middle if self.noadjust else graph.shifted(graph.scaled(middle, 2), -1)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Cut out a random part, the same for all images, and flip it or not.

        C: ``forward_crop_layer``; nothing goes back.  There, rotation and recolouring need the GPU.
        """
        x, rng = xs[0], context.rng
        top = int(rng.integers(x.shape[2] - self.crop_height + 1))
        left = int(rng.integers(x.shape[3] - self.crop_width + 1))
        part = x[:, :, top : top + self.crop_height, left : left + self.crop_width]
        if self.flip and rng.random() < 0.5:
            part = part[..., ::-1]
        y = part.copy() if self.noadjust else part * 2 - 1
        return Trained(y, lambda delta: Backward((None,)))
