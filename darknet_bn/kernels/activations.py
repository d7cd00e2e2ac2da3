"""The activation functions, in place, block by block, so that what they compute stays in cache.

Each is the formula of the C source, arranged so that float32 carries it: no difference of two
nearly equal numbers, no overflow where the result is finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import CfgError
from darknet_bn.kernels.floating import floating
from darknet_bn.work import measured
from darknet_bn.work.cuts import elements, pixels
from darknet_bn.work.threads import workers

LEAKY = np.float32(0.1)
RELIE = np.float32(0.01)
SELU, SELU_ALPHA = np.float32(1.0507), np.float32(1.0507 * 1.6732)
GELU_X, GELU_X3 = 0.797885, 0.035677
NORMALIZE_EPS = 1e-4


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
    extended : bool
        Whether only AlexeyAB's Darknet and its descendants know it.
    over_channels : bool
        Whether a value depends on the other channels of its pixel.
    """

    name: str
    apply: Callable[[F32], None]
    extended: bool = False
    over_channels: bool = False


@dataclass(frozen=True)
class Epilogue:
    """What follows the sums of a convolution, while they are hot: bias, then activation.

    Attributes
    ----------
    biases : float32 array (f,), or None
    activation : Activation, or None
        Not one that is ``over_channels``: a tile does not hold all channels of a pixel.
    """

    biases: F32 | None
    activation: Activation | None

    def apply(self, y: F32, filters: slice) -> None:
        """Finish a tile in place.

        Parameters
        ----------
        y : float32 array (f', ...)
            Sums of some filters.
        filters : slice
            Which of all filters they are.
        """
        if self.biases is not None:
            np.add(y, self.biases[filters].reshape((-1,) + (1,) * (y.ndim - 1)), out=y)
        if self.activation is not None:
            activate_tile(y, self.activation)


@floating
def activate_array(x: F32, name: str, *, out: F32 | None = None) -> F32:
    """Apply an activation to every element.

    Parameters
    ----------
    x : float32 array
        ``(n, c, h, w)`` for ``normalize_channels*``, else of any shape.  Or float64; the result is
        of the same type.
    name : str
        A key of ``ACTIVATIONS``.
    out : float32 array of the same shape, optional
        Where the result goes; may be ``x``.

    Returns
    -------
    y : float32 array of the same shape

    Raises
    ------
    CfgError
        The name is unknown.

    Notes
    -----
    C: ``activate_array`` in ``src/activations.c``, and ``activate_array_swish``, ``_mish``,
    ``_hard_mish``, ``_normalize_channels*`` of AlexeyAB.  C's ``relu6`` is 0 everywhere on
    AlexeyAB's CPU and its ``tanh`` is NaN for large x in pjreddie's; here both are what their
    names say.
    """
    activation = ACTIVATIONS.get(name)
    if activation is None:
        raise CfgError("unknown activation", found=name, expected=", ".join(ACTIVATIONS))
    if out is None:
        out = np.empty_like(x)
    if out is not x:
        np.copyto(out, x)
    workers().run(lambda part: activation.apply(*part), _parts(out, activation))
    return out


@floating
def activate_tile(y: F32, activation: Activation) -> None:
    """Apply an activation in place in the calling thread, in blocks that stay in cache.

    Parameters
    ----------
    y : float32 array
        As ``Activation.apply`` takes it.
    activation : Activation
    """
    if y.size <= measured.ELEMENTS:
        activation.apply(y)
        return
    for (part,) in _parts(y, activation):
        activation.apply(part)


def _parts(y: F32, activation: Activation) -> list[tuple[F32, ...]]:
    """Cut an array into views that stay in the cache, of whole pixels where channels count."""
    cut = pixels if activation.over_channels else elements
    return cut(measured.ELEMENTS, y)


def _scratch(y: F32, slot: int = 0) -> F32:
    """Return a buffer of this thread in the shape of ``y``."""
    return workers().scratch(y.size, f"activations {slot}", y.dtype).reshape(y.shape)


