"""What can stand for an operator that a compiler does not have, or not with these attributes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from darknet_bn.convert.compilers.rewriting import Replacement
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Op, Value
from darknet_bn.kernels.activations.bends import LEAKY

_STEP = 5  # pixels: the windows that large ones are made of
_DPU_LEAKY = 26 / 256


def _x(op: Op) -> Value:
    """Return the first input."""
    return cast(Value, op.inputs[0])


def _mish(graph: GraphBuilder, op: Op) -> Value:
    x = _x(op)
    return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))


def _selu(graph: GraphBuilder, op: Op) -> Value:
    alpha, gamma = (float(cast(float, op.attributes[key])) for key in ("alpha", "gamma"))
    return graph.scaled(graph.add("Elu", _x(op), alpha=alpha), gamma)


def _negative(graph: GraphBuilder, op: Op) -> Value:
    return graph.scaled(_x(op), -1)


def _sum(graph: GraphBuilder, op: Op) -> Value:
    total, *others = (cast(Value, each) for each in op.inputs)
    for each in others:
        total = graph.add("Add", total, each)
    return total


def _root(graph: GraphBuilder, op: Op) -> Value:
    x = _x(op)
    axes = np.asarray(cast(Value, op.inputs[1]).array).tolist()
    return graph.add("Sqrt", graph.reduce("ReduceSum", graph.add("Mul", x, x), *axes))


def _dpu_leaky(graph: GraphBuilder, op: Op) -> Value:
    return graph.add("LeakyRelu", _x(op), alpha=_DPU_LEAKY)


def _largest_of_both(graph: GraphBuilder, op: Op) -> Value:
    x = _x(op)
    return graph.add("Max", x, graph.scaled(x, float(cast(float, op.attributes["alpha"]))))


def _space_to_depth(graph: GraphBuilder, op: Op) -> Value:
    """Turn the order of `[reorg]`, which is that of an image that the input is read as."""
    squares = cast(Op, _x(op).op)  # the Reshape to n, c, h, side, w, side
    _, c, h, side, w, _ = np.asarray(cast(Value, squares.inputs[1]).array).tolist()
    image = graph.reshape(_x(squares), c, h * side, w * side)
    return graph.add("SpaceToDepth", image, blocksize=side)


def _is_of_squares(op: Op) -> bool:
    made_by = _x(op).op
    return (
        list(cast(Any, op.attributes["perm"])) == [0, 3, 5, 1, 2, 4]
        and made_by is not None
        and made_by.kind == "Reshape"
    )


def _chained(graph: GraphBuilder, op: Op) -> Value:
    """Pool in steps of one pixel with small windows, and at last with the stride."""
    pads = list(cast(Any, op.attributes["pads"]))
    (size, _), x = window_of(op), _x(op)
    while size > _STEP:
        now = [min(each, _STEP - 1) for each in pads]
        x = graph.add("MaxPool", x, kernel_shape=[_STEP] * 2, strides=[1, 1], pads=now)
        pads = [each - taken for each, taken in zip(pads, now, strict=True)]
        size -= _STEP - 1
    strides = list(cast(Any, op.attributes["strides"]))
    return graph.add("MaxPool", x, kernel_shape=[size] * 2, strides=strides, pads=pads)


def window_of(op: Op) -> tuple[int, int]:
    """Return the height and width of the window of a pooling op."""
    high, wide = (int(each) for each in cast(Any, op.attributes["kernel_shape"]))
    return high, wide


def _is_large(op: Op) -> bool:
    return max(window_of(op)) > _STEP


def _is_leaky(op: Op) -> bool:
    return bool(op.attributes["alpha"] == float(LEAKY))


MISH = Replacement("Mish", "mish as x * tanh(softplus(x))", _mish)
SELU = Replacement("Selu", "selu as a factor times elu", _selu)
NEGATIVE = Replacement("Neg", "a negative as times -1", _negative)
SUM = Replacement("Sum", "a sum of several as one addition after the other", _sum)
ROOT = Replacement("ReduceL2", "a length as the root of a sum of squares", _root)
LARGE_POOLS = Replacement("MaxPool", "maxpool above 5x5 as a chain of 5x5", _chained, _is_large)
REORG = Replacement(
    "Transpose", "reorg as reshape and space-to-depth", _space_to_depth, _is_of_squares
)
LEAKY_AS_LARGEST = Replacement(
    "LeakyRelu", "leaky as the larger of x and 0.1 * x", _largest_of_both
)
# The slopes differ by 1/64 of the smaller; a layer without a positive value shows all of that.
DPU_LEAKY = Replacement(
    "LeakyRelu", "leaky with a slope of 26/256, not 0.1", _dpu_leaky, _is_leaky, change=1 / 64
)
