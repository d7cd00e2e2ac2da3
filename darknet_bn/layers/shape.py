"""The shape of a layer's inputs and output, and references between layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt


@dataclass(frozen=True)
class Shape:
    """The shape of one image's data: channels, rows, columns; or a flat count.

    A layer without an image shape (``[softmax]``, ``[cost]``) has ``flat`` set, and its size in
    ``c``.
    """

    c: int
    h: int = 1
    w: int = 1
    flat: bool = False

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Shape:
        """Return the shape of the images in an array (n, c, h, w), or (n, count)."""
        return cls(array.shape[1], flat=True) if array.ndim == 2 else cls(*array.shape[1:])

    @property
    def size(self) -> int:
        """The number of values."""
        return self.c * self.h * self.w

    @property
    def dims(self) -> tuple[int, ...]:
        """(c, h, w), or (size,) if it is flat."""
        return (self.size,) if self.flat else (self.c, self.h, self.w)

    def __str__(self) -> str:
        """``w x h x c`` as Darknet prints it, or the count."""
        return f"{self.size}" if self.flat else f"{self.w} x {self.h} x {self.c}"


Shapes: TypeAlias = tuple[Shape, ...]


def resolve(reference: int, index: int) -> int:
    """Return the absolute layer number of a reference in layer ``index``."""
    return index + reference if reference < 0 else reference
