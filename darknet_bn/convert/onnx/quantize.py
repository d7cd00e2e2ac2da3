"""Convolutions of an ONNX file in 8 bits, by ONNX Runtime's own quantizer.

The file stays one of ordinary operators: before each 8-bit operation its inputs are rounded by
``QuantizeLinear`` and turned back by ``DequantizeLinear``, and programs that know 8-bit arithmetic
merge these with the operation.  Everything after the last convolution stays float32, and so does
the output of that convolution: 8 bits for boxes and scores together would leave neither.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.convert.onnx.biases import Means, shift
from darknet_bn.convert.onnx.file import ARRAYS, LAYERS, dims_of, package
from darknet_bn.convert.onnx.ranges import Range
from darknet_bn.errors import ExportError
from darknet_bn.graph.graph import FLOAT
from darknet_bn.optional import load_extra

QUANTIZED = "darknet_quantized"
"""In the metadata: how the file was made, as JSON."""

_WEIGHTED = ("Conv", "Gemm", "MatMul")
# What may be computed in 8 bits between two of them.
_OTHERS = (
    *("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu"),
    *("MaxPool", "Mul", "Pad", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Split"),
    *("Squeeze", "Transpose", "Unsqueeze"),
)
_ROUNDING, _BACK = "QuantizeLinear", "DequantizeLinear"


def require_quantizer() -> Any:
    """Return ONNX Runtime's quantizer.

    Raises
    ------
    ExportError
        A package that it needs is not installed.
    """
    package()
    load_extra("sympy", error=ExportError)
    return load_extra("onnxruntime.quantization", error=ExportError)


class QuantizableOnnx:
    """An exported ONNX file that can be written in 8 bits.

    Parameters
    ----------
    data : bytes
        The content of the file.

    Attributes
    ----------
    layers : tuple of int
        The layers with weights that can be in 8 bits.
    values : tuple of str
        The values whose ranges have to be known.
    bytes_per_image : int
        The memory that these values need together.
    read : tuple of str
        Those of the values (n, c, h, w) whose means `corrected` needs.
    """

    def __init__(self, data: bytes) -> None:
        onnx = package()
        self._model = onnx.load_model_from_string(data)
        self._inferred = onnx.shape_inference.infer_shapes(self._model)
        graph = self._inferred.graph
        infos = {each.name: each for each in (*graph.value_info, *graph.input, *graph.output)}
        self._constants = {each.name for each in graph.initializer}
        self._floats = {
            name: info
            for name, info in infos.items()
            if info.type.tensor_type.elem_type == FLOAT and name not in self._constants
        }
        self._uses = Counter(name for node in graph.node for name in node.input)
        before, self._last = self._reaching_weights()
        kinds = (*_WEIGHTED, *_OTHERS)
        self._nodes = [node for node in before if node.op_type in kinds]
        weighted = {number_of(node.name) for node in before if self._is_weighted(node)}
        self.layers = tuple(sorted(each for each in weighted if each is not None))
        names = (name for node in self._nodes for name in (*node.input, *node.output))
        self.values = tuple(dict.fromkeys(name for name in names if name in self._floats))
        self.bytes_per_image = sum(map(self._size, self.values))
        self._convolutions = [node for node in self._nodes if self._is_corrected(node)]
        self.read = tuple(dict.fromkeys(node.input[0] for node in self._convolutions))

    def _is_weighted(self, node: Any) -> bool:
        return node.op_type in _WEIGHTED and node.input[1] in self._constants

    def _is_corrected(self, node: Any) -> bool:
        """Return whether the bias of a convolution can be chosen for it alone."""
        if node.op_type != "Conv" or len(node.input) < 3 or not self._is_weighted(node):
            return False
        known = node.input[0] in self._floats and len(dims_of(self._floats[node.input[0]])) == 4
        return known and node.input[2] in self._constants and self._uses[node.input[2]] == 1

    def corrected(self, means: Means) -> dict[str, F32]:
        """Return biases that take back how far rounding moves the mean of each filter.

        Parameters
        ----------
        means : Means
            The means of ``read``.
        """
        arrays = {each.name: each for each in self._inferred.graph.initializer}
        biases: dict[str, F32] = {}
        for node in self._convolutions:
            read, weights, bias = (
                node.input[0],
                *(package().numpy_helper.to_array(arrays[name]) for name in node.input[1:3]),
            )
            groups = next((each.i for each in node.attribute if each.name == "group"), 1)
            moved = shift(weights, groups, means.of(read))
            biases[node.input[2]] = (bias + moved).astype(np.float32)
        return biases

    def _reaching_weights(self) -> tuple[list[Any], set[str]]:
        """Return the nodes up to the last weights on their path, and the names of those last."""
        before: list[Any] = []
        last: set[str] = set()
        wanted: set[str] = set()
        for node in reversed(self._inferred.graph.node):
            leads_on = not wanted.isdisjoint(node.output)
            if self._is_weighted(node) and not leads_on:
                last.add(node.name)
            elif not leads_on:
                continue
            before.append(node)
            wanted.update(node.input)
        return before[::-1], last

    def rounded(self, keep: Collection[int]) -> dict[int, bool]:
        """Return for each layer that has nodes whether any of them is in 8 bits."""
        chosen = {node.name for node in self._chosen(keep)}
        found: dict[int, bool] = {}
        for node in self._inferred.graph.node:
            number = number_of(node.name)
            if number is not None:
                found[number] = found.get(number, False) or node.name in chosen
        return found

    def _chosen(self, keep: Collection[int]) -> list[Any]:
        return [node for node in self._nodes if number_of(node.name) not in keep]

    def _size(self, name: str) -> int:
        dims = dims_of(self._floats[name])
        return 4 * math.prod(each for each in dims if isinstance(each, int))

    def exposed(self) -> bytes:
        """Return the file with all of ``values`` as its outputs."""
        onnx = package()
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        given = {each.name for each in model.graph.input}
        del model.graph.output[:]
        for name in self.values:
            if name not in given:
                model.graph.output.append(self._floats[name])
        data: bytes = model.SerializeToString()
        return data

    def quantized(
        self,
        ranges: Mapping[str, Range],
        biases: Mapping[str, F32],
        keep: Collection[int],
        about: Mapping[str, Any],
    ) -> bytes:
        """Return the file in 8 bits.

        Parameters
        ----------
        ranges : mapping from name to (float, float)
            The lowest and highest of each of ``values``.
        biases : mapping from name to float32 array
            Biases that are to be others in layers of 8 bits, as `corrected` gives them.
        keep : collection of int
            Layers to leave in float32, though not all of ``layers``.
        about : mapping
            What the metadata say about how it was made.


        Returns
        -------
        data : bytes
            The content of the file.  The output of a layer is what the layers after it see of it.
        """
        quantizer = require_quantizer()
        model = package().ModelProto()
        model.CopyFrom(self._inferred)
        chosen = self._chosen(keep)
        nodes = [node.name for node in chosen]
        read = {name for node in chosen for name in node.input}
        for constant in model.graph.initializer:
            if constant.name in biases and constant.name in read:
                new = package().numpy_helper.from_array(biases[constant.name], constant.name)
                constant.CopyFrom(new)
        method = quantizer.CalibrationMethod.MinMax
        data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
        with _without_a_root_handler():
            made = quantizer.QDQQuantizer(
                model,
                True,  # weights per channel
                False,
                quantizer.QuantType.QInt8,  # weights
                quantizer.QuantType.QUInt8,  # everything else
                quantizer.TensorsData(method, data),
                nodes,
                [],
                [*_WEIGHTED, *_OTHERS],
                {"WeightSymmetric": True},
            ).quantize_model()
        _leave_float(made, self._last)
        return self._rebuilt(made, about)

    def _rebuilt(self, made: Any, about: Mapping[str, Any]) -> bytes:
        """Return our own file with the nodes and the constants of the quantizer's."""
        onnx = package()
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        del graph.node[:], graph.initializer[:]
        graph.node.extend(_in_order(made.graph))
        used = {name for node in graph.node for name in node.input}
        arrays = sorted(made.graph.initializer, key=lambda each: str(each.name))
        graph.initializer.extend(each for each in arrays if each.name in used)
        facts = {each.key: each.value for each in model.metadata_props}
        facts.pop(ARRAYS, None)  # they are not as Darknet has them
        facts[QUANTIZED] = json.dumps(about)
        rounded = _rounded_values(graph)
        if LAYERS in facts:
            layers = json.loads(facts[LAYERS])
            facts[LAYERS] = json.dumps({k: rounded.get(v, v) for k, v in layers.items()})
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, facts)
        for info in graph.value_info:
            info.name = rounded.get(info.name, info.name)
        data: bytes = model.SerializeToString()
        return data


