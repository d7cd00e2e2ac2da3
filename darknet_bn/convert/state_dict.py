"""PyTorch's state dicts, ``.pt`` and ``.pth``: read without PyTorch, and without unpickling.

The archive is described in ``zip_records.py``, and the part of the pickle that is followed in
``pickle_stream.py``.  The metadata are where torch keeps the versions of modules, in the attribute
``_metadata`` of the ``OrderedDict``, under the key ``darknet``: ``torch.load`` and ``torch.save``
keep them, and ``load_state_dict`` ignores them.

Files are written in protocol 2; ``torch.load(path, weights_only=True)`` reads everything in them.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from darknet_bn.convert.container import KINDS, Array, ArrayEntry, Container
from darknet_bn.convert.pickle_stream import STORAGES, StateDict, Tensor, read_pickle
from darknet_bn.convert.zip_records import Records, write_records
from darknet_bn.errors import WeightsError, Where, in_file, located, shown
from darknet_bn.formats.reading import StoredFile

_WRAPPERS = ("model", "state_dict", "model_state_dict", "ema")
_ABOUT = "darknet"
_MOST_PICKLE = 8 << 20  # bytes; the pickle of a thousand arrays has a quarter of a MiB
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number, pickled
_HINT = "is this a file that torch.save wrote?"


def read_state_dict(path: str | os.PathLike[str]) -> Container:
    """Read the pickle of a file; values are only read when they are asked for.

    Raises
    ------
    WeightsError
        It cannot be read, is in the format before PyTorch 1.6, or holds anything but tensors.
    """
    name = os.fspath(path)
    stored = StoredFile(path)
    with located(in_file(name), WeightsError):
        _refuse_other_formats(stored.bytes(0, 64))
        records = Records(stored)
        if "data.pkl" not in records:
            raise WeightsError("there is no data.pkl in the archive", hint=_HINT)
        if records.size("data.pkl") > _MOST_PICKLE:
            raise WeightsError(
                "the pickle inside is too large",
                expected=f"at most {_MOST_PICKLE >> 20} MiB",
                found=f"{records.size('data.pkl')} bytes",
            )
        found = _state_dict(read_pickle(bytes(records.read("data.pkl"))))
        order = _byte_order(records)
        entries = {
            key: _entry(records, tensor, order, Where(file=name, key=shown(key)))
            for key, tensor in found.items()
        }
        return Container(entries, _metadata(found))


def write_state_dict(
    stream: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays to an open file, as ``torch.save`` writes a state dict."""
    write_records(stream, _records(arrays, metadata))


# -- reading -------------------------------------------------------------------------------


def _refuse_other_formats(start: bytes) -> None:
    if start.startswith(_LEGACY):
        raise WeightsError(
            "this is the format that PyTorch wrote before version 1.6",
            hint="torch.save(torch.load(path), path) in a newer PyTorch converts it",
        )
    if not start.startswith(b"PK"):
        raise WeightsError("this is not a PyTorch file", expected="a zip archive", hint=_HINT)


def _state_dict(value: object) -> Mapping[str, Tensor]:
    """Return the tensors under their keys, wherever in a checkpoint they are."""
    places = [value]
    if isinstance(value, dict):
        places += [value[key] for key in _WRAPPERS if key in value]
    for place in places:
        if isinstance(place, dict) and (
            any(isinstance(each, Tensor) for each in place.values()) or _metadata(place)
        ):
            break
    else:
        raise WeightsError(
            "there is no state dict in the file",
            expected=f"named tensors, at the top level or under {', '.join(_WRAPPERS)}",
            found=_described(value),
        )
    for key, tensor in place.items():
        if not (isinstance(key, str) and isinstance(tensor, Tensor)):
            raise WeightsError(
                "the state dict holds values that are not tensors",
                where=Where(key=shown(str(key))),
                found=type(tensor).__name__,
            )
    return place


def _described(value: object) -> str:
    if isinstance(value, dict):
        return f"a dict of {shown(', '.join(shown(str(key), 20) for key in list(value)[:6]))}"
    return f"a {type(value).__name__}"


