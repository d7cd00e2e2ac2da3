"""``.npz``: one array per member, and the metadata as text under ``darknet``.

====================== ======================== ==============================================
member                 type                     meaning
====================== ======================== ==============================================
layer_000.weights …    float32                  the arrays, under the keys of a naming scheme
darknet                text, optional           JSON: an object of strings
====================== ======================== ==============================================

Members are not compressed: floats of trained nets hardly shrink.  Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from darknet_bn.convert.container import KIND_OF, Array, ArrayEntry, Container
from darknet_bn.errors import DarknetError, WeightsError, Where
from darknet_bn.formats.npz import UNREADABLE, Archive, ArrayHeader, open_archive

_ABOUT = "darknet"
_MOST_TEXT = 64 << 20  # bytes: four per character, and a tree has up to 4 MiB


def read_numpy_archive(path: str | os.PathLike[str]) -> Container:
    """Read an archive's member names, types and shapes, but not the arrays.

    Raises
    ------
    WeightsError
        It is not an ``.npz``, is damaged, or holds something other than arrays of numbers.
    """
    name = os.fspath(path)
    archive = open_archive(path, WeightsError)
    if archive.twice is not None:
        where = Where(file=name, key=archive.twice.removesuffix(".npy"))
        raise WeightsError("the archive has this member twice", where=where)
    entries: dict[str, ArrayEntry] = {}
    metadata = None
    for member in archive.entries:
        key = member.removesuffix(".npy")
        where = Where(file=name, key=key)
        with _as_weights_error(where, "cannot be read as .npz"):
            head = archive.head(member)
            if key == _ABOUT:
                metadata = _metadata(archive, member, head, where)
                continue
        if key in entries:
            raise WeightsError("the archive has this array twice", where=where)
        kind = KIND_OF.get(head.dtype.newbyteorder("="), str(head.dtype))
        entries[key] = ArrayEntry(
            kind, head.shape, functools.partial(_read, archive, member, where)
        )
    return Container(entries, metadata)


def write_numpy_archive(
    stream: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays to an open file, one after the other."""
    members: dict[str, Any] = {_ABOUT: np.array(json.dumps(dict(metadata)))}
    members |= arrays
    with zipfile.ZipFile(stream, "w") as archive:
        for key, array in members.items():
            member = zipfile.ZipInfo(f"{key}.npy")  # dated 1980: equal models give equal files
            member.external_attr = 0o600 << 16
            member.file_size = array.nbytes
            with archive.open(member, "w") as target:
                np.lib.format.write_array(target, np.asarray(array, order="C"), allow_pickle=False)


def _read(archive: Archive, member: str, where: Where) -> Array:
    """Read a member whose head has been checked."""
    with _as_weights_error(where, "the array cannot be read"):
        return archive.read(member)


@contextlib.contextmanager
def _as_weights_error(where: Where, what: str) -> Iterator[None]:
    """In the block, turn the errors of a damaged archive into one that names the member."""
    try:
        yield
    except WeightsError:
        raise
    except DarknetError as error:
        raise error.as_kind(WeightsError, where=where) from error
    except UNREADABLE as error:
        raise WeightsError(f"{what}: {error}", where=where) from error


def _metadata(archive: Archive, member: str, head: ArrayHeader, where: Where) -> Mapping[str, str]:
    if head.shape or head.dtype.kind != "U" or head.size > _MOST_TEXT:
        raise WeightsError(
            "the metadata is not text", where=where, found=f"{head.dtype} {head.shape}"
        )
    try:
        found = json.loads(archive.text(member))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise WeightsError("the metadata does not consist of strings", where=where)
    return found
