"""A computation in ONNX operators, as plain data: the same for files that are written or read.

Nothing here needs the package onnx or knows about layers; `GraphBuilder` adds to a graph what
layers express of themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy.typing as npt

Attribute: TypeAlias = "int | float | str | Sequence[int] | npt.NDArray[Any]"
Constant: TypeAlias = npt.NDArray[Any]
Dims: TypeAlias = "tuple[int | str | None, ...]"

FLOAT, HALF = 1, 10  # ONNX's numbers for the types float32 and float16


@dataclass(frozen=True, eq=False)
class Value:
    """A value that ops read or produce; identified by the object, not by its name.

    Attributes
    ----------
    name : str
        Its name, unless `Graph.names` has a different one.
    op : Op or None
        The op that produces it; None for an input or a constant.
    index : int
        Its position among the outputs of that op.
    array : array or None
        Its values, if it is a constant.
    dims : tuple or None
        The dimensions of an input, as stated in a file.
    """

    name: str
    op: Op | None = field(default=None, repr=False)
    index: int = 0
    array: Constant | None = None
    dims: Dims | None = None


@dataclass(eq=False)
class Op:
    """A node: an operator with its inputs and outputs.

    Attributes
    ----------
    kind, name : str
    inputs : tuple of Value or None
        None for an input that is left out.
    attributes : mapping from name to value
    outputs : tuple of Value
    """

    kind: str
    name: str
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Attribute]
    outputs: tuple[Value, ...] = ()


@dataclass(eq=False)
class Graph:
    """Ops and constants in the order in which they were added, which is an order they can run in.

    Attributes
    ----------
    inputs, constants, outputs : list of Value
    ops : list of Op
    names : dict from Value to str
        Names in a file, for values whose name there differs from their own.
    facts : dict from key to value
        What the file says about itself.
    """

    inputs: list[Value] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    constants: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    names: dict[Value, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def name(self, value: Value) -> str:
        """Return the name of a value in a file."""
        return self.names.get(value, value.name)

    def add_op(
        self,
        kind: str,
        name: str,
        inputs: Iterable[Value | None],
        outputs: Iterable[str],
        attributes: Mapping[str, Attribute],
    ) -> Op:
        """Add a node whose outputs have the given names, and return it."""
        op = Op(kind, name, tuple(inputs), attributes)
        op.outputs = tuple(Value(each, op, index) for index, each in enumerate(outputs))
        self.ops.append(op)
        return op

    def add_constant(self, name: str, array: Constant) -> Value:
        """Add an array unchanged, and return its value."""
        value = Value(name, array=array)
        self.constants.append(value)
        return value


def count_uses(ops: Iterable[Op], outputs: Iterable[Value]) -> Counter[Value]:
    """Count how often ops read each value, plus one for an output of the graph."""
    read = (value for op in ops for value in op.inputs if value is not None)
    return Counter(read) + Counter(outputs)
