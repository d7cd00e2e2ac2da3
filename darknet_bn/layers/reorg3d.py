"""``[reorg3d]``: fewer pixels with more channels, in the plain order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.kernels.reorg import reorg_cpu
from darknet_bn.layers.base import Layer, Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.options import option
from darknet_bn.layers.reorg import reorged
from darknet_bn.layers.shapes import image


@dataclass(frozen=True, kw_only=True)
class Reorg3d(Layer):
    """Space to depth.  C: ``src/reorg_layer.c`` of AlexeyAB.

    C takes the shape of the output for that of the small image, whichever it is, so that
    ``reverse`` does not undo it.
    """

    names: ClassVar[tuple[str, ...]] = ("reorg3d",)
    extended: ClassVar[bool] = True

    stride: int = option(1, at_least=1)
    reverse: bool = option(False)

    def out_shape(self, xs: Shapes) -> Shape:
        """Trade pixels for channels."""
        y = reorged(image(xs[0]), self.stride, reverse=self.reverse)
        if y.c % self.stride**2:
            raise ShapeError(
                f"stride={self.stride} does not fit the channels of the output",
                where=Where(key="stride"),
                expected=f"channels divisible by {self.stride**2}",
                found=f"{y.c}",
            )
        return y

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Copy in another order."""
        y_shape = self.out_shape(xs)
        dims = (y_shape.c, y_shape.h, y_shape.w)

        def reorder(xs: Sequence[F32], y: F32) -> None:
            reorg_cpu(xs[0], dims, self.stride, y, forward=self.reverse)

        return reorder

    def size_text(self) -> str:
        """``/ stride``."""
        return f"/ {self.stride}"
