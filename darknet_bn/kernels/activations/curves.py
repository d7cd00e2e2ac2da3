"""The curved activation functions: value, slope and ONNX form of each.

A value function changes a block in place.  A slope function multiplies a block of deltas in place
by the gradient, computed from a block of the output ``y`` or the input ``x``, whichever was kept.
C: ``src/activations.h``.
"""

from __future__ import annotations

import math

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations.bends import STEEP, relu
from darknet_bn.kernels.activations.buffers import clamp, scratch, wide_copy
from darknet_bn.kernels.activations.row import Operators, V

SELU, SELU_ALPHA = np.float32(1.0507), np.float32(1.0507 * 1.6732)

# e to a lower power is a subnormal float32, for which Intel's processors take six times as long.
# The programs run with such numbers flushed to 0; added to 1, they are nothing either way.
_LEAST = np.float32(-87.33654)
_GELU_FAR, _GELU_MOST = 21.0, 700.0  # an x, and a power of e, from where on gelu is x or 0

_GELU_X, _GELU_X3 = 0.797885, 0.035677
_MISH_OPSET = 18  # the first with this operator


def logistic(y: F32) -> None:
    """``1 / (1 + e^-x)``."""
    with np.errstate(over="ignore", under="ignore"):  # e^-x = inf gives 0, as it should
        # Not np.negative: on AVX-512, numpy 2.4's version is wrong in place for some strides.
        np.multiply(y, -1, out=y)
        _exp(y)
        np.add(y, 1, out=y)
        np.reciprocal(y, out=y)


def logistic_slope(delta: F32, y: F32) -> None:
    """``y (1 - y)``."""
    slope = np.subtract(1, y, out=scratch(y, "slope"))
    np.multiply(slope, y, out=slope)
    np.multiply(delta, slope, out=delta)


def logistic_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.add("Sigmoid", x)


def tanh(y: F32) -> None:
    """``tanh(x)``."""
    np.tanh(y, out=y)


def tanh_slope(delta: F32, y: F32) -> None:
    """``1 - y^2``."""
    slope = np.multiply(y, y, out=scratch(y, "slope"))
    np.subtract(1, slope, out=slope)
    np.multiply(delta, slope, out=delta)


def tanh_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.add("Tanh", x)


def loggy(y: F32) -> None:
    """``2 / (1 + e^-x) - 1``."""
    # avoids the difference of two ones near x = 0
    np.multiply(y, 0.5, out=y)
    np.tanh(y, out=y)


def loggy_slope(delta: F32, y: F32) -> None:
    """``(1 - y^2) / 2``."""
    tanh_slope(delta, y)
    np.multiply(delta, 0.5, out=delta)


def loggy_onnx(graph: Operators[V], x: V) -> V:
    """As tanh of x/2."""
    return graph.add("Tanh", graph.scaled(x, 0.5))


def elu(y: F32) -> None:
    """``x`` where x >= 0, else e^x - 1."""
    _exponential(y, np.float32(1), np.float32(1))


def elu_slope(delta: F32, y: F32) -> None:
    """``1`` where y >= 0, else y + 1."""
    slope = np.clip(y, -math.inf, 0, out=scratch(y, "slope"))
    np.add(slope, 1, out=slope)
    np.multiply(delta, slope, out=delta)


def elu_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.add("Elu", x, alpha=1.0)


def selu(y: F32) -> None:
    """``1.0507 x`` where x >= 0, else 1.0507 * 1.6732 (e^x - 1)."""
    _exponential(y, SELU, SELU_ALPHA)


def selu_slope(delta: F32, y: F32) -> None:
    """``1.0507`` where y >= 0, else y + 1.0507 * 1.6732."""
    slope = np.add(y, y.dtype.type(SELU_ALPHA), out=scratch(y, "slope"))
    np.copyto(slope, y.dtype.type(SELU), where=np.greater_equal(y, 0))
    np.multiply(delta, slope, out=delta)


