"""``.npz``: an array a member, and under ``darknet`` the metadata as text.

====================== ======================== ==============================================
member                 type                     meaning
====================== ======================== ==============================================
layer_000.weights …    float32                  the arrays, under the keys of a scheme of names
darknet                text, optional           JSON: an object of texts
====================== ======================== ==============================================

Members are not compressed: floats of trained nets hardly get smaller.  Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from darknet_bn.convert.container import KIND_OF, Array, Container, Entry, shown
from darknet_bn.convert.records import MappedFile
from darknet_bn.errors import DarknetError, WeightsError, Where
from darknet_bn.npz import UNREADABLE, Head, read_npz
from darknet_bn.weights import map_file

_ABOUT = "darknet"
_MOST_TEXT = 64 << 20  # bytes: four a character, a cfg has at most 4 MiB


def read_numpy_archive(path: str | os.PathLike[str]) -> Container:
    """Read what an archive holds, but not the arrays themselves.

    Raises
    ------
    WeightsError
        It is no ``.npz``, is damaged, or holds what is no array of numbers.
    """
    name = os.fspath(path)
    entries: dict[str, Entry] = {}
    members = _Members(name)

    def wants(key: str, head: Head) -> bool:
        if key == _ABOUT:
            if head.shape or head.dtype.kind != "U" or head.size > _MOST_TEXT:
                raise WeightsError(
                    "the metadata are no text",
                    where=Where(file=name, key=key),
                    found=f"{head.dtype} {head.shape}",
                )
            return True
        if key in entries:
            raise WeightsError(
                "the archive has this member twice", where=Where(file=name, key=shown(key))
            )
        kind = KIND_OF.get(head.dtype.newbyteorder("="), str(head.dtype))
        entries[key] = Entry(kind, head.shape, lambda: members.read(key))
        return False

    try:
        texts = read_npz(path, wants)
    except WeightsError:
        raise
    except DarknetError as error:
        raise WeightsError(
            error.problem, where=error.where, expected=error.expected, found=error.found
        ) from error
    metadata = _metadata(str(texts[_ABOUT]), name) if _ABOUT in texts else None
    return Container(entries, metadata)


def write_numpy_archive(
    stream: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays to an open file, one after the other."""
    members: dict[str, Any] = {_ABOUT: np.array(json.dumps(dict(metadata)))}
    members |= arrays
    with zipfile.ZipFile(stream, "w") as archive:
        for key, array in members.items():
            member = zipfile.ZipInfo(f"{key}.npy")  # of 1980: equal models give equal files
            member.external_attr = 0o600 << 16
            member.file_size = array.nbytes
            with archive.open(member, "w") as target:
                np.lib.format.write_array(target, np.asarray(array, order="C"), allow_pickle=False)


class _Members:
    """The members of an archive, which is opened once: there may be hundreds."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._archive: zipfile.ZipFile | None = None

    def read(self, key: str) -> Array:
        """Read a member whose head has been looked at."""
        try:
            if self._archive is None:
                data, _ = map_file(self._path)
                self._archive = zipfile.ZipFile(MappedFile(data))
            with self._archive.open(f"{key}.npy") as stream:
                array: Array = np.lib.format.read_array(stream, allow_pickle=False)
                stream.read(1)  # past the end: the checksum is compared
        except UNREADABLE as error:
            raise WeightsError(
                f"the array cannot be read: {error}", where=Where(file=self._path, key=shown(key))
            ) from error
        return array


def _metadata(text: str, path: str) -> Mapping[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise WeightsError("the metadata are no texts", where=Where(file=path, key=_ABOUT))
    return found
