"""The activation functions over all channels of a pixel: value, slope and ONNX form of each.

Blocks are (1, c, ...): a value function changes one in place, a slope function multiplies a block
of deltas in place.
C: ``activate_array_normalize_channels`` and the like in AlexeyAB's ``src/activations.c``.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.activations.bends import relu
from darknet_bn.kernels.activations.buffers import wide_copy
from darknet_bn.kernels.activations.row import Operators, V

_EPS = 1e-4


def normalize_channels(y: F32) -> None:
    """``max(x, 0) / (1e-4 + sum max(x, 0))``."""
    relu(y)
    total = np.add.reduce(y, axis=1, dtype=np.float64, keepdims=True)
    np.copyto(y, wide_copy(y) / (total + _EPS), casting="same_kind")


def normalize_channels_slope(delta: F32, x: F32) -> None:
    """Multiply by the whole Jacobian, at the input."""
    kept, wide = np.maximum(x.astype(np.float64), 0), delta.astype(np.float64)
    total = kept.sum(axis=1, keepdims=True) + _EPS
    shared = (wide * kept).sum(axis=1, keepdims=True) / total
    np.copyto(delta, (wide - shared) / total * (x > 0), casting="same_kind")


def normalize_channels_slope_as_coded(delta: F32, y: F32) -> None:
    """One sum for all channels where y > 0, as the programs compute it."""
    slope = _shared(delta, y)[1].astype(y.dtype)
    np.multiply(delta, slope, out=delta, where=np.greater(y, 0))


def normalize_channels_onnx(graph: Operators[V], x: V) -> V:
    """Four operators."""
    positive = graph.add("Relu", x)
    total = graph.shifted(graph.reduce("ReduceSum", positive, 1), _EPS)
    return graph.add("Div", positive, total)


def softmax(y: F32) -> None:
    """``e^x / (1e-4 + sum e^x)``."""
    _softmax(y, subtract_maximum=False)


def softmax_slope(delta: F32, y: F32) -> None:
    """Multiply by the whole Jacobian, at the output."""
    wide, shared = _shared(delta, y)
    np.copyto(delta, y * (wide - shared), casting="same_kind")


def softmax_onnx(graph: Operators[V], x: V) -> V:
    """Keep e^x finite without changing the value."""
    # less the maximum, with eps scaled to match
    top = graph.add("Relu", graph.reduce("ReduceMax", x, 1))
    eps = graph.scaled(graph.add("Exp", graph.add("Neg", top)), _EPS)
    shares = graph.add("Exp", graph.add("Sub", x, top))
    total = graph.reduce("ReduceSum", shares, 1)
    return graph.add("Div", shares, graph.add("Add", total, eps))


def softmax_maxval(y: F32) -> None:
    """``e^(x - max x) / (1e-4 + sum e^(x - max x))``."""
    _softmax(y, subtract_maximum=True)


def softmax_maxval_slope(delta: F32, y: F32) -> None:
    """Multiply by the whole Jacobian, at the output."""
    # The subtracted maximum cancels, except for the small number in the divisor.
    wide, shared = _shared(delta, y)
    result = y * (wide - shared)
    top = np.equal(y, y.max(axis=1, keepdims=True))
    missing = 1 - y.sum(axis=1, keepdims=True, dtype=np.float64)
    result -= top * (shared * missing)
    np.copyto(delta, result, casting="same_kind")


def softmax_maxval_onnx(graph: Operators[V], x: V) -> V:
    """Write the formula as it is."""
    shares = graph.add("Exp", graph.add("Sub", x, graph.reduce("ReduceMax", x, 1)))
    total = graph.shifted(graph.reduce("ReduceSum", shares, 1), _EPS)
    return graph.add("Div", shares, total)


def softmax_slope_as_coded(delta: F32, y: F32) -> None:
    """One sum for all channels, as the programs compute it."""
    np.multiply(delta, _shared(delta, y)[1].astype(y.dtype), out=delta)


def _softmax(y: F32, *, subtract_maximum: bool) -> None:
    """``e^x / (1e-4 + sum e^x)`` over the channels, for x or for x minus its maximum."""
    x = wide_copy(y)
    top = np.max(x, axis=1, keepdims=True)
    eps = _EPS
    if not subtract_maximum:  # the same value, but e^x stays finite
        np.maximum(top, 0, out=top)
        eps = eps * np.exp(-top)
    with np.errstate(under="ignore"):
        np.subtract(x, top, out=x)
        np.exp(x, out=x)
        np.divide(x, x.sum(axis=1, keepdims=True) + eps, out=x)
        np.copyto(y, x, casting="same_kind")


def _shared(delta: F32, y: F32) -> tuple[F64, F64]:
    """Return delta in float64, and the sum of delta times y over the channels of each pixel."""
    wide = delta.astype(np.float64)
    return wide, (wide * y).sum(axis=1, keepdims=True)
