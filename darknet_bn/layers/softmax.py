"""``[softmax]``: values to shares of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.kernels.softmax import softmax_cpu
from darknet_bn.layers.base import Layer, Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.options import option


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """Softmax over all values of an image, or over each of ``groups`` equal parts of them.

    C: ``src/softmax_layer.c``.  ``spatial`` counts on the GPU only, so it does not here.
    """

    names: ClassVar[tuple[str, ...]] = ("softmax", "soft")

    groups: int = option(1, at_least=1)
    temperature: float = option(1.0)
    tree: str | None = option(None)
    spatial: bool = option(False)
    noloss: bool = option(False)

    def out_shape(self, xs: Shapes) -> Shape:
        """Give as many values as come in, without image shape."""
        refuse_tree(self.tree)
        size = xs[0].size
        if size % self.groups:
            raise ShapeError(
                "the groups do not divide the values",
                where=Where(key="groups"),
                expected=f"a divisor of {size}",
                found=f"{self.groups}",
            )
        return Shape(size, flat=True)

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Softmax of each group."""
        parts = (self.groups, xs[0].size // self.groups)

        def shares(xs: Sequence[F32], y: F32) -> None:
            x = xs[0].reshape(len(y), *parts)
            softmax_cpu(x, self.temperature, y.reshape(len(y), *parts))

        return shares


def refuse_tree(tree: str | None) -> None:
    """Raise a ShapeError if there is a file of classes in a tree."""
    if tree is not None:
        raise ShapeError(
            "softmax over a tree of classes is not supported yet",
            where=Where(key="tree"),
            found=tree,
        )
