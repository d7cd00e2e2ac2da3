"""From a graph of ONNX's operators to a net of ncnn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from darknet_bn.convert.ncnn.int8 import Quantized
from darknet_bn.convert.ncnn.lowering import Lowering
from darknet_bn.convert.ncnn.net import NcnnNet, net_of
from darknet_bn.convert.ncnn.operators import OPERATORS
from darknet_bn.convert.ncnn.shapes import blob_shape, shape_options
from darknet_bn.errors import ExportError, Where, located
from darknet_bn.graph.dims import Size, sizes_of
from darknet_bn.graph.graph import Graph, Op, Value


@dataclass(frozen=True)
class Lowered:
    """A net of ncnn, with where the values of a graph are in it.

    Attributes
    ----------
    net : NcnnNet
    shapes : mapping from name to tuple of int
        The shape of each blob that a value with a name of its own is in.
    quantized : mapping from Op to Quantized
        The weights of those that compute in int8.
    """

    net: NcnnNet
    shapes: Mapping[str, Size]
    quantized: Mapping[Op, Quantized]


def lower(
    graph: Graph,
    inputs: Mapping[Value, Size],
    *,
    half: bool = False,
    scales: Mapping[Op, np.float32] | None = None,
) -> Lowered:
    """Express a graph in the layers of ncnn.

    Parameters
    ----------
    graph : Graph
        Of one image.
    inputs : mapping from Value to tuple of int
        The dimensions of what it reads, with the batch, which is 1.
    half : bool
        Whether weights are stored as float16.
    scales : mapping from Op to float32, optional
        Of their inputs, for those that compute in int8.

    Raises
    ------
    ExportError
        ncnn has no such operator; the place is the name of the operator.
    """
    net = Lowering(graph, sizes_of(graph, inputs), half=half, scales=scales or {})
    for value, dims in inputs.items():
        shape = blob_shape(dims)
        net.add("Input", [], shape, shape_options(shape), output=value)
    needed = _needed(graph)
    for op in graph.ops:
        if op in net.done or op not in needed:
            continue
        with located(Where(key=op.name), ExportError):
            if any(each not in net.sizes.known for each in op.outputs):
                handle = OPERATORS.get(op.kind)
                if handle is None:
                    raise ExportError(f"ncnn has no layer for the operator {op.kind}")
                handle(net, op)
            for each in op.outputs:
                _give_name(net, each)
    shapes = {net.graph.name(each): net.places[each].shape for each in _named(graph, net)}
    return Lowered(net_of(net.layers), shapes, net.quantized)


def _needed(graph: Graph) -> set[Op]:
    """Return the operators without those that only what is known depends on, or nothing."""
    needed: set[Op] = set()
    wanted = {*graph.outputs, *graph.names}
    for op in reversed(graph.ops):
        if wanted & {*op.outputs}:
            needed.add(op)
            wanted.update(each for each in op.inputs if each is not None)
    return needed


def _give_name(net: Lowering, value: Value) -> None:
    """See to it that a value whose name counts has a blob of that name."""
    if value not in net.graph.names and value not in net.graph.outputs:
        return
    name = net.graph.name(value)
    if value in net.sizes.known:
        net.constant(name, net.sizes.known[value], net.own_shape(value), output=value)
    elif net.places[value].name != name and not net.renamed(value):
        net.reshaped(net.places[value], net.own_shape(value), output=value)


def _named(graph: Graph, net: Lowering) -> list[Value]:
    return [each for each in {*graph.names, *graph.outputs, *graph.inputs} if each in net.places]
