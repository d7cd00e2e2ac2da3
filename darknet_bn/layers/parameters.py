"""Parameter arrays, as layers declare them, and batch norm reduced to a scale and shift."""

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
        Darknet's name: ``weights``, ``biases``, ``scales``, ``rolling_mean`` …
    shape : tuple of int
        Shape in memory.
    init : float or callable
        Initial value, or a function that draws the initial array.
    stored : bool
        Whether the file contains it.
    first : int or None
        If the file contains only the first part along the first axis: its length.
    transposed : bool
        Whether the file contains the matrix (first axis, rest) transposed.
    transposed_in_legacy : bool
        Whether it is transposed in a file with the old header of three floats.
    by_channel : bool
        Whether its second axis goes through the channels of the input, or of a group, in order.
    """

    name: str
    shape: tuple[int, ...]
    init: float | Draw = 0.0
    stored: bool = True
    first: int | None = None
    transposed: bool = False
    transposed_in_legacy: bool = False
    by_channel: bool = False

    __repr__ = brief_fields

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the part in the file, before it is transposed."""
        first = self.shape[0] if self.first is None else min(self.first, self.shape[0])
        return (first, *self.shape[1:])

    @property
    def stored_size(self) -> int:
        """Number of its floats in the file."""
        if self.first is None:
            return self.size if self.stored else 0
        return math.prod(self.stored_shape) if self.stored else 0

    @property
    def size(self) -> int:
        """Number of its floats in memory."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Affine:
    """The effect of batch norm in inference: ``scale * x + shift`` for each channel.

    Attributes
    ----------
    scale, shift : float64 arrays (f,)
    """

    scale: F64
    shift: F64
