"""``[logistic]``: every value on its own between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import activate_array
from darknet_bn.layers.base import Layer, Params, Setting, Shapes, Step


@dataclass(frozen=True, kw_only=True)
class Logistic(Layer):
    """Squash every value; a loss in training.  C: pjreddie's ``src/logistic_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("logistic",)
    original: ClassVar[bool] = True

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Squash."""

        def squash(xs: Sequence[F32], y: F32) -> None:
            activate_array(xs[0], "logistic", out=y)

        return squash
