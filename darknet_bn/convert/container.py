"""What a file of named arrays holds, whoever wrote it, and how its values become float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import WeightsError, Where

Array: TypeAlias = npt.NDArray[Any]

KINDS: Mapping[str, str] = {
    "float32": "f4",
    "float64": "f8",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "?",
}
"""The types of values, and numpy's type for each: it has no bfloat16, so those are read as bits."""

KIND_OF: Mapping[np.dtype[Any], str] = {
    np.dtype(code): kind for kind, code in KINDS.items() if kind != "bfloat16"
}
"""The file's type for each of numpy's types."""

_LOSSLESS = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True)
class ArrayEntry:
    """One array of a file, of which only type and shape have been read.

    Attributes
    ----------
    kind : str
        The type of its values; the types in ``KINDS`` can be read.
    shape : tuple of int
    read : function
        Returns the values, as an array of that shape and of the type that ``KINDS`` names, in
        either byte order.  It may be a view into the file.
    """

    kind: str
    shape: tuple[int, ...]
    read: Callable[[], Array]

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Container:
    """A file of named arrays.

    Attributes
    ----------
    entries : mapping from key to ArrayEntry
        In the order of the file.
    metadata : mapping from str to str, or None
        What this package stored with the arrays; None if another program wrote the file.
    reason : str
        Why the dialect is the one in the metadata.
    """

    entries: Mapping[str, ArrayEntry]
    metadata: Mapping[str, str] | None = None
    reason: str = "as the file says"


def read_float32(entry: ArrayEntry, where: Where) -> F32:
    """Read values as float32, each of which must be the same number in float32.

    Returns
    -------
    array : float32 array of the entry's shape
        Contiguous and read-only; a view, if the file holds the values in this form.

    Raises
    ------
    WeightsError
        Their type does not fit into float32, or one of the values does not.
    """
    if entry.kind not in _LOSSLESS:
        raise WeightsError(
            "the values are not floating-point numbers",
            where=where,
            expected="float32, or float16, bfloat16 or float64 if nothing is lost",
            found=entry.kind,
        )
    array = _widened(_plain(entry.read()), entry.kind, where)
    array.flags.writeable = False
    return array


def _plain(array: Array) -> Array:
    """Return the values contiguous, aligned and in this machine's byte order, to the bit."""
    plain = np.require(array, requirements=["C", "A"]).reshape(array.shape)
    if plain.dtype.isnative:
        return plain.view()
    # As integers: a conversion of floats might quiet a NaN.
    bits = plain.view(f">u{plain.itemsize}" if plain.dtype.str[0] == ">" else f"<u{plain.itemsize}")
    native = bits.astype(f"=u{plain.itemsize}")
    return native.view(plain.dtype.newbyteorder("="))


def _widened(array: Array, kind: str, where: Where) -> F32:
    if kind == "bfloat16":  # the upper half of the float32
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind == "float16":
        return array.astype(np.float32)
    if kind == "float64":
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            narrow = array.astype(np.float32)
            lost = narrow.astype(np.float64).view(np.uint64) != array.view(np.uint64)
        if lost.any():
            raise WeightsError(
                "the values have more digits than a .weights file can hold",
                where=where,
                expected="float32",
                found=f"float64; {np.count_nonzero(lost)} of {array.size} values would change",
                hint="convert them to float32 with the program that wrote the file",
            )
        return narrow
    result: F32 = array
    return result
