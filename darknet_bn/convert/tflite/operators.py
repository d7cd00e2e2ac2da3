"""What each of ONNX's operators is in TFLite's: all but windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np

from darknet_bn.convert.tflite.flat_model import Option, Tensor
from darknet_bn.convert.tflite.lowering import LAST, Lowering, Order, real, whole, wholes
from darknet_bn.errors import ExportError
from darknet_bn.graph.graph import FLOAT, Constant, Op

Rule = Callable[[Lowering, Op], None]

_CLIPS = {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1", (0.0, 1.0): "RELU_0_TO_1"}
_FUSABLE = ("RELU", "RELU6", "RELU_N1_TO_1")
_MOST_AT_ONCE = 4096  # pixels: the error of a sum one by one is 1e-6 of it there
_MISH_IS_LINEAR = 20.0  # from here on, and far below, in float32


# -- value by value ------------------------------------------------------------------------------


def operands(low: Lowering, op: Op) -> tuple[list[Tensor], Order]:
    """Return what an op reads value by value, and the order of the result."""
    order = low.order(*op.inputs)
    rank = len(low.dims(op.outputs[0]))
    if any(low.known(x) is None and len(low.dims(x)) not in (0, rank) for x in op.inputs):
        order = "darknet"
    tensors = []
    for x in op.inputs:
        array = low.known(x)
        if array is not None and order == "last" and array.ndim:
            widened = array.reshape((1,) * (rank - array.ndim) + array.shape)
            tensors.append(low.constant(widened.transpose(LAST), x.name if x else "constant"))
        else:
            tensors.append(low.tensor(x, order if len(low.dims(x)) == rank else "darknet"))
    return tensors, order


def _several(kind: str, low: Lowering, op: Op) -> None:
    (first, *others), order = operands(low, op)
    for each in others:
        first = low.binary(kind, first, each)
    low.settle(op, first, order)


def _compare(kind: str, low: Lowering, op: Op) -> None:
    (x, y), order = operands(low, op)
    low.settle(op, low.binary(kind, x, y, np.bool_), order)


def _where(low: Lowering, op: Op) -> None:
    tensors, order = operands(low, op)
    shape = np.broadcast_shapes(*(each.shape for each in tensors))
    low.settle(op, low.add("SELECT_V2", tensors, shape), order)


def _alone(low: Lowering, op: Op) -> tuple[Tensor, Order]:
    """Return the first input in the order that it has."""
    order = low.order(op.inputs[0])
    return low.tensor(op.inputs[0], order), order


def _unary(kind: str, low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    low.settle(op, low.unary(kind, x), order)


def _identity(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    low.settle(op, low.reshaped(x, x.shape), order)


def _activation(kind: str, low: Lowering, op: Op) -> None:
    """One operator, or a part of the one in front of it."""
    order = low.order(op.inputs[0])
    fused = low.activate(op.inputs[0], kind) if kind in _FUSABLE else None
    if fused is not None:
        low.settle(op, fused, order)
    else:
        low.settle(op, low.unary(kind, low.tensor(op.inputs[0], order)), order)


def _clip(low: Lowering, op: Op) -> None:
    bounds = [low.known(each) for each in op.inputs[1:]]
    floor, ceiling = (math.nan if each is None else float(each) for each in bounds)
    if (floor, ceiling) in _CLIPS:
        _activation(_CLIPS[floor, ceiling], low, op)
        return
    x, order = _alone(low, op)
    x = low.binary("MAXIMUM", x, low.number(floor))
    low.settle(op, low.binary("MINIMUM", x, low.number(ceiling)), order)


def _leaky(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    low.settle(op, low.unary("LEAKY_RELU", x, {"alpha": real(op, "alpha", 0.01)}), order)


def _selu(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    alpha, gamma = real(op, "alpha", 1.67326), real(op, "gamma", 1.0507)
    above = low.binary("MUL", low.unary("RELU", x), low.number(gamma))
    bend = low.unary("ELU", low.binary("MINIMUM", x, low.number(0)))
    below = low.binary("MUL", bend, low.number(alpha * gamma))
    low.settle(op, low.binary("ADD", above, below), order)


def softplus(low: Lowering, x: Tensor) -> Tensor:
    """Return log(1 + e^x) as max(x, 0) + log(1 + e^-|x|), which nothing overflows."""
    part = low.unary("EXP", low.unary("NEG", low.unary("ABS", x)))
    rest = low.unary("LOG", low.binary("ADD", part, low.number(1)))
    return low.binary("ADD", low.unary("RELU", x), rest)


def _softplus(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    low.settle(op, softplus(low, x), order)


def _mish(low: Lowering, op: Op) -> None:
    """Multiply x by n / (n + 2) with n = e (e + 2), e = e^x, which loses no digits."""
    x, order = _alone(low, op)
    e = low.unary("EXP", low.binary("MINIMUM", x, low.number(_MISH_IS_LINEAR)))
    n = low.binary("MUL", e, low.binary("ADD", e, low.number(2)))
    part = low.binary("DIV", n, low.binary("ADD", n, low.number(2)))
    low.settle(op, low.binary("MUL", x, part), order)


def _cast(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    if op.attributes["to"] != FLOAT:
        raise ExportError("a value that is not float32 cannot be exported to TFLite")
    if x.dtype == np.float32:
        low.settle(op, low.reshaped(x, x.shape), order)
        return
    types: dict[str, Option] = {"inDataType": "BOOL", "outDataType": "FLOAT32"}
    low.settle(op, low.add("CAST", [x], x.shape, types), order)


def _batchnorm(low: Lowering, op: Op) -> None:
    """Multiply and add, by channel."""
    arrays = [np.float64(cast(Constant, low.known(each))) for each in op.inputs[1:]]
    scales, biases, mean, variance = arrays
    eps = real(op, "epsilon", 1e-5)
    factor = scales / np.sqrt(variance + eps)
    summand = biases - mean * factor
    order: Order = "last" if len(low.dims(op.inputs[0])) == 4 else "darknet"
    x = low.tensor(op.inputs[0], order)
    scope = op.name.partition("/")[0]
    product = low.binary("MUL", x, low.constant(factor, f"{scope}.factor"))
    low.settle(op, low.binary("ADD", product, low.constant(summand, f"{scope}.summand")), order)


# -- shapes --------------------------------------------------------------------------------------


def _reshape(low: Lowering, op: Op) -> None:
    x = low.tensor(op.inputs[0])
    low.settle(op, low.reshaped(x, low.dims(op.outputs[0])))


def _transpose(low: Lowering, op: Op) -> None:
    """Turn the axes of what there is, in whichever order that is."""
    x, order = _alone(low, op)
    perm = wholes(op, "perm", ())
    places = [LAST.index(axis) for axis in perm] if order == "last" else perm
    low.settle(op, low.transposed(x, places))


def axis_of(axis: int, rank: int, order: Order) -> int:
    """Return where an axis of Darknet's order is."""
    axis %= rank
    return LAST.index(axis) if order == "last" else axis


