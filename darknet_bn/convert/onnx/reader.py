"""Graphs of ONNX files, of any program, as plain data.

Limits: a file has at most 2 GiB, protobuf's limit, and 20,000 nodes.  Of these, up to 4,000 may
compute shapes or rearrange weights.  They are computed here, and their results may be at most 16
MiB larger than all constants of the file together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darknet_bn.convert.onnx.file import dims_of, package
from darknet_bn.errors import WeightsError, one_line, reason_of, shown
from darknet_bn.formats.reading import CANNOT_BE_READ, open_file, read_file
from darknet_bn.graph.graph import Constant, Graph, Value

_MOST_OF_A_REASON = 200  # characters
_DAMAGED = (ValueError, TypeError, LookupError, RuntimeError)  # what onnx raises for damaged files
MOST_BYTES = 1 << 31
"""The largest file that is read."""
_MOST_NODES, _MOST_COMPUTED = 20_000, 4_000
_SPARE = 16 << 20  # bytes
_SMALL = 64  # values: shapes, and what is computed from them
# What programs compute from shapes when the file runs; and how they rearrange weights.
_OF_SHAPES = frozenset((
    "Add", "Cast", "Concat", "Div", "Floor", "Gather", "Identity", "Mul", "Neg", "Reshape",
    "Slice", "Squeeze", "Sub", "Unsqueeze",
))  # fmt: skip
_OF_WEIGHTS = frozenset(("Identity", "Transpose"))


def read_model(path: str | os.PathLike[str]) -> Graph:
    """Read a graph with its arrays, including arrays in separate files.

    Parameters
    ----------
    path : path

    Raises
    ------
    ExportError
        The package onnx is not installed.
    WeightsError
        It is not an ONNX file, or is damaged; the message does not name the file.
    """
    onnx = package()
    from google.protobuf.message import DecodeError

    data = read_file(path, MOST_BYTES, WeightsError, piped=False)
    try:
        model = onnx.load_model_from_string(data)
        outside = _outside(model, Path(path).parent)
        onnx.checker.check_model(os.fspath(path))
        for tensor in outside:
            onnx.external_data_helper.load_external_data_for_tensor(
                tensor, os.fspath(Path(path).parent)
            )
        return _read_graph(model)
    except OSError as error:
        raise WeightsError(f"{CANNOT_BE_READ}: {reason_of(error)}") from error
    except (DecodeError, *_DAMAGED, *_refusals(onnx)) as error:
        reason = one_line(error)[:_MOST_OF_A_REASON]
        raise WeightsError(f"this is not a valid ONNX file: {reason}") from error


def _outside(model: Any, folder: Path) -> list[Any]:
    """Return the tensors stored in regular files next to the model; refuse other places."""
    outside = []
    for tensor in model.graph.initializer:
        if tensor.data_location == package().TensorProto.EXTERNAL:
            facts = {_text(each.key): _text(each.value) for each in tensor.external_data}
            location = facts.get("location", "")
            what = f"{shown(location, 80)}, which holds some of its arrays, cannot be read"
            open_file(folder / location, WeightsError, what=what).close()
            outside.append(tensor)
    return outside


def _refusals(onnx: Any) -> tuple[type[Exception], ...]:
    return onnx.checker.ValidationError, onnx.shape_inference.InferenceError


def _read_graph(model: Any) -> Graph:
    onnx = package()
    graph = Graph(facts={_text(each.key): _text(each.value) for each in model.metadata_props})
    values: dict[str, Value] = {}

    def constant(name: str, array: Constant) -> None:
        values[name] = graph.add_constant(name, array)

    def value(name: str) -> Value:
        return values.setdefault(name, Value(name))

    for each in model.graph.initializer:
        constant(_text(each.name), onnx.numpy_helper.to_array(each))
    for each in model.graph.input:
        if (name := _text(each.name)) not in values:
            values[name] = Value(name, dims=dims_of(each))
            graph.inputs.append(values[name])
    computes_shapes = any(node.op_type == "Shape" for node in model.graph.node)
    shapes = _shapes(model, graph.constants) if computes_shapes else {}
    if len(model.graph.node) > _MOST_NODES:
        raise ValueError(
            f"the graph has {len(model.graph.node)} nodes (at most {_MOST_NODES} are supported)"
        )
    room = _Room(sum(np.asarray(each.array).nbytes for each in graph.constants))
    for node in model.graph.node:
        kind = ".".join(filter(None, (_text(node.domain), _text(node.op_type))))
        attributes = {_text(each.name): _attribute(each) for each in node.attribute}
        inputs = [value(name) if name else None for name in map(_text, node.input)]
        outputs = [_text(each) for each in node.output]
        if kind == "Constant" and attributes:
            (array,) = attributes.values()
            constant(outputs[0], np.asarray(array))
        elif kind == "Shape" and inputs[0] is not None and inputs[0].name in shapes:
            part = slice(attributes.get("start", 0), attributes.get("end"))
            constant(outputs[0], np.array(shapes[inputs[0].name][part], np.int64))
        elif (computed := _computed(model, node, kind, inputs)) is not None:
            room.take(computed.nbytes)
            constant(outputs[0], computed)
        else:
            op = graph.add_op(kind, _text(node.name), inputs, outputs, attributes)
            values |= {each.name: each for each in op.outputs}
    graph.outputs = [value(_text(each.name)) for each in model.graph.output]
    return graph


class _Room:
    """How much may be computed from the constants of a file.

    Parameters
    ----------
    size : int
        The bytes of the constants.
    """

    def __init__(self, size: int) -> None:
        self._bytes, self._nodes = size + _SPARE, _MOST_COMPUTED

    def take(self, size: int) -> None:
        """Count a result of this many bytes."""
        self._bytes -= size
        self._nodes -= 1
        if self._bytes < 0 or self._nodes < 0:
            raise ValueError("the constants need more computation than any network does")


def _shapes(model: Any, constants: Sequence[Value]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of values as far as they are known, for one image if the batch is open."""
    onnx, arrays = package(), {each.name: np.asarray(each.array) for each in constants}
    light = onnx.GraphProto(name="shapes", node=model.graph.node, output=model.graph.output)
    for info in model.graph.input:
        if info.name not in arrays:
            batch = light.input.add()
            batch.CopyFrom(info)
            if batch.type.tensor_type.shape.dim and not isinstance(dims_of(info)[0], int):
                batch.type.tensor_type.shape.dim[0].dim_value = 1
    for name, array in arrays.items():
        if array.size <= _SMALL:
            light.initializer.append(onnx.numpy_helper.from_array(array, name))
        else:  # only its shape
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            light.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
    whole = onnx.helper.make_model(light, opset_imports=model.opset_import)
    known = onnx.shape_inference.infer_shapes(whole, data_prop=True).graph
    infos = (*known.input, *known.value_info)
    found = {each.name: dims_of(each) for each in infos if each.type.tensor_type.HasField("shape")}
    return {
        name: tuple(int(str(each)) for each in dims)
        for name, dims in found.items()
        if all(isinstance(each, int) for each in dims)
    }


