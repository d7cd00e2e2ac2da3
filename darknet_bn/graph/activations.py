"""The activation functions in ONNX's operators."""

from __future__ import annotations

from darknet_bn.graph.graph import Graph
from darknet_bn.kernels.activations import ACTIVATIONS


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
    return ACTIVATIONS[name].onnx(graph, x)