def _wide(y: F32, slot: int = 0) -> F64:
    """Return the values of ``y`` in a float64 buffer of this thread."""
    slot_name = f"activations wide {slot}"
    wide = workers().scratch(2 * y.size, slot_name).view(np.float64).reshape(y.shape)
    np.copyto(wide, y)
    return wide


def _linear(y: F32) -> None:
    pass


def _logistic(y: F32) -> None:
    with np.errstate(over="ignore", under="ignore"):  # e^-x = inf gives 0, as it should
        # Not np.negative: that of numpy 2.4 on AVX-512 is wrong in place for some strides.
        np.multiply(y, -1, out=y)
        np.exp(y, out=y)
        np.add(y, 1, out=y)
        np.reciprocal(y, out=y)


def _loggy(y: F32) -> None:
    # 2/(1+e^-x) - 1, without the difference of two ones near x = 0
    np.multiply(y, 0.5, out=y)
    np.tanh(y, out=y)


def _tanh(y: F32) -> None:
    np.tanh(y, out=y)


def _clamp(y: F32, low: float, high: float, out: F32) -> F32:
    """Clamp y; with two bounds this is faster than ``maximum`` or ``minimum`` with one number."""
    np.clip(y, low, high, out=out)
    return out


def _relu(y: F32) -> None:
    _clamp(y, 0, math.inf, y)


def _relu6(y: F32) -> None:
    _clamp(y, 0, 6, y)


def _rectify(y: F32, slope: np.float32) -> None:
    """X where it is above zero, else slope times x, for a slope below 1."""
    low = _scratch(y)
    np.multiply(y, slope, out=low)
    np.maximum(y, low, out=y)


def _leaky(y: F32) -> None:
    _rectify(y, LEAKY)


def _relie(y: F32) -> None:
    _rectify(y, RELIE)


def _ramp(y: F32) -> None:
    low = _scratch(y)
    np.multiply(y, LEAKY, out=low)
    _relu(y)
    np.add(y, low, out=y)


def _exponential(y: F32, above: np.float32, below: np.float32) -> None:
    """``above*x`` where x >= 0, else ``below*(e^x - 1)``."""
    low = _clamp(y, -math.inf, 0, _scratch(y))
    with np.errstate(under="ignore"):
        np.expm1(low, out=low)
        np.multiply(low, below, out=low)
        _relu(y)
        np.multiply(y, above, out=y)
    np.add(y, low, out=y)  # one of the two is zero


def _elu(y: F32) -> None:
    _exponential(y, np.float32(1), np.float32(1))


def _selu(y: F32) -> None:
    _exponential(y, SELU, SELU_ALPHA)


def _gelu(y: F32) -> None:
    # (1 + tanh(q))/2 = 1/(1 + e^-2q), without the difference of two ones; in float64, because
    # e^-2q has the absolute error of 2q as its relative one.
    x = _wide(y)
    q = _wide(y, 1)
    with np.errstate(over="ignore", under="ignore"):
        np.multiply(x, x, out=q)
        np.multiply(q, -2 * GELU_X3, out=q)
        np.subtract(q, 2 * GELU_X, out=q)
        np.multiply(q, x, out=q)
        np.exp(q, out=q)
        np.add(q, 1, out=q)
        np.divide(x, q, out=x)
        np.copyto(y, x, casting="same_kind")


def _hardtan(y: F32) -> None:
    _clamp(y, -1, 1, y)


def _plse(y: F32) -> None:
    middle = _clamp(y, -4, 4, _scratch(y))
    np.subtract(y, middle, out=y)
    np.add(middle, 4, out=middle)
    np.multiply(middle, 0.125, out=middle)
    np.multiply(y, RELIE, out=y)
    np.add(y, middle, out=y)


def _lhtan(y: F32) -> None:
    middle = _clamp(y, 0, 1, _scratch(y))
    np.subtract(y, middle, out=y)
    with np.errstate(under="ignore"):
        np.multiply(y, np.float32(0.001), out=y)
    np.add(y, middle, out=y)


