"""The file format of ONNX, for writing.

An ONNX file is one protobuf message.  The arrays are written after the rest of it, one by one, so
that none of them is ever held twice.
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from darknet_bn.convert.build import ExportGraph, Tensor
from darknet_bn.errors import ExportError
from darknet_bn.formats.writing import Writer
from darknet_bn.graph.builder import INPUT
from darknet_bn.graph.graph import FLOAT, HALF, Constant, Dims, Op, Value
from darknet_bn.optional import load_extra
from darknet_bn.version import __version__

BESIDE = ".data"  # the suffix of a file that holds only arrays
_DIGITS = 12  # the length of the hash in its name
# In the metadata: the output of each layer, and each array, as JSON; and the prefix of the keys
# that restore Darknet's two files.
LAYERS, ARRAYS, ABOUT = "darknet_layers", "darknet_arrays", "darknet_"

_LARGEST = (1 << 31) - 1  # bytes: the limit for a protobuf message
_ROOM = 1 << 24  # bytes of it for everything but the arrays
_ALIGNED = 4096  # the alignment of arrays in a file of their own, so that it can be mapped
# Wire format: the tags of ModelProto.graph, GraphProto.initializer and TensorProto.raw_data.
_GRAPH, _INITIALIZER, _RAW_DATA = b"\x3a", b"\x2a", b"\x4a"
_TYPES = {"float32": FLOAT, "float16": HALF, "int64": 7, "bool": 9}


def newest_opset() -> int:
    """Return the newest opset that the package onnx knows."""
    newest: int = package().defs.onnx_opset_version()
    return newest


def onnx_files(made: ExportGraph, target: Path) -> dict[Path, Writer]:
    """Return the functions that write an ONNX file, and a second one if it would be too large.

    Parameters
    ----------
    made : ExportGraph
    target : Path
        The file.

    Returns
    -------
    files : dict from path to function
        The file with the arrays comes first, if there is one.
    """
    arrays = {made.graph.name(value): _as_stored(value) for value in made.graph.constants}
    large = sum(array.nbytes for array in arrays.values()) > _LARGEST - _ROOM
    apart = [name for name, array in arrays.items() if large and array.nbytes >= _ALIGNED]
    beside = _name_beside(target, [arrays[name] for name in apart]) if large else None
    places = dict(zip(apart, _places(arrays[name].nbytes for name in apart), strict=True))

    def write(stream: BinaryIO) -> None:
        tensors = [_tensor(name, array, beside, places.get(name)) for name, array in arrays.items()]
        front = skeleton(made, target.stem)
        size = len(front) + sum(len(head) + len(data) for head, data in tensors)
        stream.write(_model(made.graph.opset, made.graph.facts) + _GRAPH + _varint(size) + front)
        for head, data in tensors:
            stream.write(head)
            stream.write(data)

    def write_arrays(stream: BinaryIO) -> None:
        for name in apart:
            stream.seek(places[name])
            stream.write(_bytes(arrays[name]))

    files: dict[Path, Writer] = {} if beside is None else {beside: write_arrays}
    return files | {target: write}


def _name_beside(target: Path, arrays: Sequence[Constant]) -> Path:
    """Name the file of arrays by its content, so that no other file is ever run with it."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(_bytes(array))
    return target.with_name(f"{target.name}.{digest.hexdigest()[:_DIGITS]}{BESIDE}")


