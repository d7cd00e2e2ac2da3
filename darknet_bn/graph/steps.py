"""A graph of a sequence of images, with each image apart: for programs that take one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from darknet_bn.graph.graph import Graph, Op, Value

Apart: TypeAlias = "Mapping[Value, tuple[Value, ...]]"
"""For each value of a graph those of the single images, in their order; one where it is alike."""


def apart(graph: Graph, images: int) -> tuple[Graph, Apart]:
    """Take a graph apart into operators for one image each.

    Each operator is there once for every image, and reads what is of that image; constants are
    shared.  Those that cut or join the batch itself are gone.

    Parameters
    ----------
    graph : Graph
        In which operators work on each image of a batch alone, but for ``Split`` and ``Concat``
        along the batch.
    images : int
        How many images its inputs have.

    Returns
    -------
    single : Graph
        With an input and an output for each image; names have the number of the image behind an
        underscore.
    values : mapping from Value to tuple of Value
        Where the values of the graph are in it.
    """
    made = Graph(constants=graph.constants, facts=graph.facts)
    values: dict[Value, tuple[Value, ...]] = {each: (each,) for each in graph.constants}
    counts: set[Value] = set()  # of dimensions, which are no images
    for value in graph.inputs:
        values[value] = tuple(Value(f"{value.name}_{each}") for each in range(images))
        made.inputs.extend(values[value])
    for op in graph.ops:
        inputs = [each for each in op.inputs if each is not None]
        counted = bool(inputs) and all(v in counts or v.array is not None for v in inputs)
        if op.kind == "Shape" or counted:
            counts.update(op.outputs)
        is_batch = op.attributes.get("axis") == 0 and not counts & {*op.outputs}
        if op.kind == "Split" and is_batch:
            whole = values[inputs[0]]
            part = len(whole) // len(op.outputs)
            for number, value in enumerate(op.outputs):
                values[value] = whole[number * part : (number + 1) * part]
        elif op.kind == "Concat" and is_batch:
            values[op.outputs[0]] = tuple(each for value in inputs for each in values[value])
        else:
            _repeat(made, op, values)
    for value, name in graph.names.items():
        several = values[value]
        for number, each in enumerate(several):
            if each in made.names:
                continue
            made.names[each] = name if len(several) == 1 else f"{name}_{number}"
    made.outputs.extend(each for value in graph.outputs for each in values[value])
    return made, values


def _repeat(graph: Graph, op: Op, values: dict[Value, tuple[Value, ...]]) -> None:
    """Add an operator for each image."""
    sources: list[Sequence[Value] | None] = [
        None if each is None else values[each] for each in op.inputs
    ]
    count = max((len(each) for each in sources if each is not None), default=1)
    copies = []
    for number in range(count):
        inputs = [
            None if each is None else each[number if len(each) > 1 else 0] for each in sources
        ]
        end = "" if count == 1 else f"_{number}"
        outputs = [f"{each.name}{end}" for each in op.outputs]
        copies.append(graph.add_op(op.kind, f"{op.name}{end}", inputs, outputs, op.attributes))
    for place, value in enumerate(op.outputs):
        values[value] = tuple(each.outputs[place] for each in copies)
