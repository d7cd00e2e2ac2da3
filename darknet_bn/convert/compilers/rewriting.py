"""Put other operators in the place of some, in a graph that is complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from darknet_bn.convert.build import ExportGraph
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.dims import Sizes, sizes_of
from darknet_bn.graph.graph import Op, Value

_LAYER = re.compile(r"layer_(\d+)")


@dataclass(frozen=True)
class Replacement:
    """Operators in the place of one.

    Attributes
    ----------
    kind : str
        ONNX's operator that is replaced.
    text : str
        What becomes what, in a few words.
    make : function
        ``make(graph, op)`` adds the others and returns their output.
    wants : function
        ``wants(op)`` says whether this op needs to be replaced.
    change : float
        How far the output of a layer may move, relative to its largest value; 0 if the others
        compute the same but for rounding.
    """

    kind: str
    text: str
    make: Callable[[GraphBuilder, Op], Value]
    wants: Callable[[Op], bool] = lambda op: True
    change: float = 0.0


@dataclass(frozen=True)
class Replaced:
    """A replacement in the graph of a model: the layer, and what was done."""

    layer: int
    replacement: Replacement


def rewrite(made: ExportGraph, replacements: Sequence[Replacement]) -> tuple[Replaced, ...]:
    """Replace operators of a graph, compute what no input changes, and remove what nobody reads.

    Parameters
    ----------
    made : ExportGraph
        Its graph is changed; the names of its values remain.
    replacements : sequence of Replacement
        Of those that want an op, the first is used.

    Returns
    -------
    replaced : tuple of Replaced
        Each replacement once for each layer, in their order.
    """
    graph = made.graph
    known = sizes_of_graph(made).known
    ops, graph.ops = graph.ops, []
    moved: dict[Value, Value] = {}
    done: list[Replaced] = []
    for op in ops:
        op.inputs = tuple(None if each is None else moved.get(each, each) for each in op.inputs)
        values: dict[Value, Value] = {}
        with graph.within(op.name.rpartition("/")[0]):
            if all(each in known for each in op.outputs):
                (y,) = op.outputs
                values[y] = graph.constant(op.kind, known[y], exact=True)
            else:
                fits = (each for each in replacements if each.kind == op.kind and each.wants(op))
                chosen = next(fits, None)
                if chosen is None:
                    graph.ops.append(op)
                else:
                    values[op.outputs[0]] = chosen.make(graph, op)
                    done.append(Replaced(layer_of(op), chosen))
        for old, new in values.items():
            if old in graph.names:
                graph.names[new] = graph.names.pop(old)
        moved |= values
    graph.outputs = [moved.get(each, each) for each in graph.outputs]
    _remove_unread(made)
    return tuple(dict.fromkeys(done))


def sizes_of_graph(made: ExportGraph) -> Sizes:
    """Return the dimensions of all values of a graph for images of one size."""
    dims = cast("tuple[int, ...]", made.input.dims)
    return sizes_of(made.graph, {made.graph.images: dims})


def layer_of(op: Op) -> int:
    """Return the layer that an op belongs to, by its name; -1 if it belongs to none."""
    found = _LAYER.match(op.name)
    return int(found[1]) if found else -1


def _remove_unread(made: ExportGraph) -> None:
    """Remove ops and constants that no output needs, but for parameters of the model."""
    graph = made.graph
    read, kept = set(graph.outputs), []
    for op in reversed(graph.ops):
        if read & set(op.outputs):
            kept.append(op)
            read |= _present(op.inputs)
    graph.ops = kept[::-1]
    parameters = set(graph.parameters.values())
    graph.constants = [each for each in graph.constants if each in read or each in parameters]
    present = {graph.name(value) for op in graph.ops for value in op.outputs}
    present |= {graph.name(value) for value in graph.outputs}
    for name in made.values.keys() - present:
        cast("dict[str, Any]", made.values).pop(name)
    for number, name in list(made.layers.items()):
        if name not in present and name != graph.name(graph.images):
            cast("dict[int, str]", made.layers).pop(number)


def _present(values: Iterable[Value | None]) -> set[Value]:
    return {each for each in values if each is not None}


def respell(graph: GraphBuilder, opset: int) -> None:
    """Say in an older opset what the operators of 18 say otherwise: the axes of reductions."""
    for op in graph.ops if opset < graph.opset else ():
        if op.kind in ("ReduceMax", "ReduceL2") and len(op.inputs) == 2:
            x, axes = op.inputs
            numbers = np.asarray(cast(Value, axes).array).tolist()
            op.inputs, op.attributes = (x,), {**op.attributes, "axes": numbers}
    graph.opset = min(opset, graph.opset)
