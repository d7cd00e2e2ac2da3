"""The activation functions expressed in ONNX operators."""

from __future__ import annotations

from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS


def activated(graph: GraphBuilder, x: Value, name: str) -> Value:
    """Add an activation and return its output.

    Parameters
    ----------
    graph : GraphBuilder
    x : Value
        The input; (n, c, ...) if the function is ``over_channels``.
    name : str
        A key of ``ACTIVATIONS``.
    """
    return ACTIVATIONS[name].onnx(graph, x)