def selu_onnx(graph: Operators[V], x: V) -> V:
    """One operator."""
    return graph.add("Selu", x, alpha=float(SELU_ALPHA / SELU), gamma=float(SELU))


def gelu(y: F32) -> None:
    """``x/2 (1 + tanh(0.797885 x + 0.035677 x^3))``."""
    # (1 + tanh(q))/2 = 1/(1 + e^-2q), which avoids the difference of two ones; in float64, because
    # the absolute error of 2q becomes the relative error of e^-2q.
    x = wide_copy(y)
    q = wide_copy(y, "1")
    with np.errstate(over="ignore", under="ignore"):
        np.multiply(x, x, out=q)
        np.multiply(q, -2 * _GELU_X3, out=q)
        np.subtract(q, 2 * _GELU_X, out=q)
        np.multiply(q, x, out=q)
        if not (x.min(initial=0) > -_GELU_FAR and x.max(initial=0) < _GELU_FAR):
            np.clip(q, -_GELU_MOST, _GELU_MOST, out=q)
        np.exp(q, out=q)
        np.add(q, 1, out=q)
        np.divide(x, q, out=x)
        np.copyto(y, x, casting="same_kind")


def gelu_slope(delta: F32, x: F32) -> None:
    """Multiply by the derivative, at the input."""
    wide = x.astype(np.float64)
    square = wide * wide
    t = np.tanh(wide * (_GELU_X + _GELU_X3 * square))
    slope = 0.5 * (1 + t) + 0.5 * wide * (1 - t * t) * (_GELU_X + 3 * _GELU_X3 * square)
    np.multiply(delta, slope.astype(x.dtype), out=delta)


def gelu_slope_as_coded(delta: F32, y: F32) -> None:
    """Multiply by the derivative of the programs: with different digits, at the output."""
    z = y.astype(np.float64)
    cube = z * z * z
    t = np.tanh(0.0356774 * cube + 0.797885 * z)
    slope = 0.5 * t + (0.0535161 * cube + 0.398942 * z) * (1 - t * t) + 0.5
    np.multiply(delta, slope.astype(y.dtype), out=delta)


def gelu_onnx(graph: Operators[V], x: V) -> V:
    """With a sigmoid, which takes fewer operators than tanh."""
    # x (1 + tanh(q)) / 2 is x / (1 + e^-2q)
    square = graph.add("Mul", x, x)
    bend = graph.shifted(graph.scaled(square, 2 * _GELU_X3), 2 * _GELU_X)
    return graph.add("Mul", x, graph.add("Sigmoid", graph.add("Mul", x, bend)))


def swish(y: F32) -> None:
    """``x / (1 + e^-x)``."""
    below = scratch(y)
    with np.errstate(over="ignore", under="ignore"):  # e^-x = inf gives 0, as it should
        np.negative(y, out=below)
        _exp(below)
        np.add(below, 1, out=below)
        np.divide(y, below, out=y)


def swish_slope(delta: F32, x: F32) -> None:
    """Multiply by the derivative, at the input."""
    # sigma + x*sigma*(1 - sigma)
    sigma = _sigma(x, "sigma")
    slope = np.subtract(1, sigma, out=scratch(x, "slope"))
    np.multiply(slope, x, out=slope)
    np.add(slope, 1, out=slope)
    np.multiply(slope, sigma, out=slope)
    np.multiply(delta, slope, out=delta)


def swish_onnx(graph: Operators[V], x: V) -> V:
    """Two operators."""
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def mish(y: F32) -> None:
    """``x tanh(log(1 + e^x))``."""
    # tanh(log(1 + e)) = n/(n + 2) with n = e*(e + 2); in float32 it is 1 from x = 9 on, so stopping
    # at 20 costs nothing and keeps e*e finite.
    least = float(_LEAST) if y.dtype == np.float32 else -math.inf
    e = clamp(y, least, 20, scratch(y))
    n = scratch(y, "1")
    with np.errstate(over="ignore", under="ignore"):
        if y.size and y.min() < least:  # there mish is 0
            np.subtract(y, least, out=n)
            np.multiply(n, STEEP, out=n)
            np.multiply(y, clamp(n, 0, 1, n), out=y)
        np.exp(e, out=e)
        np.add(e, 2, out=n)
        np.multiply(n, e, out=n)
        np.add(n, 2, out=e)
        np.divide(n, e, out=n)
        np.multiply(y, n, out=y)


