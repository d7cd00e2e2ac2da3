"""From what a layer says of itself in ONNX's operators to calls of PyTorch's functions.

Nothing here needs PyTorch: a step names its function, which is in `functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from darknet_bn.dialect import Dialect
from darknet_bn.errors import ExportError
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Constant, Op, Value
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.shape import Shapes

OPSET = 18  # from which on mish is an operator, and the axes of a reduction are an input

Argument: TypeAlias = "int | str | float"
"""What a function gets: the number of a value, the name of an array, or a number by itself."""


class Step(NamedTuple):
    """A call.

    Attributes
    ----------
    function : str
        A key of ``functions.FUNCTIONS``.
    arguments : tuple of int, str or float
    options : mapping from name to value
        Of keywords: plain Python.
    gives : int
        How many values.
    """

    function: str
    arguments: tuple[Argument, ...]
    options: Mapping[str, Any]
    gives: int = 1


@dataclass
class Steps:
    """What a layer computes.

    The values are numbered: first the inputs, or the images that the network reads if there are
    none, then what each step gives.

    Attributes
    ----------
    steps : list of Step
    result : int
        Which value is the output.
    constants : dict from name to array
        What arguments name that are no parameters: bool or float32 arrays.
    fixed_size : bool
        Whether it is for images of the size of the cfg alone.
    not_trained : str
        What the layer does in training and the steps do not; empty if nothing.
    """

    steps: list[Step] = field(default_factory=list)
    result: int = 0
    constants: dict[str, Constant] = field(default_factory=dict)
    fixed_size: bool = False
    not_trained: str = ""


def steps_of(
    layer: Layer, xs: Shapes, p: Params, dialect: Dialect, *, time_steps: int = 1
) -> Steps:
    """Express a layer.

    Parameters
    ----------
    layer : Layer
    xs : tuple of Shape
        Of what it reads.
    p : mapping from name to float32 array
    dialect : Dialect
    time_steps : int
        How many images make a sequence.

    Returns
    -------
    steps : Steps

    Raises
    ------
    ExportError
        It cannot be expressed.
    """
    try:
        return _Lowering(layer, xs, p, _graph(dialect, time_steps, fixed_size=False)).steps
    except ExportError:  # for the size of the cfg, if for no other
        return _Lowering(layer, xs, p, _graph(dialect, time_steps, fixed_size=True)).steps


def _graph(dialect: Dialect, time_steps: int, *, fixed_size: bool) -> GraphBuilder:
    return GraphBuilder(OPSET, dialect, time_steps=time_steps, fixed_size=fixed_size, trains=True)


class _Lowering:
    """A layer on its way from operators to steps."""

    def __init__(self, layer: Layer, xs: Shapes, p: Params, graph: GraphBuilder) -> None:
        self._dialect = graph.dialect
        inputs = [Value(f"x{number}") for number, _ in enumerate(xs)]
        with graph.layer("", 0, p):
            result = layer.onnx(graph, inputs, xs, p)
        self._names = {value: name for (_, name, _), value in graph.parameters.items()}
        sources = inputs or [graph.images]
        self._numbers = {value: number for number, value in enumerate(sources)}
        self._count = len(self._numbers)
        self.steps = Steps(fixed_size=graph.fixed_size)
        for op in graph.ops:
            self._add(op)
        self.steps.result = self._numbers[result]
        self.steps.not_trained = graph.not_trained

    def _add(self, op: Op) -> None:
        if op.kind not in _RULES:
            raise ExportError(f"{op.kind} cannot be expressed in PyTorch")
        function, values, options = _RULES[op.kind](_Node(op, self._dialect))
        arguments = tuple(map(self._argument, values))
        self.steps.steps.append(Step(function, arguments, options, len(op.outputs)))
        for value in op.outputs:
            self._numbers[value] = self._count
            self._count += 1

    def _argument(self, value: Value) -> Argument:
        if value.array is None:
            return self._numbers[value]
        if value in self._names:
            return self._names[value]
        if value.array.ndim == 0:
            return float(value.array)
        name = f"_{value.name.lstrip('.').replace('.', '_')}"
        self.steps.constants[name] = value.array
        return name


class _Node:
    """An op, with what is known of its inputs."""

    def __init__(self, op: Op, dialect: Dialect) -> None:
        self.op, self.dialect = op, dialect

    @property
    def values(self) -> list[Value]:
        return [value for value in self.op.inputs if value is not None]

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.op.attributes.get(name, default)

    def array(self, index: int) -> Constant:
        return cast(Constant, self.values[index].array)

    def ints(self, index: int) -> tuple[int, ...]:
        return tuple(int(each) for each in self.array(index))

    def is_known(self, index: int) -> bool:
        return self.values[index].array is not None


_Call: TypeAlias = "tuple[str, list[Value], dict[str, Any]]"


def _same(function: str, **attributes: str) -> Callable[[_Node], _Call]:
    """All inputs are arguments, some attributes keywords under PyTorch's names."""

    def rule(node: _Node) -> _Call:
        options = {name: node.attribute(theirs) for name, theirs in attributes.items()}
        return function, node.values, options

    return rule


