"""The gradients of the activation functions.  C: ``gradient_array`` in ``src/activations.c``.

Darknet takes most gradients from the output.  Each function here multiplies a block of deltas, in
place, by the gradient at a block of what was kept: the output ``y``, or the input ``x``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect, dialect_named
from darknet_bn.kernels.activations import (
    GELU_X,
    GELU_X3,
    LEAKY,
    NORMALIZE_EPS,
    RELIE,
    SELU,
    SELU_ALPHA,
    activate_array,
)
from darknet_bn.kernels.batchnorm.filters import by_filter, scratch_like
from darknet_bn.kernels.floating import floating
from darknet_bn.work import measured
from darknet_bn.work.cuts import elements, pixels
from darknet_bn.work.threads import workers

Mask: TypeAlias = npt.NDArray[np.bool_]

_STEEP = 3.4e38  # times this, every normal float32 above 0 is above 1
_LHTAN, _PLSE = 0.001, 0.125


@dataclass(frozen=True)
class Gradient:
    """The gradient of one activation function.

    Attributes
    ----------
    multiply : function
        ``multiply(delta, kept)`` changes delta in place: a block of any shape, but (1, c, s) where
        ``over_channels``.
    of_input : bool
        Whether the input is kept, or the output.
    over_channels : bool
        Whether the channels of a pixel hang together.
    """

    multiply: Callable[[F32, F32], None]
    of_input: bool = False
    over_channels: bool = False


@floating
def activate_training(
    z: F32, name: str, dialect: Dialect | str
) -> tuple[F32, Callable[[F32], F32]]:
    """Activate, and prepare the way back.

    Parameters
    ----------
    z : float32 array
        As `activate_array` takes it; contiguous.  Overwritten where the way back needs the output
        only.  Or float64, as then all arrays are.
    name : str
        A key of ``ACTIVATIONS``.
    dialect : Dialect or str
        Where its gradients are not exact, some are as the programs have them: that of ``gelu``
        at the output, and those over channels without a part of their Jacobian.

    Returns
    -------
    y : float32 array like ``z``
    back : function
        ``back(delta)`` multiplies the delta of ``y`` in place, and returns it.
    """
    dialect = dialect_named(dialect)
    if name == "linear":
        return z, lambda delta: delta
    gradient = (_GRADIENTS if dialect.exact_gradients else _GRADIENTS | _AS_CODED)[name]
    y = activate_array(z, name, out=None if gradient.of_input else z)
    kept = z if gradient.of_input else y

    def back(delta: F32) -> F32:
        delta = np.ascontiguousarray(delta)
        with np.errstate(all="ignore"):
            workers().run(lambda pair: gradient.multiply(*pair), _pairs(delta, kept, gradient))
        return delta

    return y, back


def _pairs(delta: F32, kept: F32, gradient: Gradient) -> list[tuple[F32, ...]]:
    """Cut two arrays alike into parts that stay in the cache."""
    if gradient.over_channels:
        return pixels(measured.ELEMENTS, by_filter(delta), by_filter(kept))
    return elements(measured.ELEMENTS, delta.reshape(-1), kept.reshape(-1))


def _above(low: float) -> Callable[[F32, F32], None]:
    """1 where y is above 0, else ``low``."""

    def multiply(delta: F32, y: F32) -> None:
        slope = np.multiply(y, y.dtype.type(_STEEP), out=scratch_like(y, "slope"))
        np.clip(slope, y.dtype.type(low), y.dtype.type(1), out=slope)
        np.multiply(delta, slope, out=delta)

    return multiply


def _gate(opens: Callable[[F32], Mask]) -> Callable[[F32, F32], None]:
    """1 where it opens, else 0."""

    def multiply(delta: F32, y: F32) -> None:
        np.multiply(delta, opens(y), out=delta)

    return multiply


def _where(inside: Callable[[F32], Mask], yes: float, no: float) -> Callable[[F32, F32], None]:
    def multiply(delta: F32, y: F32) -> None:
        slope = scratch_like(y, "slope")
        slope.fill(no)
        np.copyto(slope, y.dtype.type(yes), where=inside(y))
        np.multiply(delta, slope, out=delta)

    return multiply


def _logistic(delta: F32, y: F32) -> None:
    slope = np.subtract(1, y, out=scratch_like(y, "slope"))
    np.multiply(slope, y, out=slope)
    np.multiply(delta, slope, out=delta)


def _tanh(delta: F32, y: F32) -> None:
    slope = np.multiply(y, y, out=scratch_like(y, "slope"))
    np.subtract(1, slope, out=slope)
    np.multiply(delta, slope, out=delta)


def _loggy(delta: F32, y: F32) -> None:
    _tanh(delta, y)
    np.multiply(delta, 0.5, out=delta)


def _elu(delta: F32, y: F32) -> None:
    slope = np.clip(y, -math.inf, 0, out=scratch_like(y, "slope"))
    np.add(slope, 1, out=slope)
    np.multiply(delta, slope, out=delta)


def _selu(delta: F32, y: F32) -> None:
    slope = np.add(y, y.dtype.type(SELU_ALPHA), out=scratch_like(y, "slope"))
    np.copyto(slope, y.dtype.type(SELU), where=np.greater_equal(y, 0))
    np.multiply(delta, slope, out=delta)


def _ramp(delta: F32, y: F32) -> None:
    slope = np.add(np.greater(y, 0), y.dtype.type(LEAKY), out=scratch_like(y, "slope"))
    np.multiply(delta, slope, out=delta)


def _sigma(x: F32, slot: str) -> F32:
    """Return 1/(1 + e^-x) in a buffer of this thread."""
    sigma = np.negative(x, out=scratch_like(x, slot))
    np.exp(sigma, out=sigma)
    np.add(sigma, 1, out=sigma)
    return np.reciprocal(sigma, out=sigma)


def _swish(delta: F32, x: F32) -> None:
    # sigma + x*sigma*(1 - sigma)
    sigma = _sigma(x, "sigma")
    slope = np.subtract(1, sigma, out=scratch_like(x, "slope"))
    np.multiply(slope, x, out=slope)
    np.add(slope, 1, out=slope)
    np.multiply(slope, sigma, out=slope)
    np.multiply(delta, slope, out=delta)


def _mish(delta: F32, x: F32) -> None:
    # t + x*(1 - t*t)*sigma with t = tanh(softplus(x)) = n/(n + 2), n = e^x*(e^x + 2), so that
    # 1 - t*t = 4*(n + 1)/(n + 2)^2; from x = 20 on the slope is 1, and e*e stays finite.
    x = np.clip(x, -math.inf, 20, out=scratch_like(x, "clipped"))
    e = np.exp(x, out=scratch_like(x, "sigma"))
    n = np.add(e, 2, out=scratch_like(x, "slope"))
    np.multiply(n, e, out=n)
    bottom = np.add(n, 2, out=scratch_like(x, "bottom"))
    rest = np.add(n, 1, out=scratch_like(x, "rest"))
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


def _hard_mish(delta: F32, x: F32) -> None:
    slope = np.add(x, 1, out=scratch_like(x, "slope"))
    np.clip(slope, -1, 1, out=slope)
    np.multiply(slope, np.greater(x, -2), out=slope)
    np.multiply(delta, slope, out=delta)


def _gelu(delta: F32, x: F32) -> None:
    wide = x.astype(np.float64)
    square = wide * wide
    t = np.tanh(wide * (GELU_X + GELU_X3 * square))
    slope = 0.5 * (1 + t) + 0.5 * wide * (1 - t * t) * (GELU_X + 3 * GELU_X3 * square)
    np.multiply(delta, slope.astype(x.dtype), out=delta)


def _gelu_as_coded(delta: F32, y: F32) -> None:
    z = y.astype(np.float64)
    cube = z * z * z
    t = np.tanh(0.0356774 * cube + 0.797885 * z)
    slope = 0.5 * t + (0.0535161 * cube + 0.398942 * z) * (1 - t * t) + 0.5
    np.multiply(delta, slope.astype(y.dtype), out=delta)


def _normalize_channels(delta: F32, x: F32) -> None:
    kept, wide = np.maximum(x.astype(np.float64), 0), delta.astype(np.float64)
    total = kept.sum(axis=1, keepdims=True) + NORMALIZE_EPS
    shared = (wide * kept).sum(axis=1, keepdims=True) / total
    np.copyto(delta, (wide - shared) / total * (x > 0), casting="same_kind")


def _normalize_softmax(delta: F32, y: F32) -> None:
    wide, shared = _shared(delta, y)
    np.copyto(delta, y * (wide - shared), casting="same_kind")


def _normalize_softmax_maxval(delta: F32, y: F32) -> None:
    # The maximum that is subtracted cancels but for the small number in the divisor.
    wide, shared = _shared(delta, y)
    result = y * (wide - shared)
    top = np.equal(y, y.max(axis=1, keepdims=True))
    missing = 1 - y.sum(axis=1, keepdims=True, dtype=np.float64)
    result -= top * (shared * missing)
    np.copyto(delta, result, casting="same_kind")


def _normalize_as_coded(delta: F32, y: F32) -> None:
    np.multiply(delta, _shared(delta, y)[1].astype(y.dtype), out=delta)


def _normalize_channels_as_coded(delta: F32, y: F32) -> None:
    slope = _shared(delta, y)[1].astype(y.dtype)
    np.multiply(delta, slope, out=delta, where=np.greater(y, 0))


def _shared(delta: F32, y: F32) -> tuple[F64, F64]:
    """Return delta in float64, and the sum of delta times y over the channels of each pixel."""
    wide = delta.astype(np.float64)
    return wide, (wide * y).sum(axis=1, keepdims=True)


_LEAKY = Gradient(_above(float(LEAKY)))
_GRADIENTS = {
    "logistic": Gradient(_logistic),
    "loggy": Gradient(_loggy),
    "relu": Gradient(_gate(lambda y: y > 0)),
    "relu6": Gradient(_gate(lambda y: (y > 0) & (y < 6))),
    "elu": Gradient(_elu),
    "selu": Gradient(_selu),
    "gelu": Gradient(_gelu, of_input=True),
    "relie": Gradient(_above(float(RELIE))),
    "ramp": Gradient(_ramp),
    "leaky": _LEAKY,
    "revleaky": _LEAKY,
    "tanh": Gradient(_tanh),
    "plse": Gradient(_where(lambda y: (y < 0) | (y > 1), float(RELIE), _PLSE)),
    "stair": Gradient(_gate(lambda y: np.floor(y) != y)),
    "hardtan": Gradient(_gate(lambda y: (y > -1) & (y < 1))),
    "lhtan": Gradient(_where(lambda y: (y > 0) & (y < 1), 1, float(np.float32(_LHTAN)))),
    "swish": Gradient(_swish, of_input=True),
    "mish": Gradient(_mish, of_input=True),
    "hard_mish": Gradient(_hard_mish, of_input=True),
    "normalize_channels": Gradient(_normalize_channels, of_input=True, over_channels=True),
    "normalize_channels_softmax": Gradient(_normalize_softmax, over_channels=True),
    "normalize_channels_softmax_maxval": Gradient(_normalize_softmax_maxval, over_channels=True),
}
_AS_CODED = {
    "gelu": Gradient(_gelu_as_coded),
    "normalize_channels": Gradient(_normalize_channels_as_coded, over_channels=True),
    "normalize_channels_softmax": Gradient(_normalize_as_coded, over_channels=True),
    "normalize_channels_softmax_maxval": Gradient(_normalize_as_coded, over_channels=True),
}
