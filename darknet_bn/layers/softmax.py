"""``[softmax]``: values to shares of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.kernels.softmax import softmax_cpu, softmax_tree
from darknet_bn.layers.base import Layer, Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.options import option
from darknet_bn.tree import Tree, parse_tree


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """Softmax over all values of an image, each of ``groups`` equal parts of them, or of a tree.

    C: ``src/softmax_layer.c``.  ``spatial`` counts on the GPU only, so it does not here.
    """

    names: ClassVar[tuple[str, ...]] = ("softmax", "soft")

    groups: int = option(1, at_least=1)
    temperature: float = option(1.0)
    tree: Tree | None = option(None, content=parse_tree)
    spatial: bool = option(False)
    noloss: bool = option(False)

    def out_shape(self, xs: Shapes) -> Shape:
        """Give as many values as come in, without image shape."""
        size = xs[0].size
        check_tree(self.tree, size)
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
        tree, temperature = self.tree, self.temperature
        parts = (self.groups if tree is None else 1, -1)

        def shares(xs: Sequence[F32], y: F32) -> None:
            x, out = (each.reshape(len(y), *parts) for each in (xs[0], y))
            if tree is None:
                softmax_cpu(x, temperature, out)
            else:
                softmax_tree(x, tree, temperature, out)

        return shares


def check_tree(tree: Tree | None, classes: int) -> None:
    """Raise a ShapeError if a tree has other classes than there are values."""
    if tree is not None and len(tree) != classes:
        raise ShapeError(
            "the file has not as many lines as there are classes",
            where=Where(key="tree"),
            expected=f"{classes}",
            found=f"{len(tree)}",
        )
