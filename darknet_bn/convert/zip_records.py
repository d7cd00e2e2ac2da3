"""The zip archive of a ``.pt`` file, whose records are stored uncompressed.

``torch.save`` writes every record uncompressed and its bytes at a multiple of 64:

====================== ================================================================
record                 meaning
====================== ================================================================
archive/data.pkl       the pickle stream, in which tensors refer to storages by a key
archive/byteorder      ``little`` or ``big``: of the storages; absent in older files
archive/data/KEY       the values of a storage
archive/version        ``3``: of the archive's layout
====================== ================================================================

The folder may have any name.  Other records (``.format_version``, ``.data``) are ignored.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from darknet_bn.errors import WeightsError, Where
from darknet_bn.formats.npz import UNREADABLE, Archive
from darknet_bn.formats.reading import Stored

ALIGNMENT = 64
_LOCAL = struct.Struct("<4s22xHH")  # signature, ..., lengths of name and of extra field
_ENCRYPTED = 0x1
_LARGE = 1 << 30  # bytes; from this size on a record's head has room for a size above 4 GiB
_ZIP64 = 20  # bytes of that room
_PADDING = b"FB"  # the extra field that torch aligns with, so that others know it


class Records:
    """The records of an archive.

    Parameters
    ----------
    stored : Stored
        The whole file.

    Raises
    ------
    WeightsError
        It is not an archive, or holds what a ``.pt`` never does: compressed or encrypted records,
        or two with the same name.
    """

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._read: dict[str, memoryview] = {}
        try:
            archive = Archive(stored)
        except UNREADABLE as error:
            raise WeightsError(f"cannot be read as a zip archive: {error}") from error
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in archive.entries.values():
            name = entry.filename.partition("/")[2]
            if entry.filename.endswith("/"):
                continue
            if name in self._entries or entry.filename == archive.twice:
                raise WeightsError("the archive has this record twice", where=Where(key=name))
            self._entries[name] = entry

    def __contains__(self, name: str) -> bool:
        """Whether there is a record of that name, without the folder."""
        return name in self._entries

    def size(self, name: str) -> int:
        """Return the number of bytes that a record has, or says it has."""
        return self._entries[name].file_size

    def read(self, name: str) -> memoryview:
        """Return the bytes of a record, which is read once.

        Raises
        ------
        WeightsError
            There is no such record, or it is compressed, outside the file or damaged.
        """
        if name not in self._read:
            self._read[name] = self._read_record(name)
        return self._read[name]

    def _read_record(self, name: str) -> memoryview:
        entry, where = self._entries.get(name), Where(key=name)
        if entry is None:
            raise WeightsError("the archive lacks a record", where=where)
        plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & _ENCRYPTED
        if not plain or entry.compress_size != entry.file_size:
            raise WeightsError(
                "the record is compressed or encrypted",
                where=where,
                expected="a stored record, as PyTorch writes it",
            )
        at = entry.header_offset
        head = self._stored.bytes(at, at + _LOCAL.size)
        if at < 0 or len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
            raise WeightsError("the record is not where the archive says it is", where=where)
        _, name_length, extra_length = _LOCAL.unpack(head)
        begin = at + _LOCAL.size + name_length + extra_length
        if begin + entry.file_size > self._stored.size:
            raise WeightsError(
                "the record is outside the file",
                where=where,
                expected=f"{entry.file_size} bytes from byte {begin} on",
                found=f"{self._stored.size} bytes in all",
            )
        record = self._stored.array(begin, np.dtype(np.uint8), entry.file_size).data
        # PyTorch can be told to omit the checksum; then it is 0.
        if entry.CRC and zlib.crc32(record) != entry.CRC:
            raise WeightsError("the record is damaged: bad checksum", where=where)
        return record


def write_records(stream: BinaryIO, records: Iterable[tuple[str, bytes | memoryview]]) -> None:
    """Write an archive to an open file; each record begins at a multiple of ``ALIGNMENT``.

    Parameters
    ----------
    stream : binary stream
        A stream at its beginning.
    records : iterable of (name, bytes)
        If each is made when it is asked for, only one of them is in memory at a time.
    """
    with zipfile.ZipFile(stream, "w") as archive:
        for name, record in records:
            entry = zipfile.ZipInfo(f"archive/{name}")  # dated 1980: equal models give equal files
            entry.file_size = len(record)
            large = entry.file_size >= _LARGE
            begin = stream.tell() + _LOCAL.size + len(entry.filename) + 4 + (_ZIP64 if large else 0)
            padding = -begin % ALIGNMENT
            entry.extra = _PADDING + struct.pack("<H", padding) + b"Z" * padding
            with archive.open(entry, "w", force_zip64=large) as target:
                target.write(record)
