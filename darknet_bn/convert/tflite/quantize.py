"""Numbers of 8 bits, by ai-edge-quantizer: which operators compute in them, and in what ranges.

Weights have a scale for each filter, all else one scale and zero for each tensor, as TFLite's
specification of quantised operators has them.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from typing import Any, Literal, TypeAlias

import numpy as np

from darknet_bn.convert.tflite.flat_model import FlatModel, Operator, packed
from darknet_bn.convert.tflite.notes import without_notes
from darknet_bn.errors import ExportError, one_line
from darknet_bn.optional import load_extra

Integers: TypeAlias = Literal["none", "input", "all"]
"""What goes in and out in 8 bits: nothing, the input, or the outputs too."""
INTEGERS: tuple[Integers, ...] = ("none", "input", "all")

WEIGHED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
# What keeps its sense in 8 bits: windows, copies, sums of a few, and functions that bend little.
QUANTISED = {
    *WEIGHED,
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "LEAKY_RELU",
    "LOGISTIC",
    "MAX_POOL_2D",
    "MEAN",
    "MIRROR_PAD",
    "MUL",
    "PAD",
    "RELU",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "STRIDED_SLICE",
    "TANH",
    "TRANSPOSE",
}
_INTEGER_LEAKY = 2  # the version of LEAKY_RELU that computes in 8 bits


class Plan:
    """Which operators of a model compute in 8 bits.

    All but these: what follows the last weights, so what makes boxes and scores, or shares; and
    what of a layer is no part of a convolution, where some of it bends too much, such as Mish.

    Parameters
    ----------
    model : FlatModel
    is_detector : bool
        Whether what the last weights make is boxes and scores in one tensor, for which one scale
        will not do: they compute in float32, with weights of 8 bits.

    Attributes
    ----------
    floats : list of str
        The names of what the operators make that compute in float32.
    weights_only : list of str
        Of those with weights of 8 bits that do.
    """

    def __init__(self, model: FlatModel, *, is_detector: bool) -> None:
        before = _before_weights(model)
        bending = {_layer(each) for each in model.operators if each.kind not in QUANTISED}
        weighed = {each.scope for each in model.operators if each.kind in WEIGHED}
        self.floats: list[str] = []
        self.weights_only: list[str] = []
        for operator in model.operators:
            is_last = operator.kind in WEIGHED and operator not in before
            names = [each.name for each in operator.outputs]
            if is_last and is_detector:
                self.weights_only += names
            elif operator.scope in weighed:
                continue
            elif operator not in before or _layer(operator) in bending:
                self.floats += names


def _layer(operator: Operator) -> str:
    return operator.scope.partition("/")[0]


def _before_weights(model: FlatModel) -> set[Operator]:
    """Return the operators whose outputs some operator with weights depends on."""
    needed: set[Any] = set()
    found = set()
    for operator in reversed(model.operators):
        if needed & set(operator.outputs):
            found.add(operator)
        if operator in found or operator.kind in WEIGHED:
            needed |= set(operator.inputs)
    return found


def quantized(
    data: bytes,
    plan: Plan,
    ranges: Mapping[str, tuple[float, float]],
    integers: Integers = "none",
) -> bytes:
    """Return a TFLite file that computes in 8 bits.

    Parameters
    ----------
    data : bytes
        A file in float32.
    plan : Plan
    ranges : mapping from name of a tensor to (lowest, highest)
        What its values are between, of each that is no constant.
    integers : "none", "input" or "all"
        What goes in and out in 8 bits.

    Raises
    ------
    ExportError
        ai-edge-quantizer is not installed, or does not take the file.
    """
    load_extra("ai_edge_quantizer", error=ExportError)
    quantizer = load_extra("ai_edge_quantizer.quantizer", error=ExportError)
    kinds = load_extra("ai_edge_quantizer.qtyping", error=ExportError).TFLOperationName
    none = quantizer.AlgorithmName.NO_QUANTIZE
    try:
        made = quantizer.Quantizer(data)
        made.add_static_config(".*", kinds.ALL_SUPPORTED, 8, 8)
        if integers == "none":
            made.update_quantization_recipe(".*", kinds.INPUT, algorithm_key=none)
        if plan.floats:
            names = _any_of(plan.floats)
            made.update_quantization_recipe(names, kinds.ALL_SUPPORTED, algorithm_key=none)
        if plan.weights_only:
            made.add_weight_only_config(_any_of(plan.weights_only), kinds.ALL_SUPPORTED, 8)
        if integers == "all":
            made.add_static_config("^", kinds.OUTPUT, 8, 8)
        else:
            made.update_quantization_recipe("^", kinds.OUTPUT, algorithm_key=none)
        known = {
            name: {
                "min": np.full((1, 1), low, np.float32),
                "max": np.full((1, 1), high, np.float32),
            }
            for name, (low, high) in ranges.items()
        }
        with _quiet():
            result = made.quantize(known, enable_progress_bar=False, enable_progress_report=False)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"ai-edge-quantizer cannot read the file: {one_line(error)}") from error
    return _with_integer_activations(bytes(result.quantized_model))


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, the quantiser neither shows progress, which it does unasked, nor warns of itself."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()), without_notes():
        warnings.simplefilter("ignore")
        yield


def _any_of(names: Collection[str]) -> str:
    """Return a pattern for operators that make one of these tensors."""
    return "^(?:" + "|".join(map(re.escape, names)) + ");"


def _with_integer_activations(data: bytes) -> bytes:
    """Let each LEAKY_RELU compute in 8 bits, which LiteRT does and the quantiser does not know.

    The quantiser has turned its input into float32 and its output back into 8 bits.
    """
    schema = load_extra("ai_edge_litert.schema_py_generated", error=ExportError)
    model = schema.ModelT.InitFromPackedBuf(data)
    for buffer in model.buffers:
        if buffer.offset > 1:  # it lies behind the flatbuffer
            part = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.data, buffer.offset, buffer.size = part, 0, 0
    (graph,) = model.subgraphs
    kinds = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in model.operatorCodes]
    makers, readers = _links(graph)
    gone = set()
    for operator in graph.operators:
        if kinds[operator.opcodeIndex] != schema.BuiltinOperator.LEAKY_RELU:
            continue
        (x,), (y,) = operator.inputs, operator.outputs
        source, users = makers.get(x), readers.get(y, [])
        if (
            source is None
            or kinds[source.opcodeIndex] != schema.BuiltinOperator.DEQUANTIZE
            or not users
            or any(kinds[each.opcodeIndex] != schema.BuiltinOperator.QUANTIZE for each in users)
            or y in graph.outputs
        ):
            continue
        first, *others = users
        (whole,) = first.outputs
        operator.inputs, operator.outputs = list(source.inputs), [whole]
        gone.add(id(first))
        for each in others:
            each.inputs = [whole]
        if readers[x] == [operator]:
            gone.add(id(source))
        name = graph.tensors[y].name
        graph.tensors[whole].name, graph.tensors[y].name = name, name + b"/float32"
    for code, kind in zip(model.operatorCodes, kinds, strict=True):
        if kind == schema.BuiltinOperator.LEAKY_RELU:
            code.version = _INTEGER_LEAKY
    graph.operators = [each for each in graph.operators if id(each) not in gone]
    return packed(model, len(data))


def _links(graph: Any) -> tuple[dict[int, Any], dict[int, list[Any]]]:
    """Return what makes each tensor, and what reads it."""
    makers: dict[int, Any] = {}
    readers: dict[int, list[Any]] = {}
    for operator in graph.operators:
        makers |= {int(each): operator for each in operator.outputs}
        for each in operator.inputs:
            readers.setdefault(int(each), []).append(operator)
    return makers, readers
