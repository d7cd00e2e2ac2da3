"""``.safetensors``: a head in JSON, then the values.

====== ============= =====================================================================
offset type          meaning
====== ============= =====================================================================
0      uint64        N, the bytes of the head
8      text, JSON    one object: type, shape and place of each array by its key, and strings
                     by name under ``__metadata__``; blanks may follow
8 + N  values        of all arrays, little-endian, with no other bytes before, between or after
====== ============= =====================================================================

An array is ``{"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}``, with offsets counted
from the end of the head.  The names in ``__metadata__`` that belong to this package begin with
``darknet.``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from darknet_bn.convert.container import KINDS, Array, ArrayEntry, Container
from darknet_bn.errors import WeightsError, Where, in_file, located, shown
from darknet_bn.formats.reading import Stored, StoredFile

_TYPES = {
    "F32": "float32",
    "F64": "float64",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_CODES = {kind: code for code, kind in _TYPES.items()}
_MOST_HEAD = 8 << 20  # bytes; a net of a thousand layers has less than one MiB
_MOST_AXES = 8
_ALIGNMENT = 64
_PREFIX = "darknet."
_HINT = "is this a .safetensors file?"


def read_safetensors(path: str | os.PathLike[str]) -> Container:
    """Read the head of a file; values are only read when they are asked for.

    Raises
    ------
    WeightsError
        It cannot be read, or does not follow the format.
    """
    stored = StoredFile(path)
    with located(in_file(os.fspath(path)), WeightsError):
        return _read(stored)


def write_safetensors(
    stream: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays to an open file, one after the other, those with the widest values first."""
    order = sorted(arrays.items(), key=lambda each: -each[1].itemsize)  # else in their own order
    head: dict[str, Any] = {
        "__metadata__": {f"{_PREFIX}{name}": text for name, text in metadata.items()}
    }
    end = 0
    for key, array in order:
        begin, end = end, end + array.nbytes
        head[key] = {
            "dtype": _CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    stream.write(len(text).to_bytes(8, "little") + text)
    for _, array in order:
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        stream.write(plain.reshape(-1).view(np.uint8).data)


def _read(stored: Stored) -> Container:
    begin = 8 + int.from_bytes(stored.bytes(0, 8), "little")
    if begin > stored.size:
        raise WeightsError(
            "the file ends inside its header",
            expected=f"at least {max(begin, 8)} bytes",
            found=f"{stored.size} bytes",
            hint=_HINT,
        )
    if begin - 8 > _MOST_HEAD:
        raise WeightsError(
            "the header is too large",
            expected=f"at most {_MOST_HEAD >> 20} MiB",
            found=f"{begin - 8} bytes",
        )
    head = _parse(stored.bytes(8, begin))
    metadata = _metadata(head.pop("__metadata__", {}))
    entries: dict[str, ArrayEntry] = {}
    places: list[tuple[int, int, str]] = []
    for key, about in head.items():
        kind, shape, first, last = _about(key, about, stored.size - begin)
        entries[key] = _entry(kind, shape, stored, begin + first)
        places.append((first, last, key))
    _require_no_gaps(sorted(places), stored.size - begin)
    return Container(entries, metadata)


def _parse(text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise WeightsError("the header has this key twice", where=Where(key=name))
            found[name] = value
        return found

    try:
        head = json.loads(text.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise WeightsError(f"the header is not JSON: {reason}", hint=_HINT) from error
    if not isinstance(head, dict):
        raise WeightsError("the header is not a JSON object", hint=_HINT)
    return head


def _metadata(found: Any) -> Mapping[str, str] | None:
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise WeightsError(
            "the metadata does not consist of strings", where=Where(key="__metadata__")
        )
    mine = {
        name.removeprefix(_PREFIX): text for name, text in found.items() if name.startswith(_PREFIX)
    }
    return mine or None


def _about(key: str, about: Any, size: int) -> tuple[str, tuple[int, ...], int, int]:
    """Return type, shape, begin and end of an array, each checked against the file."""
    where = Where(key=shown(key))
    if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(
            "the header does not describe an array",
            where=where,
            expected="dtype, shape, data_offsets",
        )
    kind = _TYPES.get(about["dtype"]) if isinstance(about["dtype"], str) else None
    if kind is None:
        raise WeightsError(
            "the type of the values is not supported",
            where=where,
            expected=", ".join(_TYPES),
            found=shown(f"{about['dtype']}"),
        )
    shape, offsets = about["shape"], about["data_offsets"]
    if not _are_counts(shape) or len(shape) > _MOST_AXES:
        raise WeightsError("the shape is not valid", where=where, found=shown(f"{shape}"))
    if not _are_counts(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
        raise WeightsError(
            "the values are outside the file",
            where=where,
            expected=f"two offsets, the first not above the second, up to {size}",
            found=shown(f"{offsets}"),
        )
    first, last = offsets
    needed = math.prod(shape) * np.dtype(KINDS[kind]).itemsize
    if last - first != needed:
        raise WeightsError(
            "the size of the array does not match its shape",
            where=where,
            expected=shown(f"{needed} bytes for {about['dtype']} {tuple(shape)}"),
            found=f"{last - first} bytes",
        )
    return kind, tuple(shape), first, last


def _are_counts(value: Any) -> bool:
    """Whether a value is a list of whole numbers that could be a size."""
    return isinstance(value, list) and all(
        type(each) is int and 0 <= each < 1 << 63 for each in value
    )


def _entry(kind: str, shape: tuple[int, ...], stored: Stored, begin: int) -> ArrayEntry:
    dtype = np.dtype(KINDS[kind]).newbyteorder("<")
    return ArrayEntry(
        kind, shape, lambda: stored.array(begin, dtype, math.prod(shape)).reshape(shape)
    )


def _require_no_gaps(places: list[tuple[int, int, str]], size: int) -> None:
    """Check that the arrays follow one another and fill the file."""
    end = 0
    for first, last, key in places:
        if first != end:
            raise WeightsError(
                "the values overlap with others" if first < end else "there is a gap before them",
                where=Where(key=shown(key)),
                expected=f"the values from offset {end} on",
                found=f"{first}",
            )
        end = last
    if end != size:
        raise WeightsError(
            "the file continues after the last array",
            expected=f"{end} bytes after the header",
            found=f"{size}",
        )
