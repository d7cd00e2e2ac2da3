"""Arrays of parameters, as a layer declares them, and what batch norm makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.values import brief_fields

Params: TypeAlias = Mapping[str, F32]
Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], F32]


@dataclass(frozen=True)
class Param:
    """An array of parameters, in the order of the ``.weights`` file.

    Attributes
    ----------
    name : str
        Darknet's word: ``weights``, ``biases``, ``scales``, ``rolling_mean`` …
    shape : tuple of int
        Shape in memory.
    init : float or callable
        Initial value, or a function drawing the initial array.
    stored : bool
        Whether the file holds it.
    first : int or None
        Where the file holds only the first so many along the first axis.
    transposed : bool
        Whether the file holds the matrix (first axis, rest) transposed.
    transposed_in_legacy : bool
        Whether a file with the old header of three floats does.
    """

    name: str
    shape: tuple[int, ...]
    init: float | Draw = 0.0
    stored: bool = True
    first: int | None = None
    transposed: bool = False
    transposed_in_legacy: bool = False

    __repr__ = brief_fields

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of what the file holds, before it is transposed."""
        first = self.shape[0] if self.first is None else min(self.first, self.shape[0])
        return (first, *self.shape[1:])

    @property
    def stored_size(self) -> int:
        """How many floats of it the file holds."""
        if self.first is None:
            return self.size if self.stored else 0
        return math.prod(self.stored_shape) if self.stored else 0

    @property
    def size(self) -> int:
        """How many floats it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Affine:
    """What batch norm amounts to in inference: ``scale * x + shift`` for each channel.

    Attributes
    ----------
    scale, shift : float64 arrays (f,)
    """

    scale: F64
    shift: F64
