"""ONNX's operators as Darknet sections, for graphs that are made of Darknet's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from darknet_bn.convert.onnx import layers as onnx_layers
from darknet_bn.convert.onnx import links as onnx_links
from darknet_bn.convert.onnx.activations import activate, activation_of, fused
from darknet_bn.convert.onnx.node import OnnxNode
from darknet_bn.convert.onnx.sections import INPUT, Sections, ValuePlace
from darknet_bn.errors import WeightsError, Where, shown
from darknet_bn.graph.graph import FLOAT, Graph, Value, count_uses
from darknet_bn.layers.shape import Shape

_ALIASES = ("Identity", "Dropout")


def sections_of(graph: Graph) -> tuple[Sections, dict[int, str]]:
    """Express a graph in Darknet sections.

    Parameters
    ----------
    graph : Graph
        A graph with one input (n, c, h, w) of fixed size.

    Returns
    -------
    sections : Sections
        The sections, for the dialect alexeyab, whose batch norm is ONNX's.
    outputs : dict from layer number to name
        The layers that are the outputs of the graph.

    Raises
    ------
    WeightsError
        An operator has no section, or its values are not possible in one.  The message names the
        node, but not the file.
    """
    images, batch, shape = _input(graph)
    ops = fused(graph)
    made = Sections(shape, places={images: ValuePlace(INPUT, shape)})
    node = OnnxNode(made, count_uses(ops, graph.outputs), batch)
    for op in ops:
        node.op = op
        _read(node)
    outputs: dict[int, str] = {}
    for value in graph.outputs:
        if value not in made.places:
            raise WeightsError(
                "this output does not belong to a layer", where=Where(key=shown(value.name))
            )
        place = made.places[value]
        if place.layer in (*made.read, *outputs, INPUT):  # it would not be an output any more
            made.route([place], value)
        outputs[made.places[value].layer] = value.name
    return made, outputs


def _input(graph: Graph) -> tuple[Value, int, Shape]:
    if len(graph.inputs) != 1:
        names = ", ".join(value.name for value in graph.inputs)
        raise WeightsError(
            "the graph does not have exactly one input", found=shown(names or "none")
        )
    (images,) = graph.inputs
    dims = images.dims or ()
    if len(dims) != 4 or not all(isinstance(each, int) and each > 0 for each in dims[1:]):
        raise WeightsError(
            "the input is not an image of fixed size",
            where=Where(key=shown(images.name)),
            expected="(n, channels, height, width)",
            found=shown(f"({', '.join(str(each or 'any') for each in dims)})"),
        )
    c, h, w = (int(str(each)) for each in dims[1:])
    return images, dims[0] if isinstance(dims[0], int) else 1, Shape(c, h, w)


def _read(node: OnnxNode) -> None:
    """Add the layers that compute a node."""
    kind = node.op.kind
    if kind in _ALIASES or (kind == "Cast" and node.op.attributes.get("to") == FLOAT):
        if kind == "Dropout" and np.any(node.constant(2)):
            node.refuse("dropout is active", found="training_mode")
        x = node.place(0)
        node.made.alias(node.out, x, x.shape)
    elif (activation := activation_of(node)) is not None:
        activate(node, activation)
    elif kind in _OPERATORS:
        _OPERATORS[kind](node)
    else:
        node.refuse("Darknet has no section for this operator")


_OPERATORS: Mapping[str, Callable[[OnnxNode], None]] = {
    "Conv": onnx_layers.convolution,
    "Gemm": onnx_layers.full,
    "MatMul": onnx_layers.full,
    "BatchNormalization": onnx_layers.batch_norm,
    "MaxPool": onnx_layers.pooling,
    "AveragePool": onnx_layers.pooling,
    "GlobalAveragePool": onnx_layers.mean,
    "ReduceMean": onnx_layers.mean,
    "Resize": onnx_layers.larger,
    "Upsample": onnx_layers.larger,
    "Concat": onnx_links.joined,
    "Split": onnx_links.parts,
    "Slice": onnx_links.part,
    "Add": onnx_links.summed,
    "Sum": onnx_links.summed,
    "Mul": onnx_links.product,
    "Softmax": onnx_links.softmax,
    "Flatten": onnx_links.reshaped,
    "Reshape": onnx_links.reshaped,
    "Squeeze": onnx_links.reshaped,
    "Unsqueeze": onnx_links.reshaped,
}