def _stair(y: F32) -> None:
    # half = floor(x/2); half on even floors, x - half - 1 on odd ones, which is
    # (x - floor(x)) + half without a rounding for x just below zero
    half = _scratch(y)
    odd = _scratch(y, 1)
    np.multiply(y, 0.5, out=half)
    np.floor(half, out=half)
    np.floor(y, out=odd)
    np.subtract(odd, half, out=odd)
    is_even = np.equal(odd, half)
    np.add(half, 1, out=odd)
    np.subtract(y, odd, out=y)
    np.copyto(y, half, where=is_even)


def _swish(y: F32) -> None:
    below = _scratch(y)
    with np.errstate(over="ignore", under="ignore"):  # e^-x = inf gives 0, as it should
        np.negative(y, out=below)
        np.exp(below, out=below)
        np.add(below, 1, out=below)
        np.divide(y, below, out=y)


def _mish(y: F32) -> None:
    # tanh(log(1 + e)) = n/(n + 2) with n = e*(e + 2); that is 1 in float32 from x = 9 on, so that
    # stopping at 20 costs nothing and keeps e*e finite.
    e = _clamp(y, -math.inf, 20, _scratch(y))
    n = _scratch(y, 1)
    with np.errstate(under="ignore"):
        np.exp(e, out=e)
        np.add(e, 2, out=n)
        np.multiply(n, e, out=n)
        np.add(n, 2, out=e)
        np.divide(n, e, out=n)
        np.multiply(y, n, out=y)


def _hard_mish(y: F32) -> None:
    bend = _clamp(y, -2, 0, _scratch(y))
    half = _scratch(y, 1)
    with np.errstate(under="ignore"):
        np.multiply(bend, 0.5, out=half)
    np.add(half, 1, out=half)
    np.multiply(bend, half, out=bend)
    _relu(y)
    np.add(y, bend, out=y)


def _normalize_channels(y: F32) -> None:
    _relu(y)
    total = np.add.reduce(y, axis=1, dtype=np.float64, keepdims=True)
    np.copyto(y, _wide(y) / (total + NORMALIZE_EPS), casting="same_kind")


def _softmax(y: F32, *, subtract_maximum: bool) -> None:
    """``e^x / (1e-4 + sum e^x)`` over the channels, of x or of x less its maximum."""
    x = _wide(y)
    top = np.max(x, axis=1, keepdims=True)
    eps = NORMALIZE_EPS
    if not subtract_maximum:  # the same value, but e^x stays finite
        np.maximum(top, 0, out=top)
        eps = eps * np.exp(-top)
    with np.errstate(under="ignore"):
        np.subtract(x, top, out=x)
        np.exp(x, out=x)
        np.divide(x, x.sum(axis=1, keepdims=True) + eps, out=x)
        np.copyto(y, x, casting="same_kind")


def _normalize_channels_softmax(y: F32) -> None:
    _softmax(y, subtract_maximum=False)


def _normalize_channels_softmax_maxval(y: F32) -> None:
    _softmax(y, subtract_maximum=True)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("linear", _linear),
        Activation("logistic", _logistic),
        Activation("loggy", _loggy),
        Activation("relu", _relu),
        Activation("relu6", _relu6, extended=True),
        Activation("elu", _elu),
        Activation("selu", _selu),
        Activation("gelu", _gelu, extended=True),
        Activation("relie", _relie),
        Activation("ramp", _ramp),
        Activation("leaky", _leaky),
        Activation("revleaky", _leaky, extended=True),
        Activation("tanh", _tanh),
        Activation("plse", _plse),
        Activation("stair", _stair),
        Activation("hardtan", _hardtan),
        Activation("lhtan", _lhtan),
        Activation("swish", _swish, extended=True),
        Activation("mish", _mish, extended=True),
        Activation("hard_mish", _hard_mish, extended=True),
        Activation("normalize_channels", _normalize_channels, extended=True, over_channels=True),
        Activation(
            "normalize_channels_softmax",
            _normalize_channels_softmax,
            extended=True,
            over_channels=True,
        ),
        Activation(
            "normalize_channels_softmax_maxval",
            _normalize_channels_softmax_maxval,
            extended=True,
            over_channels=True,
        ),
    )
}
