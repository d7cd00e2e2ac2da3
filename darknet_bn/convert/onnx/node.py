"""A node of an ONNX graph: its inputs and attributes as Darknet's sections need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.convert.onnx.sections import NewSection, Sections, ValuePlace
from darknet_bn.errors import WeightsError, Where, shown
from darknet_bn.graph.graph import Constant, Op, Value
from darknet_bn.layers.shape import Shape


class OnnxNode:
    """The node that is being read; raises an error for what cannot be expressed.

    Attributes
    ----------
    op : Op
        The node.
    made : Sections
        The sections made from the nodes before it.
    uses : mapping from Value to int
        How often each value is read, by nodes or as an output of the graph.
    batch : int
        How many images the graph takes; 1 if that is open.
    """

    def __init__(
        self,
        made: Sections,
        uses: Mapping[Value, int],
        batch: int,
    ) -> None:
        self.made = made
        self.uses = uses
        self.batch = batch
        self.op = Op("", "", (), {})

    def refuse(self, problem: str, expected: object = None, found: object = None) -> NoReturn:
        """Raise an error that says what is in the way, and in which node."""
        name = self.op.name or (self.op.outputs[0].name if self.op.outputs else "")
        raise WeightsError(
            f"{shown(self.op.kind)}: {problem}",
            where=Where(key=shown(name)),
            expected=None if expected is None else f"{expected}",
            found=None if found is None else shown(f"{found}"),
        )

    def get(self, key: str, default: Any) -> Any:
        """Return an attribute."""
        value = self.op.attributes.get(key, default)
        return list(value) if isinstance(default, list) else value

    def require(self, key: str, default: Any, *allowed: Any) -> None:
        """Refuse an attribute whose value is not one of those allowed."""
        if (value := self.get(key, default)) not in allowed:
            self.refuse(f"unsupported {key}", " or ".join(map(str, allowed)), value)

    def counts(self, key: str, count: int, default: int, least: int) -> list[int]:
        """Return an attribute of this many whole numbers."""
        values = self.get(key, [default] * count)
        if len(values) != count or min(values) < least:
            self.refuse(f"unsupported {key}", f"{count} numbers of at least {least}", values)
        return values  # type: ignore[no-any-return]

    def input(self, number: int) -> Value | None:
        """Return an input of the node; None if it is left out."""
        return self.op.inputs[number] if number < len(self.op.inputs) else None

    def is_constant(self, number: int) -> bool:
        """Return whether an input of the node is a constant."""
        value = self.input(number)
        return value is not None and value.array is not None

    def place(self, number: int) -> ValuePlace:
        """Return the place of an input of the node."""
        value = self.input(number)
        if value is None or value not in self.made.places:
            self.refuse(f"input {number} is not the output of a layer")
        return self.made.places[value]

    def image(self, number: int = 0) -> ValuePlace:
        """Return the place of an input of the node, which must be an image."""
        x = self.place(number)
        if x.shape.flat and x.shape.h * x.shape.w == 1:
            return ValuePlace(x.layer, Shape(x.shape.c))
        if x.shape.flat:
            self.refuse("its input is a row of values, not an image")
        return x

    def constant(self, number: int) -> Constant | None:
        """Return an input that is a constant; None if there is no such input."""
        value = self.input(number)
        if value is None:
            return None
        if value.array is None:
            self.refuse(f"input {number}, '{shown(value.name)}', is not a constant")
        return value.array

    def ints(self, key: str, number: int) -> list[int] | None:
        """Return whole numbers from an attribute or, in newer opsets, an input."""
        if key in self.op.attributes:
            return [int(each) for each in self.op.attributes[key]]  # type: ignore[union-attr]
        found = self.constant(number)
        return None if found is None else [int(each) for each in found.reshape(-1)]

    def floats(self, number: int, count: int | None = None) -> F32:
        """Return an input that is an array of floats."""
        found = self.constant(number)
        if found is None or found.dtype not in (np.float32, np.float16):
            given = "nothing" if found is None else found.dtype
            self.refuse(f"input {number} has the wrong type", "float32 or float16", given)
        array: F32 = np.ascontiguousarray(found, np.float32)
        if count is not None and array.size != count:
            self.refuse(f"input {number} has the wrong size", f"{count} values", array.shape)
        return array if count is None else array.reshape(count)

    @property
    def out(self) -> Value:
        """The output of the node."""
        return self.op.outputs[0]

    def single(self, number: int = 0) -> NewSection | None:
        """Return the section whose output is this input, if nothing else reads that output."""
        value = self.input(number)
        return None if value is None or self.uses[value] != 1 else self.made.owner(value)
