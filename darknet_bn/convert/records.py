"""The zip archive that a ``.pt`` file is: records that lie in it as they are.

``torch.save`` writes every record uncompressed and its bytes at a multiple of 64, so that a file
that is mapped into memory holds the tensors themselves:

====================== ================================================================
record                 meaning
====================== ================================================================
archive/data.pkl       the pickle stream, in which tensors refer to storages by a key
archive/byteorder      ``little`` or ``big``: of the storages; absent in older files
archive/data/KEY       the values of a storage
archive/version        ``3``: of the archive's layout
====================== ================================================================

The folder may have any name.  What else is there (``.format_version``, ``.data``) is passed over.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from darknet_bn.convert.container import shown
from darknet_bn.errors import WeightsError, Where
from darknet_bn.npz import UNREADABLE

ALIGNMENT = 64
_LOCAL = struct.Struct("<4s22xHH")  # signature, ..., lengths of name and of extra field
_ENCRYPTED = 0x1
_LARGE = 1 << 30  # bytes from which on a record's head has room for a size above 4 GiB
_ZIP64 = 20  # bytes of that room
_PADDING = b"FB"  # the extra field that torch aligns with, so that others know it


class Records:
    """The records of an archive that is mapped into memory.

    Parameters
    ----------
    data : memoryview
        The whole file.

    Raises
    ------
    WeightsError
        It is no archive, or holds what no ``.pt`` does: compressed or encrypted records, two of
        one name.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._checked: set[str] = set()
        try:
            with zipfile.ZipFile(MappedFile(data)) as archive:
                entries = archive.infolist()
        except UNREADABLE as error:
            raise WeightsError(f"cannot be read as a zip archive: {error}") from error
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            name = entry.filename.partition("/")[2]
            if entry.is_dir():
                continue
            if name in self._entries:
                raise WeightsError("the archive has this record twice", where=_place(name))
            self._entries[name] = entry

    def __contains__(self, name: str) -> bool:
        """Whether there is a record of that name, without the folder."""
        return name in self._entries

    def size(self, name: str) -> int:
        """Return the bytes that a record has, or says it has."""
        return self._entries[name].file_size

    def read(self, name: str) -> memoryview:
        """Return the bytes of a record; a view into the file.

        Raises
        ------
        WeightsError
            There is no such record, it is compressed, lies outside the file or is damaged.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise WeightsError("the archive lacks a record", where=_place(name))
        stored = entry.compress_type == zipfile.ZIP_STORED
        if not stored or entry.flag_bits & _ENCRYPTED or entry.compress_size != entry.file_size:
            raise WeightsError(
                "the record is compressed or encrypted",
                where=_place(name),
                expected="its bytes as they are, as PyTorch writes them",
            )
        head = bytes(self._data[entry.header_offset :][: _LOCAL.size])
        if entry.header_offset < 0 or len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
            raise WeightsError("the record is not where the archive says", where=_place(name))
        _, name_length, extra_length = _LOCAL.unpack(head)
        begin = entry.header_offset + _LOCAL.size + name_length + extra_length
        if begin + entry.file_size > len(self._data):
            raise WeightsError(
                "the record lies outside the file",
                where=_place(name),
                expected=f"{entry.file_size} bytes from byte {begin} on",
                found=f"{len(self._data)} bytes in all",
            )
        record = self._data[begin : begin + entry.file_size]
        if name not in self._checked:
            # PyTorch can be told to leave the checksum away; then it is 0.
            if entry.CRC and zlib.crc32(record) != entry.CRC:
                raise WeightsError("the record is damaged: bad checksum", where=_place(name))
            self._checked.add(name)
        return record


def write_records(stream: BinaryIO, records: Iterable[tuple[str, bytes | memoryview]]) -> None:
    """Write an archive to an open file; each record begins at a multiple of ``ALIGNMENT``.

    Parameters
    ----------
    stream : binary stream
        At its beginning.
    records : iterable of (name, bytes)
        What makes each when it is asked for has one of them in memory at a time.
    """
    with zipfile.ZipFile(stream, "w") as archive:
        for name, record in records:
            entry = zipfile.ZipInfo(f"archive/{name}")  # of 1980: equal models give equal files
            entry.file_size = len(record)
            large = entry.file_size >= _LARGE
            begin = stream.tell() + _LOCAL.size + len(entry.filename) + 4 + (_ZIP64 if large else 0)
            padding = -begin % ALIGNMENT
            entry.extra = _PADDING + struct.pack("<H", padding) + b"Z" * padding
            with archive.open(entry, "w", force_zip64=large) as target:
                target.write(record)


class MappedFile(io.RawIOBase):
    """Mapped bytes as the file that `zipfile` wants: only what it reads is copied."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def seekable(self) -> bool:
        """Whether it can be read at any place."""
        return True

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which may lie behind the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        if start + offset < 0:
            raise ValueError("the archive refers to a place in front of the file")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Read from the place on."""
        end = len(self._data) if size is None or size < 0 else self._at + size
        found = bytes(self._data[self._at : end])
        self._at += len(found)
        return found


def _place(name: str) -> Where:
    return Where(key=shown(name))