def _metadata(found: Mapping[Any, Any]) -> Mapping[str, str] | None:
    outer = found.metadata if isinstance(found, StateDict) else None
    mine = outer.get(_ABOUT) if isinstance(outer, dict) else None
    # A module may have this name too; what torch keeps for it is not a text.
    if not isinstance(mine, dict) or "header" not in mine:
        return None
    if not all(isinstance(each, str) for pair in mine.items() for each in pair):
        raise WeightsError(
            "the metadata does not consist of strings", where=Where(key=f"_metadata.{_ABOUT}")
        )
    return mine


def _byte_order(records: Records) -> str:
    if "byteorder" not in records:
        return "<"
    text = bytes(records.read("byteorder")[:16])
    if text not in (b"little", b"big"):
        raise WeightsError(
            "the byte order is unknown",
            where=Where(key="byteorder"),
            expected="little or big",
            found=ascii(text)[1:],
        )
    return "<" if text == b"little" else ">"


def _entry(records: Records, tensor: Tensor, order: str, where: Where) -> ArrayEntry:
    dtype = np.dtype(KINDS[tensor.storage.kind]).newbyteorder("<" if order == "<" else ">")
    record = f"data/{tensor.storage.key}"
    if record not in records or records.size(record) != tensor.storage.count * dtype.itemsize:
        raise WeightsError(
            "the size of the storage does not match the tensor",
            where=where,
            expected=f"{record} of {tensor.storage.count * dtype.itemsize} bytes",
            found=f"{records.size(record)} bytes" if record in records else "no such record",
        )

    def inside(part: Where) -> Where:
        return Where(file=where.file, key=f"{where.key}: {part.key}")

    def read() -> Array:
        with located(inside, WeightsError):
            values = records.read(record)
        strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
        begin = tensor.offset * dtype.itemsize if 0 not in tensor.shape else 0
        return np.ndarray(tensor.shape, dtype, values, begin, strides)

    return ArrayEntry(tensor.storage.kind, tensor.shape, read)


# -- writing -------------------------------------------------------------------------------


def _records(
    arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> Iterator[tuple[str, bytes | memoryview]]:
    """Yield the records of a file, one array at a time."""
    yield "data.pkl", _pickle(arrays, metadata)
    yield "byteorder", b"little"
    for number, array in enumerate(arrays.values()):
        yield f"data/{number}", _little(array)
    yield "version", b"3\n"


def _little(array: Array) -> memoryview:
    """Return the bytes of an array, little-endian; a view if it is stored that way already."""
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8).data


def _pickle(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """Return the stream that makes an ``OrderedDict`` of tensors, with its ``_metadata``."""
    tensors = b"".join(
        _text(key) + _tensor(array, str(number))
        for number, (key, array) in enumerate(arrays.items())
    )
    about = b"".join(_text(name) + _text(text) for name, text in metadata.items())
    modules = b"".join(
        _text(name) + b"}" + _text("version") + _integer(version) + b"s"
        for name, version in _modules(arrays).items()
    )
    inner = _ORDERED_DICT + b"(" + modules + _text(_ABOUT) + b"}(" + about + b"u" + b"u"
    state = b"}" + _text("_metadata") + inner + b"s"
    return b"\x80\x02" + _ORDERED_DICT + b"(" + tensors + b"u" + state + b"b."


_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def _modules(arrays: Mapping[str, Array]) -> Mapping[str, int]:
    """Return the version of every module that the keys name, as torch counts them."""
    versions = {"": 1}
    for key in arrays:
        parts = key.split(".")[:-1]
        for end in range(1, len(parts) + 1):
            versions.setdefault(".".join(parts[:end]), 1)
        if key.endswith(".num_batches_tracked"):
            versions[".".join(parts)] = 2  # with version 1 torch would set the counter to 0
    versions.pop(_ABOUT, None)
    return versions


def _tensor(array: Array, key: str) -> bytes:
    storage = next(name for name, kind in STORAGES.items() if kind == array.dtype.name)
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    return b"".join(
        (
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            _text("storage") + _name(storage) + _text(key) + _text("cpu") + _integer(array.size),
            b"tQ" + _integer(0),
            _tuple(array.shape) + _tuple(strides),
            b"\x89" + _ORDERED_DICT + b"tR",  # needs no gradient, has no hooks
        )
    )


def _name(name: str) -> bytes:
    module, _, attribute = name.rpartition(" ")
    return f"c{module}\n{attribute}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(9, "little")  # with room for the sign
    return b"\x8a" + bytes([len(data)]) + data


def _tuple(values: Any) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