def _pads(node: _Node) -> tuple[tuple[int, int], ...]:
    """Return what is put in front of and behind each axis of the image."""
    pads: Sequence[int] = node.attribute("pads", [0, 0, 0, 0])
    return tuple(zip(pads[:2], pads[2:], strict=True))


def _padding(node: _Node) -> dict[str, Any]:
    """Return how a window pads: by itself where both sides are alike, else by a pad in front."""
    pads = _pads(node)
    if all(before == after for before, after in pads):
        return {"padding": tuple(before for before, _ in pads)}
    return {"around": _innermost_first(pads)}


def _innermost_first(pads: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return pads in the order in which PyTorch has them: those of the last axis come first."""
    return tuple(each for pair in reversed(pads) for each in pair)


def _conv(node: _Node) -> _Call:
    options = {
        "stride": tuple(node.attribute("strides", [1, 1])),
        "dilation": tuple(node.attribute("dilations", [1, 1])),
        "groups": node.attribute("group", 1),
        **_padding(node),
    }
    return "binary_conv" if node.attribute("binary") else "conv", node.values, options


def _conv_transpose(node: _Node) -> _Call:
    options = {
        "stride": tuple(node.attribute("strides")),
        "padding": tuple(before for before, _ in _pads(node)),
        "groups": node.attribute("group", 1),
    }
    return "conv_transpose", node.values, options


def _max_pool(node: _Node) -> _Call:
    kernel, pads = tuple(node.attribute("kernel_shape")), _pads(node)
    options: dict[str, Any] = {"kernel_size": kernel, "stride": tuple(node.attribute("strides"))}
    # PyTorch pads by half of the window at most.
    if all(a == b <= size // 2 for (a, b), size in zip(pads, kernel, strict=True)):
        options["padding"] = tuple(before for before, _ in pads)
    else:
        options["around"] = _innermost_first(pads)
    return "max_pool", node.values, options


def _avg_pool(node: _Node) -> _Call:
    options: dict[str, Any] = {
        "kernel_size": tuple(node.attribute("kernel_shape")),
        "stride": tuple(node.attribute("strides")),
    }
    if any(map(any, _pads(node))):
        return "avg_pool_inside", node.values, {**options, "around": _innermost_first(_pads(node))}
    return "avg_pool", node.values, options


def _batch_norm(node: _Node) -> _Call:
    dialect = node.dialect
    options = {
        "keep": node.attribute("momentum"),
        "eps": float(np.float32(dialect.eps)),
        "inside": dialect.eps_inside_sqrt,
    }
    return "batch_norm", node.values, options


def _dropout(node: _Node) -> _Call:
    return "dropout", node.values, {"p": min(max(node.attribute("ratio"), 0.0), 1.0)}


def _reshape(node: _Node) -> _Call:
    return "reshape", node.values[:1], {"dims": node.ints(1)}


def _slice(node: _Node) -> _Call:
    ((start,), (stop,), (axis,)) = (node.ints(index) for index in (1, 2, 3))
    step = node.ints(4)[0] if len(node.values) > 4 else 1
    return "part", node.values[:1], {"axis": axis, "start": start, "stop": stop, "step": step}


def _split(node: _Node) -> _Call:
    axis = node.attribute("axis", 0)
    if len(node.values) > 1:
        return "split", node.values[:1], {"sizes": node.ints(1), "dim": axis}
    return "chunk", node.values[:1], {"chunks": len(node.op.outputs), "dim": axis}


def _concat(node: _Node) -> _Call:
    if node.is_known(len(node.values) - 1) and node.array(-1).dtype.kind == "i":
        return "longer", node.values[:1], {"dims": node.ints(-1)}  # of a shape
    return "concat", node.values, {"dim": node.attribute("axis")}


def _pad(node: _Node) -> _Call:
    pads = node.ints(1)
    rank = len(pads) // 2
    pairs = list(zip(pads[:rank], pads[rank:], strict=True))
    options = {"around": _innermost_first(pairs), "value": float(node.array(2))}
    return "pad", node.values[:1], options


def _reduced(function: str) -> Callable[[_Node], _Call]:
    def rule(node: _Node) -> _Call:
        return function, node.values[:1], {"dim": node.ints(1), "keepdim": True}

    return rule


def _resize(node: _Node) -> _Call:
    sides = node.array(1)[2:]
    return "enlarge", node.values[:1], {"down": int(sides[0]), "across": int(sides[1])}


def _unsqueeze(node: _Node) -> _Call:
    return "unsqueeze", node.values[:1], {"axes": node.ints(1)}


def _clip(node: _Node) -> _Call:
    low, high = (float(node.array(index)) for index in (1, 2))
    return "clip", node.values[:1], {"min_val": low, "max_val": high}


def _zeros(node: _Node) -> _Call:
    shape = cast(Op, node.values[0].op)  # of what they are like
    return "zeros_like", [cast(Value, shape.inputs[0])], {}


_RULES: Mapping[str, Callable[[_Node], _Call]] = {
    "Add": _same("add"),
    "AveragePool": _avg_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _zeros,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _same("depth_to_space", side="blocksize"),
    "Div": _same("div"),
    "Dropout": _dropout,
    "Elu": _same("elu", alpha="alpha"),
    "Equal": _same("equal"),
    "Exp": _same("exp"),
    "Expand": _same("expand"),
    "Flatten": _same("flatten", start_dim="axis"),
    "Floor": _same("floor"),
    "Gemm": _same("linear"),
    "GlobalAveragePool": _same("global_mean"),
    "LeakyRelu": _same("leaky_relu", negative_slope="alpha"),
    "MatMul": _same("matmul"),
    "Max": _same("largest"),
    "MaxPool": _max_pool,
    "Mish": _same("mish"),
    "Mul": _same("mul"),
    "Neg": _same("neg"),
    "Pad": _pad,
    "Pow": _same("pow"),
    "ReduceL2": _reduced("norm"),
    "ReduceMax": _reduced("amax"),
    "ReduceSum": _reduced("sum"),
    "Relu": _same("relu"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Selu": _same("selu", alpha="alpha", gamma="gamma"),
    "Shape": _same("shape"),
    "Sigmoid": _same("sigmoid"),
    "Slice": _slice,
    "Softmax": _same("softmax", dim="axis"),
    "SpaceToDepth": _same("space_to_depth", side="blocksize"),
    "Split": _split,
    "Sub": _same("sub"),
    "Sum": _same("sum_all"),
    "Tanh": _same("tanh"),
    "Transpose": _same("permute", dims="perm"),
    "Unsqueeze": _unsqueeze,
    "Where": _same("where"),
}
