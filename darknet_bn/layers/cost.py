"""``[cost]``: compares with the truth in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.layers.base import Layer, Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.options import option


@dataclass(frozen=True, kw_only=True)
class CostLayer(Layer):
    """The loss.  C: ``src/cost_layer.c``.

    Without a truth its output stays zero.
    """

    names: ClassVar[tuple[str, ...]] = ("cost",)
    is_loss: ClassVar[bool] = True

    type: str = option("sse", choices=("sse", "masked", "smooth", "seg", "L1", "wgan"))
    scale: float = option(1.0)
    ratio: float = option(0.0)
    noobj: float = option(1.0, original=True)
    thresh: float = option(0.0, original=True)

    def out_shape(self, xs: Shapes) -> Shape:
        """Give as many values as come in, without image shape."""
        return Shape(xs[0].size, flat=True)

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Fill with zeros."""

        def clear(xs: Sequence[F32], y: F32) -> None:
            y.fill(0)

        return clear
