"""What the package knows about an activation function: one row of the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32

V = TypeVar("V")  # the type of a value in a graph
Bend: TypeAlias = "tuple[np.float32, np.float32]"


class Operators(Protocol[V]):
    """What an ONNX form is written with: each call returns a new value.

    `darknet_bn.graph.builder.GraphBuilder` implements this; nothing here depends on it.
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
        """Limit values to a range."""

    def reduce(self, kind: str, x: V, axis: int) -> V:
        """Reduce an axis to one value, and keep the axis."""


class Form(Protocol):
    """A function that adds the operators of an activation to a graph and returns the output."""

    def __call__(self, graph: Operators[V], x: V) -> V:
        """Add operators to a graph."""


@dataclass(frozen=True)
class Slope:
    """The gradient of an activation function.

    Attributes
    ----------
    multiply : function
        ``multiply(delta, kept)`` changes a block of deltas in place.  The block may have any shape,
        but must be (1, c, s) if the function is ``over_channels``.
    of_input : bool
        Whether the input is kept; if not, the output is.
    """

    multiply: Callable[[F32, F32], None]
    of_input: bool = False


@dataclass(frozen=True)
class Activation:
    """One activation function.

    Attributes
    ----------
    name : str
        As spelled in a cfg.
    apply : function
        Changes a float32 array in place.  The array may have any shape, but must be ``(n, c, h,
        w)`` or ``(n, c, s)`` if ``over_channels``.
    slope : Slope or None
        None if the slope is 1 everywhere.
    onnx : function
        ``onnx(graph, x)`` adds as few operators as possible, and returns the output.
    extended : bool
        Whether only AlexeyAB's Darknet and its descendants know it.
    over_channels : bool
        Whether a value depends on the other channels of its pixel.
    as_coded : Slope, optional
        What the programs use instead, if their gradient is not the derivative of the function.
    bend : (slope, top), optional
        If the function is x above 0 and slope times x below, but at most top: these two.
    """

    name: str
    apply: Callable[[F32], None]
    slope: Slope | None
    onnx: Form
    extended: bool = False
    over_channels: bool = False
    as_coded: Slope | None = None
    bend: Bend | None = None
