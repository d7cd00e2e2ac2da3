r"""``.npy`` and ``.npz`` files from anybody: nothing is unpickled, and sizes are checked first.

An ``.npy`` is a head followed by values:

====== ============ ======================================================================
offset type         meaning
====== ============ ======================================================================
0      6 bytes      ``\x93NUMPY``
6      2 bytes      version: 1.0, 2.0 or 3.0
8      uint16 or    N, the bytes of the text; 32 bits from version 2.0 on
       uint32
10, 12 text         ``{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }``, blanks
then   values       row by row, or with ``fortran_order`` column by column
====== ============ ======================================================================

An ``.npz`` is a zip archive of such members, whose names end in ``.npy``, stored or deflated.

Limits: a head has at most 10,000 bytes and 32 axes; an axis, and all values together, fewer than
2^63 bytes; the list of the members at most 4 MiB, some 50,000 members.  A deflated member is at
most 1032 times as large as in the file, so a small file needs little memory.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from darknet_bn.errors import DarknetError, WeightsError, Where, shown
from darknet_bn.formats.reading import CANNOT_BE_READ, Name, Stored, StoredFile, StoredStream

UNREADABLE = (
    *(OSError, ValueError, EOFError, RuntimeError, OverflowError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)
"""The exceptions of `zipfile` for a damaged or unusual archive, and of `read_head` for a head."""

_MAGIC = b"\x93NUMPY"
_MOST_HEAD = 10_000  # bytes: numpy's own limit
_MOST_AXES = 32
_MOST_BYTES = 1 << 63
_MOST_LIST = 4 << 20  # bytes of the list of an archive's members
_DEFLATED = 1032  # the best ratio that deflate can reach
_PIECE = 1 << 20
_ENCRYPTED = 0x1

_ITEM = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])(?P<type>[<>|=]?[?biufcmMSUVO][0-9]{0,9})\3|(?P<fortran>True|False)"""
    r"""|(?P<shape>\([-0-9L,\s]*\)))\s*,?""",
    re.ASCII,
)
_NUMBER = re.compile(r"-?[0-9]{1,20}")
_AXES = re.compile(r"\((\s*-?[0-9]{1,20}L?\s*,)*(\s*-?[0-9]{1,20}L?)?\s*\)")  # L: from Python 2


class Readable(Protocol):
    """A stream that heads and values are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most this many bytes; none at the end."""


