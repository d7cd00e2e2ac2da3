"""What is known of an activation function: a row of the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from darknet_bn.arrays import F32

V = TypeVar("V")  # what a graph has for a value


class Operators(Protocol[V]):
    """What a form in ONNX is written with: each call returns a new value.

    `darknet_bn.graph.builder.GraphBuilder` is what has these; nothing here knows it.
    """

    opset: int

    def add(
        self,
        kind: str,
        *inputs: V,
        **attributes: int | float | str | Sequence[int] | npt.NDArray[Any],
    ) -> V:
        """Add an operator."""

    def scaled(self, x: V, factor: float) -> V:
        """Multiply by a number."""

    def shifted(self, x: V, summand: float) -> V:
        """Add a number."""

    def clip(self, x: V, low: float, high: float) -> V:
        """Hold values to a range."""

    def reduce(self, kind: str, x: V, axis: int) -> V:
        """Reduce an axis to one value, and keep it."""


class Form(Protocol):
    """A function that adds what gives an activation of a value, and returns the output."""

    def __call__(self, graph: Operators[V], x: V) -> V:
        """Add operators to a graph."""


@dataclass(frozen=True)
class Slope:
    """The gradient of an activation function.

    Attributes
    ----------
    multiply : function
        ``multiply(delta, kept)`` changes a block of deltas in place: of any shape, but (1, c, s)
        where the function is ``over_channels``.
    of_input : bool
        Whether the input is kept, or the output.
    """

    multiply: Callable[[F32, F32], None]
    of_input: bool = False


@dataclass(frozen=True)
class Activation:
    """One activation function.

    Attributes
    ----------
    name : str
        As a cfg spells it.
    apply : function
        Changes a float32 array in place; of any shape, but ``(n, c, h, w)`` or ``(n, c, s)`` where
        ``over_channels``.
    slope : Slope or None
        None where it is 1 everywhere.
    onnx : function
        ``onnx(graph, x)`` adds as few operators as give the function, and returns the output.
    extended : bool
        Whether only AlexeyAB's Darknet and its descendants know it.
    over_channels : bool
        Whether a value depends on the other channels of its pixel.
    as_coded : Slope, optional
        What the programs have instead, where their gradient is not that of the function.
    """

    name: str
    apply: Callable[[F32], None]
    slope: Slope | None
    onnx: Form
    extended: bool = False
    over_channels: bool = False
    as_coded: Slope | None = None