def _computed(model: Any, node: Any, kind: str, inputs: Sequence[Value | None]) -> Constant | None:
    """Return what a node computes from constants, if it is a shape or rearranges weights."""
    there = [each for each in inputs if each is not None]
    given = {each.name: each.array for each in there if each.array is not None}
    if not inputs or len(node.output) != 1 or not all(each.name in given for each in there):
        return None
    small = all(array.size <= _SMALL for array in given.values())
    if not (kind in _OF_WEIGHTS or (kind in _OF_SHAPES and small)):
        return None
    onnx = package()
    from onnx.reference import ReferenceEvaluator

    kinds = {
        name: onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in given.items()
    }
    result = onnx.helper.make_empty_tensor_value_info(_text(node.output[0]))
    graph = onnx.helper.make_graph([node], "node", list(kinds.values()), [result])
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    try:
        with np.errstate(all="ignore"):
            (computed,) = ReferenceEvaluator(alone).run(None, given)
    except MemoryError:
        raise
    except Exception as error:  # for nodes that make no sense it raises nearly anything
        raise ValueError(f"{shown(kind, 60)} cannot be computed: {error}") from error
    return np.asarray(computed)


def _attribute(attribute: Any) -> Any:
    onnx = package()
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        if value.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError("the values of an attribute are in a different file")
        return onnx.numpy_helper.to_array(value)
    return _text(value) if isinstance(value, bytes) else value


def _text(value: str | bytes) -> str:
    """Return a text: protobuf gives bytes if it is not UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
