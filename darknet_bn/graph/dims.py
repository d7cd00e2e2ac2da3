"""The dimensions of every value of a graph, given the dimensions of its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from darknet_bn.graph.graph import Constant, Graph, Op, Value

Size: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True)
class Sizes:
    """What is known about the values of a graph whose inputs have fixed dimensions.

    Attributes
    ----------
    dims : mapping from Value to tuple of int
        The dimensions of every value.
    known : mapping from Value to array
        Values that do not depend on the input: constants, and results of dimensions alone.
    """

    dims: Mapping[Value, Size]
    known: Mapping[Value, Constant]


def sizes_of(graph: Graph, inputs: Mapping[Value, Size]) -> Sizes:
    """Return the dimensions of every value of a graph.

    Parameters
    ----------
    graph : Graph
        A graph of the operators that layers are expressed in.
    inputs : mapping from Value to tuple of int
        The dimensions of each input.

    Returns
    -------
    sizes : Sizes

    Raises
    ------
    KeyError
        There is no rule for an operator.
    """
    known = {value: np.asarray(value.array) for value in graph.constants}
    dims = {**inputs, **{value: array.shape for value, array in known.items()}}
    for op in graph.ops:
        node = _Node(op, dims, known)
        if op.kind == "Shape" or (op.kind in _FOLDED and all(each in known for each in op.inputs)):
            (value,) = op.outputs
            known[value] = _FOLDED[op.kind](node)
            dims[value] = known[value].shape
        else:
            found = _RULES[op.kind](node)
            each = found if isinstance(found, list) else [found]
            dims.update(zip(op.outputs, each, strict=True))
    return Sizes(dims, known)


class _Window(NamedTuple):
    """A window that moves over the pixels, one entry per axis; ``pads`` has (before, after)."""

    kernel: Sequence[int]
    strides: Sequence[int]
    pads: Sequence[tuple[int, int]]
    dilations: Sequence[int]


class _Node:
    """An op with what is known about its inputs."""

    def __init__(self, op: Op, dims: Mapping[Value, Size], known: Mapping[Value, Constant]) -> None:
        self.op, self._dims, self._known = op, dims, known

    def size(self, index: int) -> Size:
        return self._dims[self._input(index)]

    def array(self, index: int) -> Constant:
        return self._known[self._input(index)]

    def _input(self, index: int) -> Value:
        return cast(Value, self.op.inputs[index])  # no rule uses an input that is left out

    def ints(self, index: int) -> list[int]:
        return [int(each) for each in self.array(index)]

    def window(self, rank: int) -> _Window:
        """Return the window that a convolution or pooling moves over ``rank`` axes."""
        kernel = self.attribute("kernel_shape") or self.size(1)[2:]
        pads = self.attribute("pads", [0] * 2 * rank)
        return _Window(
            kernel,
            self.attribute("strides", [1] * rank),
            list(zip(pads[:rank], pads[rank:], strict=True)),
            self.attribute("dilations", [1] * rank),
        )

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.op.attributes.get(name, default)


def _same(node: _Node) -> Size:
    return node.size(0)


def _broadcast(node: _Node) -> Size:
    sizes = [node.size(index) for index in range(len(node.op.inputs))]
    return np.broadcast_shapes(*sizes)


def _window(node: _Node) -> Size:
    """Convolution and pooling: the number of windows that fit."""
    n, c, *pixels = node.size(0)
    window = node.window(len(pixels))
    count = node.size(1)[0] if node.op.kind == "Conv" else c
    reach = [d * (k - 1) + 1 for k, d in zip(window.kernel, window.dilations, strict=True)]
    return (
        n,
        count,
        *(
            (size + sum(window.pads[axis]) - reach[axis]) // window.strides[axis] + 1
            for axis, size in enumerate(pixels)
        ),
    )


def _transposed_convolution(node: _Node) -> Size:
    n, _, *pixels = node.size(0)
    window = node.window(len(pixels))
    more = node.attribute("output_padding", [0] * len(pixels))
    count = node.size(1)[1] * node.attribute("group", 1)
    return (
        n,
        count,
        *(
            (size - 1) * window.strides[axis]
            + window.kernel[axis]
            - sum(window.pads[axis])
            + more[axis]
            for axis, size in enumerate(pixels)
        ),
    )


def _concat(node: _Node) -> Size:
    sizes = [node.size(index) for index in range(len(node.op.inputs))]
    axis = node.attribute("axis") % len(sizes[0])
    whole = list(sizes[0])
    whole[axis] = sum(size[axis] for size in sizes)
    return tuple(whole)


def _split(node: _Node) -> list[Size]:
    whole = list(node.size(0))
    axis, count = node.attribute("axis", 0), len(node.op.outputs)
    parts = node.ints(1) if len(node.op.inputs) > 1 else [whole[axis] // count] * count
    return [(*whole[:axis], part, *whole[axis + 1 :]) for part in parts]


def _bounds(node: _Node) -> list[slice]:
    """Return which part of each axis a Slice takes."""
    bounds = [slice(None)] * len(node.size(0))
    starts, stops, axes = (node.ints(index) for index in (1, 2, 3))
    steps = node.ints(4) if len(node.op.inputs) > 4 else [1] * len(axes)
    for axis, *part in zip(axes, starts, stops, steps, strict=True):
        bounds[axis] = slice(*part)
    return bounds


def _slice(node: _Node) -> Size:
    return tuple(
        len(range(size)[part]) for size, part in zip(node.size(0), _bounds(node), strict=True)
    )


def _reshape(node: _Node) -> Size:
    whole = node.size(0)
    wanted = [whole[axis] if dim == 0 else dim for axis, dim in enumerate(node.ints(1))]
    if -1 in wanted:
        rest = math.prod(dim for dim in wanted if dim != -1)
        wanted[wanted.index(-1)] = math.prod(whole) // rest
    return tuple(wanted)


def _flatten(node: _Node) -> Size:
    whole, axis = node.size(0), node.attribute("axis", 1)
    return math.prod(whole[:axis]), math.prod(whole[axis:])


def _transpose(node: _Node) -> Size:
    whole = node.size(0)
    return tuple(whole[axis] for axis in node.attribute("perm"))


def _unsqueeze(node: _Node) -> Size:
    whole = list(node.size(0))
    for axis in sorted(node.ints(1)):
        whole.insert(axis, 1)
    return tuple(whole)


def _pad(node: _Node) -> Size:
    whole, pads = node.size(0), node.ints(1)
    rank = len(whole)
    return tuple(size + pads[axis] + pads[axis + rank] for axis, size in enumerate(whole))


def _reduced(node: _Node) -> Size:
    whole = list(node.size(0))
    axes: Sequence[int] = node.ints(1) if len(node.op.inputs) > 1 else node.attribute("axes")
    for axis in axes:
        whole[axis] = 1
    return tuple(whole)


def _global_pooling(node: _Node) -> Size:
    whole = node.size(0)
    return *whole[:2], *[1] * (len(whole) - 2)


def _depth_to_space(node: _Node) -> Size:
    (n, c, h, w), side = node.size(0), node.attribute("blocksize")
    return n, c // side**2, h * side, w * side


def _space_to_depth(node: _Node) -> Size:
    (n, c, h, w), side = node.size(0), node.attribute("blocksize")
    return n, c * side**2, h // side, w // side


def _resize(node: _Node) -> Size:
    pairs = zip(node.size(0), node.array(2), strict=True)
    return tuple(math.floor(size * scale) for size, scale in pairs)


def _matmul(node: _Node) -> Size:
    (*left, rows, _), (*right, _, columns) = node.size(0), node.size(1)
    return *np.broadcast_shapes(tuple(left), tuple(right)), rows, columns


def _gemm(node: _Node) -> Size:
    left, right = node.size(0), node.size(1)
    rows = left[1] if node.attribute("transA", 0) else left[0]
    return rows, right[0] if node.attribute("transB", 0) else right[1]


def _expand(node: _Node) -> Size:
    return np.broadcast_shapes(node.size(0), tuple(node.ints(1)))


def _gather_nd(node: _Node) -> Size:
    whole, places = node.size(0), node.size(1)
    return *places[:-1], *whole[places[-1] :]


def _known_shape(node: _Node) -> Constant:
    return np.array(node.size(0), np.int64)


def _known_filling(node: _Node) -> Constant:
    (value,) = node.attribute("value")
    return np.full(node.ints(0), value)


def _known_slice(node: _Node) -> Constant:
    return node.array(0)[tuple(_bounds(node))]


def _known_concat(node: _Node) -> Constant:
    arrays = [node.array(index) for index in range(len(node.op.inputs))]
    return np.concatenate(arrays, axis=node.attribute("axis"))


def _known_expansion(node: _Node) -> Constant:
    return np.broadcast_to(node.array(0), _expand(node))


_UNARY = (
    "BatchNormalization Cast Clip Elu Exp Floor Identity LeakyRelu Mish Neg Relu Selu Sigmoid "
    "Softmax Softplus Sqrt Tanh"
)
_SEVERAL = "Add Div Equal Greater Max Mul Pow Sub Sum Where"
_RULES: dict[str, Callable[[_Node], Size | list[Size]]] = {
    **dict.fromkeys(_UNARY.split(), _same),
    **dict.fromkeys(_SEVERAL.split(), _broadcast),
    "AveragePool": _window,
    "Concat": _concat,
    "Conv": _window,
    "ConvTranspose": _transposed_convolution,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pooling,
    "MatMul": _matmul,
    "MaxPool": _window,
    "Pad": _pad,
    "ReduceL2": _reduced,
    "ReduceMax": _reduced,
    "ReduceSum": _reduced,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
# Results of dimensions and constants alone, which are computed at once.
_FOLDED: dict[str, Callable[[_Node], Constant]] = {
    "Concat": _known_concat,
    "ConstantOfShape": _known_filling,
    "Expand": _known_expansion,
    "Shape": _known_shape,
    "Slice": _known_slice,
}
