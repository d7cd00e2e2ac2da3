"""Sections of a cfg with the arrays of their layers, built value by value from a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from darknet_bn.arrays import F32
from darknet_bn.errors import WeightsError
from darknet_bn.graph.graph import Value
from darknet_bn.layers.shape import Shape

INPUT = -1  # the number of a layer that is the input of the net


@dataclass
class NewSection:
    """A section, to which later nodes may add.

    Attributes
    ----------
    name : str
    options : dict from key to value
        Options whose value is None are not written.
    arrays : dict from name to float32 array
        The arrays, under Darknet's names of the parameters.
    value : Value or None
        The value of the graph that is the output of the layer.
    shape : Shape
        The shape of the output for one image.
    """

    name: str
    options: dict[str, object]
    arrays: dict[str, F32]
    value: Value | None
    shape: Shape


@dataclass(frozen=True)
class ValuePlace:
    """Where a value of the graph is.

    Attributes
    ----------
    layer : int
        The layer whose output it is; -1 for the input of the net.
    shape : Shape
        For one image; flat if a graph takes all values of an image as one row.
    """

    layer: int
    shape: Shape


@dataclass
class Sections:
    """The sections so far.

    Attributes
    ----------
    input : Shape
        The shape of one image.
    sections : list of NewSection
    places : dict from Value to ValuePlace
        The place of each value of the graph.
    read : set of int
        The layers that other layers read.
    """

    input: Shape
    sections: list[NewSection] = field(default_factory=list)
    places: dict[Value, ValuePlace] = field(default_factory=dict)
    read: set[int] = field(default_factory=set)

    def add(
        self,
        name: str,
        value: Value,
        source: ValuePlace,
        shape: Shape,
        options: Mapping[str, object],
        arrays: Mapping[str, F32] | None = None,
        other: ValuePlace | None = None,
    ) -> None:
        """Add a layer that reads one or two others, with a route if the first is not the last."""
        last = len(self.sections) - 1
        if source.layer != last:
            self.route([source])
            last += 1
        self.read.add(last)
        given = dict(options)
        if other is not None:
            self.read.add(other.layer)
            given = {"from": other.layer, **given}
        self.sections.append(NewSection(name, given, dict(arrays or {}), value, shape))
        self.places[value] = ValuePlace(len(self.sections) - 1, shape)

    def route(
        self,
        sources: Sequence[ValuePlace],
        value: Value | None = None,
        groups: int = 1,
        group: int = 0,
    ) -> None:
        """Add a layer that concatenates others, or passes one on."""
        if any(each.layer == INPUT for each in sources):
            raise WeightsError(
                "the network input is read after other layers, which no Darknet section can do"
            )
        self.read |= {each.layer for each in sources}
        first = sources[0].shape
        shape = replace(first, c=sum(each.shape.c for each in sources))
        options: dict[str, object] = {"layers": ", ".join(str(each.layer) for each in sources)}
        if groups > 1:
            shape = replace(shape, c=shape.c // groups)
            options |= {"groups": groups, "group_id": group}
        self.sections.append(NewSection("route", options, {}, value, shape))
        if value is not None:
            self.places[value] = ValuePlace(len(self.sections) - 1, shape)

    def alias(self, value: Value, source: ValuePlace, shape: Shape) -> None:
        """Note that a value is the same as another, perhaps in a different shape."""
        self.places[value] = ValuePlace(source.layer, shape)

    def owner(self, value: Value) -> NewSection | None:
        """Return the section whose own output a value is."""
        at = self.places[value].layer
        found = None if at == INPUT else self.sections[at]
        return found if found is not None and found.value == value else None

    def extend(self, section: NewSection, value: Value) -> None:
        """Let a section give a different value, which a node makes from its own."""
        if section.value is not None:
            self.places[value] = self.places.pop(section.value)
        section.value = value

    def text(self) -> str:
        """Return the cfg."""
        net: dict[str, object] = {
            "batch": 1,
            "subdivisions": 1,
            "width": self.input.w,
            "height": self.input.h,
            "channels": self.input.c,
        }
        parts = [("net", net), *((each.name, each.options) for each in self.sections)]
        return "\n".join(
            f"[{name}]\n"
            + "".join(f"{key}={value}\n" for key, value in options.items() if value is not None)
            for name, options in parts
        )
