"""``[l2norm]``: pixels as vectors of length one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.kernels.normalization_layer import l2normalize_cpu
from darknet_bn.layers.base import Layer, Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.shapes import image, planes


@dataclass(frozen=True, kw_only=True)
class L2Norm(Layer):
    """Divide the channels of each pixel by their length.  C: pjreddie's ``src/l2norm_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("l2norm",)
    original: ClassVar[bool] = True

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape."""
        return image(xs[0])

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Normalise."""

        def normalise(xs: Sequence[F32], y: F32) -> None:
            l2normalize_cpu(planes(xs[0]), planes(y))

        return normalise