def files_beside(path: Path) -> list[Path]:
    """Return the files that may hold arrays of an ONNX file, whichever program wrote it."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}*{BESIDE}"))


def is_own_name(path: Path, beside: Path) -> bool:
    """Return whether `onnx_files` named a file that belongs to an ONNX file."""
    pattern = rf"{re.escape(path.name)}\.[0-9a-f]{{{_DIGITS}}}{re.escape(BESIDE)}"
    return re.fullmatch(pattern, beside.name) is not None


def exposed(data: bytes, values: Mapping[str, Tensor]) -> bytes:
    """Return an ONNX file with more outputs.

    Parameters
    ----------
    data : bytes
        The content of the file.
    values : mapping from name to Tensor
        The additional outputs.
    """
    onnx = package()
    outputs = [_info(*each) for each in values.items()]
    # Bytes appended to a protobuf message add to it.
    more: bytes = onnx.ModelProto(graph=onnx.GraphProto(output=outputs)).SerializeToString()
    return data + more


@dataclass(frozen=True)
class FileTypes:
    """What an ONNX file says about its values.

    Attributes
    ----------
    batch : int
        How many images it takes; 1 if that is open.
    inner : mapping from name to Tensor
        The outputs of layers that are not outputs of the file, if it was exported here.
    layers : mapping from layer number to name, or None
        The outputs of the layers; None if it was not exported here.
    takes_any : bool
        Whether it takes any number of images.
    """

    batch: int
    inner: Mapping[str, Tensor]
    layers: Mapping[int, str] | None
    takes_any: bool


def read_types(data: bytes) -> FileTypes:
    """Read what a file says about its values.

    Parameters
    ----------
    data : bytes
        The content of the file.

    Returns
    -------
    types : FileTypes

    Raises
    ------
    ExportError
        It is not an ONNX file, or is damaged.
    """
    model = package().ModelProto()
    from google.protobuf.message import DecodeError

    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ExportError("this is not an ONNX file") from error
    facts = {each.key: each.value for each in model.metadata_props}
    constants = {each.name for each in model.graph.initializer}
    (first, *_) = *(dims_of(each) for each in model.graph.input if each.name not in constants), ()
    count = first[0] if first else None
    batch, takes_any = (count, False) if isinstance(count, int) else (1, True)
    if LAYERS not in facts:
        return FileTypes(batch, {}, None, takes_any)
    try:
        layers = {int(key): str(name) for key, name in json.loads(facts[LAYERS]).items()}
    except (ValueError, AttributeError) as error:
        raise ExportError(
            "the file does not say where the outputs of layers are",
            expected=f"numbers and names under {LAYERS} in the metadata",
        ) from error
    inner = {
        info.name: Tensor(dims_of(info), half=info.type.tensor_type.elem_type == HALF)
        for info in model.graph.value_info
    }
    return FileTypes(batch, inner, layers, takes_any)


def dims_of(info: Any) -> Dims:
    """Return the dimensions of a value, with names for open ones."""
    return tuple(d.dim_value or d.dim_param or None for d in info.type.tensor_type.shape.dim)


def package() -> Any:
    """Return the package onnx.

    Raises
    ------
    ExportError
        It is not installed.
    """
    return load_extra("onnx", error=ExportError)


def _as_stored(value: Value) -> Constant:
    """Return the array of a constant as stored in files: contiguous, the low byte first."""
    array = np.asarray(value.array)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)


def _bytes(array: Constant) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _places(sizes: Iterable[int]) -> Iterator[int]:
    """Yield the offset of each array in one file, given their sizes."""
    at = 0
    for size in sizes:
        yield at
        at = -(-(at + size) // _ALIGNED) * _ALIGNED


def skeleton(made: ExportGraph, name: str) -> bytes:
    """Return the graph without its arrays, as a protobuf message."""
    onnx, name_of = package(), made.graph.name
    helper = onnx.helper

    def node(op: Op) -> Any:
        attributes = {
            key: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for key, value in op.attributes.items()
        }
        inputs = ["" if value is None else name_of(value) for value in op.inputs]
        outputs = [name_of(value) for value in op.outputs]
        return helper.make_node(op.kind, inputs, outputs, name=op.name, **attributes)

    graph = onnx.GraphProto(
        name=name,
        node=[node(op) for op in made.graph.ops],
        input=[_info(INPUT, made.input)],
        output=[_info(*each) for each in made.outputs.items()],
        value_info=[_info(*each) for each in made.values.items() if each[0] not in made.outputs],
    )
    message: bytes = graph.SerializeToString()
    return message


def _info(name: str, tensor: Tensor) -> Any:
    kind = HALF if tensor.half else FLOAT
    return package().helper.make_tensor_value_info(name, kind, tensor.dims)


def _model(opset: int, facts: Mapping[str, str]) -> bytes:
    """Return the message that contains the graph, without the graph."""
    onnx = package()
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.ModelProto(
        ir_version=onnx.helper.find_min_ir_version_for(imports),
        opset_import=imports,
        producer_name="darknet-bn",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(model, dict(facts))
    head: bytes = model.SerializeToString()
    return head


def _tensor(
    name: str, array: Constant, beside: Path | None, place: int | None
) -> tuple[bytes, memoryview]:
    """Return an array as a part of the graph: the bytes before its data, and the data."""
    onnx = package()
    tensor = onnx.TensorProto(dims=array.shape, data_type=_TYPES[array.dtype.name], name=name)
    data = memoryview(b"")
    if beside is not None and place is not None:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        facts = {"location": beside.name, "offset": str(place), "length": str(array.nbytes)}
        for key, value in facts.items():
            tensor.external_data.add(key=key, value=value)
        head: bytes = tensor.SerializeToString()
    else:
        data = _bytes(array)
        head = tensor.SerializeToString() + _RAW_DATA + _varint(len(data))
    return _INITIALIZER + _varint(len(head) + len(data)) + head, data


def _varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits per byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
