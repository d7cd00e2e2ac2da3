"""The activation functions in ONNX's operators: as few of them as give the function."""

from __future__ import annotations

from collections.abc import Callable

from darknet_bn.graph.graph import Graph
from darknet_bn.kernels.activations import (
    GELU_X,
    GELU_X3,
    LEAKY,
    NORMALIZE_EPS,
    RELIE,
    SELU,
    SELU_ALPHA,
)

_MISH = 18  # the opset that has it as an operator


def activated(graph: Graph, x: str, name: str) -> str:
    """Add an activation and return its output.

    Parameters
    ----------
    graph : Graph
    x : str
        The value; (n, c, ...) where the function is ``over_channels``.
    name : str
        A key of ``ACTIVATIONS``.
    """
    return _FUNCTIONS[name](graph, x)


def _leaky(graph: Graph, x: str) -> str:
    return graph.add("LeakyRelu", x, alpha=float(LEAKY))


def _ramp(graph: Graph, x: str) -> str:
    return graph.add("Add", graph.add("Relu", x), graph.scaled(x, float(LEAKY)))


def _selu(graph: Graph, x: str) -> str:
    return graph.add("Selu", x, alpha=float(SELU_ALPHA / SELU), gamma=float(SELU))


def _gelu(graph: Graph, x: str) -> str:
    # x (1 + tanh(q)) / 2 is x / (1 + e^-2q)
    square = graph.add("Mul", x, x)
    bend = graph.shifted(graph.scaled(square, 2 * GELU_X3), 2 * GELU_X)
    return graph.add("Mul", x, graph.add("Sigmoid", graph.add("Mul", x, bend)))


def _plse(graph: Graph, x: str) -> str:
    middle = graph.clip(x, -4, 4)
    outside = graph.scaled(graph.add("Sub", x, middle), float(RELIE))
    return graph.add("Add", outside, graph.shifted(graph.scaled(middle, 0.125), 0.5))


def _lhtan(graph: Graph, x: str) -> str:
    middle = graph.clip(x, 0, 1)
    return graph.add("Add", graph.scaled(graph.add("Sub", x, middle), 0.001), middle)


def _stair(graph: Graph, x: str) -> str:
    half = graph.add("Floor", graph.scaled(x, 0.5))
    even = graph.add("Equal", graph.add("Sub", graph.add("Floor", x), half), half)
    return graph.add("Where", even, half, graph.shifted(graph.add("Sub", x, half), -1))


def _swish(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _mish(graph: Graph, x: str) -> str:
    if graph.opset >= _MISH:
        return graph.add("Mish", x)
    return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))


def _hard_mish(graph: Graph, x: str) -> str:
    bend = graph.clip(x, -2, 0)
    bent = graph.add("Mul", bend, graph.shifted(graph.scaled(bend, 0.5), 1))
    return graph.add("Add", graph.add("Relu", x), bent)


def _normalize_channels(graph: Graph, x: str) -> str:
    positive = graph.add("Relu", x)
    total = graph.shifted(graph.reduce("ReduceSum", positive, 1), NORMALIZE_EPS)
    return graph.add("Div", positive, total)


def _softmax(graph: Graph, x: str) -> str:
    # less the maximum, so that e^x stays finite: the same value where eps is less too
    top = graph.add("Relu", graph.reduce("ReduceMax", x, 1))
    eps = graph.scaled(graph.add("Exp", graph.add("Neg", top)), NORMALIZE_EPS)
    shares = graph.add("Exp", graph.add("Sub", x, top))
    total = graph.reduce("ReduceSum", shares, 1)
    return graph.add("Div", shares, graph.add("Add", total, eps))


def _softmax_maxval(graph: Graph, x: str) -> str:
    shares = graph.add("Exp", graph.add("Sub", x, graph.reduce("ReduceMax", x, 1)))
    total = graph.shifted(graph.reduce("ReduceSum", shares, 1), NORMALIZE_EPS)
    return graph.add("Div", shares, total)


_FUNCTIONS: dict[str, Callable[[Graph, str], str]] = {
    "linear": lambda graph, x: x,
    "logistic": lambda graph, x: graph.add("Sigmoid", x),
    "loggy": lambda graph, x: graph.add("Tanh", graph.scaled(x, 0.5)),
    "relu": lambda graph, x: graph.add("Relu", x),
    "relu6": lambda graph, x: graph.clip(x, 0, 6),
    "elu": lambda graph, x: graph.add("Elu", x, alpha=1.0),
    "selu": _selu,
    "gelu": _gelu,
    "relie": lambda graph, x: graph.add("LeakyRelu", x, alpha=float(RELIE)),
    "ramp": _ramp,
    "leaky": _leaky,
    "revleaky": _leaky,
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "plse": _plse,
    "stair": _stair,
    "hardtan": lambda graph, x: graph.clip(x, -1, 1),
    "lhtan": _lhtan,
    "swish": _swish,
    "mish": _mish,
    "hard_mish": _hard_mish,
    "normalize_channels": _normalize_channels,
    "normalize_channels_softmax": _softmax,
    "normalize_channels_softmax_maxval": _softmax_maxval,
}