class ArrayHeader(NamedTuple):
    """The head of an array.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    length : int
        The bytes of the head itself.
    fortran : bool
        Whether the values are stored column by column.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    length: int
    fortran: bool = False

    @property
    def size(self) -> int:
        """Bytes of the head and the values together."""
        return self.length + math.prod(self.shape) * self.dtype.itemsize


def read_head(stream: Readable) -> ArrayHeader:
    """Read the head of an array.

    Raises
    ------
    ValueError
        It is not a head, or its version is unknown, or it has records or too many axes.
    """
    start = stream.read(8)
    if start[:6] != _MAGIC or len(start) < 8:
        raise ValueError("this is not a NumPy array")
    version = tuple(start[6:])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"unknown version {version} of the array format")
    width = 2 if version == (1, 0) else 4
    count = int.from_bytes(stream.read(width), "little")
    text = stream.read(count) if count <= _MOST_HEAD else b""
    if count > _MOST_HEAD or len(text) < count:
        raise ValueError(f"the header of the array has {count} bytes, or ends early")
    shape, word, fortran = _parse_head(text.decode("latin-1"))
    try:
        dtype = np.dtype(word)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the type {word} is unknown") from error
    head = ArrayHeader(shape, dtype, 8 + width + count, fortran)
    if len(shape) > _MOST_AXES or max([abs(head.size), *map(abs, shape)]) >= _MOST_BYTES:
        raise ValueError(f"no array can have the shape {shown(f'{shape}', 80)}")
    return head


def _parse_head(text: str) -> tuple[tuple[int, ...], str, bool]:
    """Return shape, type and order; only the form that numpy writes is understood."""
    found = {match["key"]: match for match in _ITEM.finditer(text)}
    if len(found) == 3 and "".join(_ITEM.sub("", text).split()) == "{}":
        word, fortran = found["descr"]["type"], found["fortran_order"]["fortran"]
        axes = _AXES.fullmatch(found["shape"]["shape"] or "-")
        if word and fortran and axes:
            return tuple(map(int, _NUMBER.findall(axes[0]))), word, fortran == "True"
    raise ValueError(f"the header of the array is not valid: {shown(text.strip(), 80)}")


def read_values(stream: Readable, head: ArrayHeader) -> npt.NDArray[Any]:
    """Read the values of an array, after its head.

    Raises
    ------
    ValueError
        They are Python objects, or end too early.
    """
    if head.dtype.hasobject or not head.dtype.itemsize:
        raise ValueError(f"values of type {head.dtype} are not supported")
    values = np.empty(head.size - head.length, np.uint8)
    rest = values.data
    while len(rest):
        piece = stream.read(min(len(rest), _PIECE))
        if not piece:
            raise ValueError(f"the array ends {len(rest)} bytes early")
        rest[: len(piece)] = piece
        rest = rest[len(piece) :]
    return values.view(head.dtype).reshape(head.shape, order="F" if head.fortran else "C")


def text_of(stream: Readable, head: ArrayHeader) -> str:
    """Read an array that is a single text.

    Raises
    ------
    ValueError
        It is not a text, or contains invalid characters.
    """
    if head.shape or head.dtype.kind != "U":
        raise ValueError(f"an array {head.shape} of {head.dtype} is not text")
    data = stream.read(head.dtype.itemsize)
    return data.decode("utf-32-be" if head.dtype.str[0] == ">" else "utf-32-le").rstrip("\0")


class Archive:
    """An ``.npz`` that stays open, whose members are read one by one.

    Parameters
    ----------
    source : path or Stored

    Attributes
    ----------
    name : str
        The name of the file.
    entries : dict from name to ZipInfo
        The members, under their names with ``.npy``, in the order of the archive.
    twice : str or None
        The first name that occurs twice.

    Raises
    ------
    One of ``UNREADABLE``, WeightsError
        It is not an archive, or is damaged; or the file cannot be read.
    """

    def __init__(self, source: Name | Stored, name: str = "") -> None:
        stored = source if isinstance(source, Stored) else StoredFile(source)
        self.name = name if isinstance(source, Stored) else os.fspath(source)
        self._size = stored.size
        stream = StoredStream(stored, _MOST_LIST)
        self._archive = zipfile.ZipFile(stream)
        stream.limited = False
        self.entries: dict[str, zipfile.ZipInfo] = {}
        self.twice: str | None = None
        for entry in self._archive.infolist():
            if entry.filename in self.entries and self.twice is None:
                self.twice = entry.filename
            self.entries[entry.filename] = entry

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """Open a member; the checksum is only compared if it is read to the end.

        Raises
        ------
        One of ``UNREADABLE``
            Its compression or its size is not supported, or the archive is damaged.
        """
        entry = self.entries[name]
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{shown(name, 60)} is neither stored nor deflated")
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"{shown(name, 60)} is encrypted")
        times = _DEFLATED if entry.compress_type == zipfile.ZIP_DEFLATED else 1
        if entry.file_size > times * min(entry.compress_size, self._size):
            raise ValueError(f"{shown(name, 60)} cannot have {entry.file_size} bytes")
        with self._archive.open(entry) as stream:
            yield stream

    def head(self, name: str) -> ArrayHeader:
        """Read the head of a member.

        Raises
        ------
        DarknetError
            The array does not have the size that its shape implies, or holds Python objects.
        One of ``UNREADABLE``
        """
        with self.open(name) as stream:
            head = read_head(stream)
        where = Where(file=self.name, key=name.removesuffix(".npy"))
        if head.dtype.hasobject:
            raise DarknetError("the array holds Python objects", where=where)
        size = self.entries[name].file_size
        if min(head.shape, default=0) < 0 or head.size != size:
            raise DarknetError(
                "the size of the array does not match its shape",
                where=where,
                expected=f"{head.size} bytes for {head.shape}",
                found=f"{size} bytes",
            )
        return head

    def read(self, name: str) -> npt.NDArray[Any]:
        """Read a member whose head has been checked."""
        with self.open(name) as stream:
            array = read_values(stream, read_head(stream))
            stream.read(1)  # past the end: this compares the checksum
        return array

    def text(self, name: str) -> str:
        """Read a member that is a text, whose head has been checked."""
        with self.open(name) as stream:
            text = text_of(stream, read_head(stream))
            stream.read(1)
        return text


def open_archive(path: Name, error: type[DarknetError] = DarknetError) -> Archive:
    """Open an ``.npz``.

    Raises
    ------
    DarknetError
        An error of the type ``error``: the file cannot be read, or is not an ``.npz``.
    """
    try:
        return Archive(path)
    except WeightsError as failure:
        reason = failure.problem.removeprefix(f"{CANNOT_BE_READ}: ")
        raise error(f"{CANNOT_BE_READ} as .npz: {reason}", where=failure.where) from failure
    except UNREADABLE as failure:
        problem = f"{CANNOT_BE_READ} as .npz: {failure}"
        raise error(problem, where=Where(file=os.fspath(path))) from failure


def read_npz(
    path: Name, wants: Callable[[str, ArrayHeader], bool]
) -> Mapping[str, npt.NDArray[Any]]:
    """Read arrays from an archive.

    Parameters
    ----------
    path : path
    wants : function
        Called with the name and the head of each array, before any memory is allocated for it;
        returns whether to read it.  It may raise.

    Returns
    -------
    arrays : mapping from name to array
        A text with shape () becomes a str.

    Raises
    ------
    DarknetError
        The file is not an ``.npz``, is damaged, or an array does not have the size in its head.
    """
    archive = open_archive(path)
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        for name in archive.entries:
            member, head = name.removesuffix(".npy"), archive.head(name)
            if wants(member, head):
                is_text = head.dtype.kind == "U" and not head.shape
                arrays[member] = np.array(archive.text(name)) if is_text else archive.read(name)
    except UNREADABLE as error:
        where = Where(file=os.fspath(path))
        raise DarknetError(f"{CANNOT_BE_READ} as .npz: {error}", where=where) from error
    return arrays


def read_npy(path: Name) -> npt.NDArray[Any]:
    """Read an ``.npy``.

    Raises
    ------
    DarknetError
        It cannot be read, is not an ``.npy``, or does not hold what its head promises.
    """
    stored = StoredFile(path)
    stream = StoredStream(stored, _MOST_HEAD)
    where = Where(file=os.fspath(path))
    try:
        head = read_head(stream)
        if min(head.shape, default=0) < 0 or head.size > stored.size:
            raise ValueError(f"{head.size} bytes expected from the header, {stored.size} found")
        stream.limited = False
        return read_values(stream, head)
    except ValueError as error:
        raise DarknetError(f"{CANNOT_BE_READ} as .npy: {error}", where=where) from error
