"""Piecewise linear activation functions: value, slope and ONNX form of each.

A value function changes a block in place.  A slope function multiplies a block of deltas in place
by the gradient, computed from a block of the output.  C: ``src/activations.h``.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import compiled_slopes
from darknet_bn.kernels.activations.buffers import clamp, scratch
from darknet_bn.kernels.activations.row import Operators, V
from darknet_bn.kernels.choice import twin

Mask: TypeAlias = npt.NDArray[np.bool_]

LEAKY = np.float32(0.1)
RELIE = np.float32(0.01)

LINE = (np.float32(1), np.float32(math.inf))  # slope below 0, and largest value
RELU_BEND, RELU6_BEND = (np.float32(0), np.float32(math.inf)), (np.float32(0), np.float32(6))
LEAKY_BEND, RELIE_BEND = (LEAKY, np.float32(math.inf)), (RELIE, np.float32(math.inf))

STEEP = 3.4e38  # times this, every normal float32 above 0 is above 1
_LHTAN, _PLSE = 0.001, 0.125


def linear(y: F32) -> None:
    """``x``."""


def linear_onnx(graph: Operators[V], x: V) -> V:
    """No operator."""
    return x


def relu(y: F32) -> None:
    """``max(x, 0)``."""
    clamp(y, 0, math.inf, y)


@twin(compiled_slopes.rectified, when=compiled_slopes.pays)
def relu_slope(delta: F32, y: F32) -> None:
    """``1`` where y > 0, else 0."""
    np.multiply(delta, y > 0, out=delta)


def relu_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.add("Relu", x)


def relu6(y: F32) -> None:
    """``min(max(x, 0), 6)``."""
    clamp(y, 0, 6, y)


def relu6_slope(delta: F32, y: F32) -> None:
    """``1`` where 0 < y < 6, else 0."""
    np.multiply(delta, (y > 0) & (y < 6), out=delta)


def relu6_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.clip(x, 0, 6)


def leaky(y: F32) -> None:
    """``x`` where x > 0, else 0.1 x."""
    _rectify(y, LEAKY)


def leaky_slope(delta: F32, y: F32) -> None:
    """``1`` where y > 0, else 0.1."""
    _steep(delta, y, float(LEAKY))


def leaky_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.add("LeakyRelu", x, alpha=float(LEAKY))


def relie(y: F32) -> None:
    """``x`` where x > 0, else 0.01 x."""
    _rectify(y, RELIE)


def relie_slope(delta: F32, y: F32) -> None:
    """``1`` where y > 0, else 0.01."""
    _steep(delta, y, float(RELIE))


def relie_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.add("LeakyRelu", x, alpha=float(RELIE))


def ramp(y: F32) -> None:
    """``max(x, 0) + 0.1 x``."""
    low = scratch(y)
    np.multiply(y, LEAKY, out=low)
    relu(y)
    np.add(y, low, out=y)


def ramp_slope(delta: F32, y: F32) -> None:
    """``1.1`` where y > 0, else 0.1."""
    slope = np.add(np.greater(y, 0), y.dtype.type(LEAKY), out=scratch(y, "slope"))
    np.multiply(delta, slope, out=delta)


def ramp_onnx(graph: Operators[V], x: V) -> V:
    """Add both terms."""
    return graph.add("Add", graph.add("Relu", x), graph.scaled(x, float(LEAKY)))


def hardtan(y: F32) -> None:
    """``min(max(x, -1), 1)``."""
    clamp(y, -1, 1, y)


def hardtan_slope(delta: F32, y: F32) -> None:
    """``1`` where -1 < y < 1, else 0."""
    np.multiply(delta, (y > -1) & (y < 1), out=delta)


def hardtan_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.clip(x, -1, 1)


def plse(y: F32) -> None:
    """``x/8 + 1/2`` where -4 <= x <= 4; beyond, the slope is 0.01."""
    middle = clamp(y, -4, 4, scratch(y))
    np.subtract(y, middle, out=y)
    np.add(middle, 4, out=middle)
    np.multiply(middle, 0.125, out=middle)
    np.multiply(y, RELIE, out=y)
    np.add(y, middle, out=y)


def plse_slope(delta: F32, y: F32) -> None:
    """``0.01`` where y < 0 or y > 1, else 1/8."""
    _two_slopes(delta, (y < 0) | (y > 1), float(RELIE), _PLSE)


def plse_onnx(graph: Operators[V], x: V) -> V:
    """Add the middle and what is outside it."""
    middle = graph.clip(x, -4, 4)
    outside = graph.scaled(graph.add("Sub", x, middle), float(RELIE))
    return graph.add("Add", outside, graph.shifted(graph.scaled(middle, 0.125), 0.5))


def lhtan(y: F32) -> None:
    """``x`` where 0 <= x <= 1; beyond, the slope is 0.001."""
    middle = clamp(y, 0, 1, scratch(y))
    np.subtract(y, middle, out=y)
    with np.errstate(under="ignore"):
        np.multiply(y, np.float32(0.001), out=y)
    np.add(y, middle, out=y)


def lhtan_slope(delta: F32, y: F32) -> None:
    """``1`` where 0 < y < 1, else 0.001."""
    _two_slopes(delta, (y > 0) & (y < 1), 1, float(np.float32(_LHTAN)))


def lhtan_onnx(graph: Operators[V], x: V) -> V:
    """Add the middle and what is outside it."""
    middle = graph.clip(x, 0, 1)
    return graph.add("Add", graph.scaled(graph.add("Sub", x, middle), 0.001), middle)


def stair(y: F32) -> None:
    """``floor(x/2)`` where floor(x) is even; in between, a straight line to the next value."""
    # half = floor(x/2); half on even floors, x - half - 1 on odd ones, which is
    # (x - floor(x)) + half without a rounding for x just below zero
    half = scratch(y)
    odd = scratch(y, "1")
    np.multiply(y, 0.5, out=half)
    np.floor(half, out=half)
    np.floor(y, out=odd)
    np.subtract(odd, half, out=odd)
    is_even = np.equal(odd, half)
    np.add(half, 1, out=odd)
    np.subtract(y, odd, out=y)
    np.copyto(y, half, where=is_even)


def stair_slope(delta: F32, y: F32) -> None:
    """``0`` where y is whole, else 1."""
    np.multiply(delta, np.floor(y) != y, out=delta)


def stair_onnx(graph: Operators[V], x: V) -> V:
    """Both pieces, and a selection."""
    half = graph.add("Floor", graph.scaled(x, 0.5))
    even = graph.add("Equal", graph.add("Sub", graph.add("Floor", x), half), half)
    return graph.add("Where", even, half, graph.shifted(graph.add("Sub", x, half), -1))


@twin(compiled_slopes.rectify, when=compiled_slopes.rectifies)
def _rectify(y: F32, slope: np.float32) -> None:
    """X where it is above zero, otherwise slope times x, for a slope below 1."""
    low = scratch(y)
    np.multiply(y, slope, out=low)
    np.maximum(y, low, out=y)


@twin(compiled_slopes.steep, when=compiled_slopes.pays)
def _steep(delta: F32, y: F32, low: float) -> None:
    """1 where y is above 0, else ``low``."""
    slope = np.multiply(y, y.dtype.type(STEEP), out=scratch(y, "slope"))
    np.clip(slope, y.dtype.type(low), y.dtype.type(1), out=slope)
    np.multiply(delta, slope, out=delta)


def _two_slopes(delta: F32, inside: Mask, yes: float, no: float) -> None:
    """``yes`` inside, else ``no``."""
    slope = scratch(delta, "slope")
    slope.fill(no)
    np.copyto(slope, delta.dtype.type(yes), where=inside)
    np.multiply(delta, slope, out=delta)
