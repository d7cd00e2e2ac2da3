"""Arrays of an ``.npz`` that anybody may have made: nothing is unpickled, sizes come first.

An ``.npz`` is a zip archive of ``.npy`` members, each a head (shape and type) and its values.
"""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from darknet_bn.errors import DarknetError, Where

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What `zipfile` and numpy's reader of heads raise for a damaged or an unusual archive."""


class Head(NamedTuple):
    """What the head of an array says.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    length : int
        Bytes of the head itself.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    length: int

    @property
    def size(self) -> int:
        """Bytes of the head and the values together."""
        return self.length + math.prod(self.shape) * self.dtype.itemsize


def read_head(stream: IO[bytes]) -> Head:
    """Read the head of an ``.npy`` member.

    Raises
    ------
    ValueError
        It is none, or of a version that is unknown.
    """
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"unknown version {version} of the array format")
    shape, _, dtype = read(stream)
    return Head(shape, dtype, stream.tell())


def read_member(path: str | os.PathLike[str], name: str) -> npt.NDArray[Any]:
    """Read one array, whose head has been looked at.

    Raises
    ------
    One of ``UNREADABLE``
        The archive is damaged.
    """
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # past the end: the checksum is compared
    return array


def read_npz(
    path: str | os.PathLike[str], wants: Callable[[str, Head], bool]
) -> Mapping[str, npt.NDArray[Any]]:
    """Read arrays of an archive.

    Parameters
    ----------
    path : path
    wants : function
        Called with the name and the head of each array, before any memory is taken for it; whether
        it is to be read.  It may raise.

    Returns
    -------
    arrays : mapping from name to array

    Raises
    ------
    DarknetError
        The file is no ``.npz``, is damaged, or an array has not the size that its head says.
    """
    name = os.fspath(path)
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                member = entry.filename.removesuffix(".npy")
                with archive.open(entry) as stream:
                    head = read_head(stream)
                where = Where(file=name, key=member)
                if head.dtype.hasobject:
                    raise DarknetError("the array holds Python objects", where=where)
                if min(head.shape, default=0) < 0 or head.size != entry.file_size:
                    raise DarknetError(
                        "the array does not have the size that its shape says",
                        where=where,
                        expected=f"{head.size} bytes for {head.shape}",
                        found=f"{entry.file_size} bytes",
                    )
                if wants(member, head):
                    arrays[member] = read_member(path, member)
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or error
        raise DarknetError(f"cannot be read as .npz: {reason}", where=Where(file=name)) from error
    return arrays