def _concat(low: Lowering, op: Op) -> None:
    order, rank = low.order(*op.inputs), len(low.dims(op.outputs[0]))
    tensors = [low.tensor(each, order) for each in op.inputs]
    axis = axis_of(whole(op, "axis", 0), rank, order)
    shape = list(tensors[0].shape)
    shape[axis] = sum(each.shape[axis] for each in tensors)
    low.settle(op, low.add("CONCATENATION", tensors, shape, {"axis": axis}), order)


def _split(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    rank = len(x.shape)
    source_axis = whole(op, "axis", 0) % rank
    axis = axis_of(source_axis, rank, order)
    sizes = [low.dims(each)[source_axis] for each in op.outputs]
    shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
    where, count = low.constant(np.int32(axis), "axis"), {"numSplits": len(sizes)}
    if len(set(sizes)) == 1:
        made = low.add_split("SPLIT", [where, x], shapes, count)
    else:
        parts = low.constant(np.array(sizes), "sizes")
        made = low.add_split("SPLIT_V", [x, parts, where], shapes, count)
    for index, tensor in enumerate(made):
        low.settle(op, tensor, order, index)


def _slice(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    starts, stops, axes = (low.ints(each) for each in op.inputs[1:4])
    steps = low.ints(op.inputs[4]) if len(op.inputs) > 4 else [1] * len(axes)
    bounds = [slice(None)] * len(x.shape)
    for axis, *part in zip(axes, starts, stops, steps, strict=True):
        bounds[axis_of(axis, len(x.shape), order)] = slice(*part)
    low.settle(op, low.sliced(x, bounds), order)


def _pad(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    numbers, rank = low.ints(op.inputs[1]), len(x.shape)
    pads = list(zip(numbers[:rank], numbers[rank:], strict=True))
    value = low.known(op.inputs[2]) if len(op.inputs) > 2 else None
    if order == "last":
        pads = [pads[axis] for axis in LAST]
    low.settle(op, low.padded(x, pads, 0.0 if value is None else float(value)), order)


def _expand(low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    shape = np.array(low.dims(op.outputs[0]))
    wanted = shape[list(LAST)] if order == "last" else shape
    low.settle(op, low.binary("ADD", x, low.constant(np.zeros(wanted, np.float32))), order)


def _depth_to_space(kind: str, low: Lowering, op: Op) -> None:
    x = low.tensor(op.inputs[0], "last")
    n, c, h, w = low.dims(op.outputs[0])
    side = whole(op, "blocksize", 1)
    low.settle(op, low.add(kind, [x], (n, h, w, c), {"blockSize": side}), "last")


# -- sums ----------------------------------------------------------------------------------------


def _reduce(kind: str, low: Lowering, op: Op) -> None:
    x, order = _alone(low, op)
    axes = low.ints(op.inputs[1]) if len(op.inputs) > 1 else wholes(op, "axes", ())
    low.settle(op, reduced(low, kind, x, axes, order), order)


def reduced(low: Lowering, kind: str, x: Tensor, axes: list[int], order: Order) -> Tensor:
    """Reduce axes of Darknet's order to one value each."""
    places = [axis_of(axis, len(x.shape), order) for axis in axes]
    shape = [1 if axis in places else size for axis, size in enumerate(x.shape)]
    source = low.binary("MUL", x, x) if kind == "ROOT" else x
    where = low.constant(np.array(places), "axes")
    made = low.add("SUM" if kind == "ROOT" else kind, [source, where], shape, {"keepDims": True})
    return low.unary("SQRT", made) if kind == "ROOT" else made


def _mean(low: Lowering, op: Op) -> None:
    """Over all pixels; of many row by row, as one sum of them all would lose digits."""
    x = low.tensor(op.inputs[0], "last")
    steps = [[2, 3]] if x.shape[1] * x.shape[2] <= _MOST_AT_ONCE else [[3], [2]]
    for axes in steps:
        x = reduced(low, "MEAN", x, axes, "last")
    low.settle(op, x, "last")


def _softmax(low: Lowering, op: Op) -> None:
    """Over the last axis; others are put there and back."""
    x, order = _alone(low, op)
    rank = len(x.shape)
    axis = axis_of(whole(op, "axis", -1), rank, order)
    perm = [each for each in range(rank) if each != axis] + [axis]
    turned = x if axis == rank - 1 else low.transposed(x, perm)
    made = low.unary("SOFTMAX", turned, {"beta": 1.0})
    if turned is not x:
        made = low.transposed(made, [perm.index(each) for each in range(rank)])
    low.settle(op, made, order)


def _gemm(low: Lowering, op: Op) -> None:
    """Multiply by weights (out, in), as ``FULLY_CONNECTED`` has them."""
    x = low.tensor(op.inputs[0])
    weights = low.known(op.inputs[1])
    if weights is None or whole(op, "transA", 0):
        raise ExportError("a product of two inputs cannot be exported to TFLite")
    rows = weights if whole(op, "transB", 0) else weights.T
    name = op.inputs[1].name if op.inputs[1] else "weights"
    biases = low.tensor(op.inputs[2]) if len(op.inputs) > 2 else None
    inputs = [x, low.constant(rows, name), biases]
    low.settle(op, low.add("FULLY_CONNECTED", inputs, low.dims(op.outputs[0])))


def _matmul(low: Lowering, op: Op) -> None:
    x, y = (low.tensor(each) for each in op.inputs)
    low.settle(op, low.add("BATCH_MATMUL", [x, y], low.dims(op.outputs[0])))


RULES: dict[str, Rule] = {
    **{
        kind: partial(_several, name)
        for kind, name in {
            "Add": "ADD",
            "Div": "DIV",
            "Max": "MAXIMUM",
            "Mul": "MUL",
            "Pow": "POW",
            "Sub": "SUB",
            "Sum": "ADD",
        }.items()
    },
    **{kind: partial(_compare, kind.upper()) for kind in ("Equal", "Greater")},
    **{
        kind: partial(_unary, kind.upper())
        for kind in ("Elu", "Exp", "Floor", "Neg", "Sqrt", "Tanh")
    },
    "BatchNormalization": _batchnorm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "DepthToSpace": partial(_depth_to_space, "DEPTH_TO_SPACE"),
    "Expand": _expand,
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "Identity": _identity,
    "LeakyRelu": _leaky,
    "MatMul": _matmul,
    "Mish": _mish,
    "Pad": _pad,
    "ReduceL2": partial(_reduce, "ROOT"),
    "ReduceMax": partial(_reduce, "REDUCE_MAX"),
    "ReduceSum": partial(_reduce, "SUM"),
    "Relu": partial(_activation, "RELU"),
    "Reshape": _reshape,
    "Selu": _selu,
    "Sigmoid": partial(_unary, "LOGISTIC"),
    "Slice": _slice,
    "Softmax": _softmax,
    "Softplus": _softplus,
    "SpaceToDepth": partial(_depth_to_space, "SPACE_TO_DEPTH"),
    "Split": _split,
    "Sub": partial(_several, "SUB"),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
    "Where": _where,
}
"""What is made of each kind of op."""