def mish_slope(delta: F32, x: F32) -> None:
    """Multiply by the derivative, at the input."""
    # t + x*(1 - t*t)*sigma with t = tanh(softplus(x)) = n/(n + 2), n = e^x*(e^x + 2), so 1 - t*t =
    # 4*(n + 1)/(n + 2)^2; from x = 20 on the slope is 1, and e*e stays finite.
    least = _LEAST if x.dtype == np.float32 else -math.inf
    x = np.clip(x, least, 20, out=scratch(x, "clipped"))
    e = np.exp(x, out=scratch(x, "sigma"))
    n = np.add(e, 2, out=scratch(x, "slope"))
    np.multiply(n, e, out=n)
    bottom = np.add(n, 2, out=scratch(x, "bottom"))
    rest = np.add(n, 1, out=scratch(x, "rest"))
    np.divide(n, bottom, out=n)
    np.divide(rest, bottom, out=rest)
    np.divide(rest, bottom, out=rest)
    np.multiply(rest, x, out=rest)
    np.multiply(rest, 4, out=rest)
    np.add(e, 1, out=bottom)
    np.divide(e, bottom, out=e)
    np.multiply(rest, e, out=rest)
    np.add(n, rest, out=n)
    np.multiply(delta, n, out=delta)


def mish_onnx(graph: Operators[V], x: V) -> V:
    """One operator, or three if the opset has no Mish."""
    if graph.opset >= _MISH_OPSET:
        return graph.add("Mish", x)
    return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))


def hard_mish(y: F32) -> None:
    """``x`` where x > 0, x^2/2 + x where x > -2, else 0."""
    bend = clamp(y, -2, 0, scratch(y))
    half = scratch(y, "1")
    with np.errstate(under="ignore"):
        np.multiply(bend, 0.5, out=half)
    np.add(half, 1, out=half)
    np.multiply(bend, half, out=bend)
    relu(y)
    np.add(y, bend, out=y)


def hard_mish_slope(delta: F32, x: F32) -> None:
    """``1`` where x > 0, x + 1 where x > -2, else 0; at the input."""
    slope = np.add(x, 1, out=scratch(x, "slope"))
    np.clip(slope, -1, 1, out=slope)
    np.multiply(slope, np.greater(x, -2), out=slope)
    np.multiply(delta, slope, out=delta)


def hard_mish_onnx(graph: Operators[V], x: V) -> V:
    """Add the part above zero and the bend."""
    bend = graph.clip(x, -2, 0)
    bent = graph.add("Mul", bend, graph.shifted(graph.scaled(bend, 0.5), 1))
    return graph.add("Add", graph.add("Relu", x), bent)


def _exponential(y: F32, above: np.float32, below: np.float32) -> None:
    """``above*x`` where x >= 0, else ``below*(e^x - 1)``."""
    low = clamp(y, -math.inf, 0, scratch(y))
    with np.errstate(under="ignore"):
        np.expm1(low, out=low)
        np.multiply(low, below, out=low)
        relu(y)
        np.multiply(y, above, out=y)
    np.add(y, low, out=y)  # one of the two is zero


def _exp(x: F32) -> None:
    """e^x in place, or the smallest normal float32 if it would be less."""
    if x.size and x.min() < _LEAST:
        np.clip(x, _LEAST, math.inf, out=x)
    np.exp(x, out=x)


def _sigma(x: F32, slot: str) -> F32:
    """Return 1/(1 + e^-x) in a buffer of this thread."""
    sigma = np.negative(x, out=scratch(x, slot))
    _exp(sigma)
    np.add(sigma, 1, out=sigma)
    return np.reciprocal(sigma, out=sigma)
