"""``[iseg]``: a head of instance segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import activate_array
from darknet_bn.layers.base import Layer, Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.options import option
from darknet_bn.layers.shapes import check_filters, image


@dataclass(frozen=True, kw_only=True)
class Iseg(Layer):
    """Squash the planes of the classes, not the embeddings.  C: pjreddie's ``src/iseg_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("iseg",)
    original: ClassVar[bool] = True

    classes: int = option(20, at_least=0)
    ids: int = option(32, at_least=0)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape, whose channels must be as many as classes and ids."""
        x = image(xs[0])
        check_filters(x, self.classes + self.ids, f"{self.classes} classes + {self.ids} ids")
        return x

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Squash the classes, copy the rest."""

        def squash(xs: Sequence[F32], y: F32) -> None:
            activate_array(xs[0][:, : self.classes], "logistic", out=y[:, : self.classes])
            np.copyto(y[:, self.classes :], xs[0][:, self.classes :])

        return squash

    def filters_per_class(self) -> int:
        """Return one."""
        return 1