def number_of(name: str) -> int | None:
    """Return the number of the layer that a node belongs to; None if it belongs to no layer."""
    found = re.match(r"layer_(\d+)", name)
    return None if found is None else int(found[1])


def _in_order(graph: Any) -> list[Any]:
    """Return nodes so that each comes after those that it reads, else in their order."""
    makers = {name: node for node in graph.node for name in node.output}
    done: set[str] = set()
    ordered: list[Any] = []
    for last in graph.node:
        waiting = [last]
        while waiting:
            node = waiting[-1]
            before = [makers[name] for name in node.input if name in makers and name not in done]
            if before:
                waiting += before
                continue
            waiting.pop()
            if not done.issuperset(node.output):
                ordered.append(node)
                done.update(node.output)
    return ordered


def _rounded_values(graph: Any) -> dict[str, str]:
    """Return the name under which a value that is rounded is read, for each that is."""
    rounded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == _ROUNDING}
    return {
        rounded[node.input[0]]: node.output[0]
        for node in graph.node
        if node.op_type == _BACK and node.input[0] in rounded
    }


def _leave_float(model: Any, last: Collection[str]) -> None:
    """Do not round the outputs of some nodes."""
    graph = model.graph
    outputs = {each.name for each in graph.output}
    rounded = _rounded_values(graph)
    gone: set[str] = set()
    for node in graph.node:
        if node.name not in last or node.output[0] not in rounded:
            continue
        value = node.output[0]
        read = rounded[value]
        gone |= {value, read}
        if read in outputs:
            node.output[0] = read
        else:
            for each in graph.node:
                each.input[:] = [value if name == read else name for name in each.input]
    kept = [
        node
        for node in graph.node
        if not (node.op_type == _ROUNDING and node.input[0] in gone)
        and not (node.op_type == _BACK and node.output[0] in gone)
    ]
    del graph.node[:]
    graph.node.extend(kept)


@contextlib.contextmanager
def _without_a_root_handler() -> Iterator[None]:
    """Within it, messages to the root logger are not printed by a handler made for them."""
    root, nothing = logging.getLogger(), logging.NullHandler()
    root.addHandler(nothing)
    try:
        yield
    finally:
        root.removeHandler(nothing)
