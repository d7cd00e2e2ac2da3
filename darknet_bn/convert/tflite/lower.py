"""From a graph of ONNX's operators to a TFLite model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from darknet_bn.convert.tflite.flat_model import FlatModel, Tensor
from darknet_bn.convert.tflite.lowering import LAST, Lowering, Order
from darknet_bn.convert.tflite.operators import RULES
from darknet_bn.convert.tflite.windows import WINDOWS
from darknet_bn.errors import ExportError, Where, located
from darknet_bn.graph.dims import Size, sizes_of
from darknet_bn.graph.graph import Graph, Op, Value

TABLE = RULES | WINDOWS
"""What is made of each of ONNX's operators."""

_LAYER = re.compile(r"layer_(\d+)")


@dataclass(frozen=True)
class Lowered:
    """A graph in TFLite's operators.

    Attributes
    ----------
    model : FlatModel
        Its inputs and outputs are called as in the graph.
    places : mapping from Value to pair of Tensor and str
        Where each value is, and in which order: ``last`` where channels are last.
    """

    model: FlatModel
    places: Mapping[Value, tuple[Tensor, Order]]


def lowered(
    graph: Graph,
    inputs: Mapping[Value, Size],
    outputs: Mapping[str, Value],
    where: Callable[[int], Where] | None = None,
    *,
    shown: Iterable[Value] = (),
) -> Lowered:
    """Express a graph in TFLite's operators.

    Parameters
    ----------
    graph : Graph
    inputs : mapping from Value to tuple of int
        The dimensions of its inputs, in Darknet's order.
    outputs : mapping from name to Value
    where : function, optional
        From the number of a layer to its place in the cfg.
    shown : iterable of Value
        What is to have a place of its own even if no input changes it.

    Returns
    -------
    lowered : Lowered
        What goes in and comes out has channels last if it has four dimensions.

    Raises
    ------
    ExportError
        An operator is not expressed; the message names the layer.
    """
    sizes = sizes_of(graph, inputs)
    low = Lowering(graph, sizes)
    for value, dims in inputs.items():
        shape = tuple(dims[axis] for axis in LAST) if len(dims) == 4 else dims
        tensor = Tensor(graph.name(value), shape)
        low.model.inputs[tensor.name] = tensor
        low.place(value, tensor, "last" if len(dims) == 4 else "darknet")
    for op in graph.ops:
        if all(each in sizes.known for each in op.outputs):
            continue
        with located(_place(op, where), ExportError):
            if op.kind not in TABLE:
                raise ExportError(f"the operator {op.kind} cannot be exported to TFLite")
            low.begin(op)
            TABLE[op.kind](low, op)
    for value in shown:
        low.show(value)
    for name, value in outputs.items():
        low.model.outputs[name] = low.output(value, name)
    return Lowered(low.model, low.places())


def _place(op: Op, where: Callable[[int], Where] | None) -> Where:
    """Return where an op comes from, by its name."""
    found = _LAYER.match(op.name)
    if found is None or where is None:
        return Where(key=op.name.partition("/")[0])
    return where(int(found[1]))
