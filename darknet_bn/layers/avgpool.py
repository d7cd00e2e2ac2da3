"""``[avgpool]``: the mean of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.kernels.avgpool_layer import forward_avgpool_layer
from darknet_bn.layers.base import Layer, Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.shapes import image


@dataclass(frozen=True, kw_only=True)
class AvgPool(Layer):
    """Average over all pixels.  C: ``src/avgpool_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("avgpool", "avg")

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the channels, of one pixel each."""
        return Shape(image(xs[0]).c)

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Average."""

        def average(xs: Sequence[F32], y: F32) -> None:
            forward_avgpool_layer(xs[0], y)

        return average
