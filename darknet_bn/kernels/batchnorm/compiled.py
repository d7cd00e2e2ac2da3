"""Batch norm compiled: the loops of the C functions, all of a filter while it is in cache.

Each function has the parameters of its twin in numpy, in `forward` or `backward`.  Sums are in
float64, so they hardly depend on their order; everything else is rounded as in the twin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.batchnorm.blas import reciprocal
from darknet_bn.kernels.batchnorm.deltas import slopes_of_deltas
from darknet_bn.kernels.batchnorm.filters import in_c
from darknet_bn.kernels.batchnorm.operands import Deltas, Normalised
from darknet_bn.kernels.compiling import loop
from darknet_bn.work import measured
from darknet_bn.work.cuts import even
from darknet_bn.work.threads import workers

_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def pays(xs: F32) -> bool:
    """Return whether these loops are for activations (n, f, s) of this type, and faster."""
    long = xs.shape[2] >= measured.NORM_COMPILED_ROW
    return xs.dtype == np.float32 and (long or xs.size <= measured.NORM_COMPILED_FEW)


def train(xs: F32, p: Mapping[str, F32], dialect: Dialect, out: F32) -> tuple[F32, F32]:
    """Do what `forward.train` does."""
    n, f, s = xs.shape
    mean, variance = np.empty((2, f), np.float32)
    x, y = _in_order(xs), out if out.flags.c_contiguous else np.empty(xs.shape, np.float32)
    scales, biases = _in_order(p["scales"]), _in_order(p["biases"])
    eps, inside = float(np.float32(dialect.eps)), dialect.eps_inside_sqrt
    per_mean, per_variance = reciprocal(n * s, x), reciprocal(n * s - 1, x)

    def some(part: slice) -> None:
        _train(
            x, scales, biases, eps, inside, per_mean, per_variance, mean, variance, y,
            part.start, part.stop,
        )  # fmt: skip

    _share(some, x)
    if y is not out:
        np.copyto(out, y)
    return mean, variance


def exact(deltas: Deltas, trained: Normalised, dialect: Dialect) -> None:
    """Do what `backward.exact` does."""
    x, delta, mean = _in_order(trained.x), _in_order(deltas.delta), _in_order(trained.mean)
    y = deltas.out if deltas.out.flags.c_contiguous else np.empty(x.shape, np.float32)
    v = trained.variance.astype(np.float64)
    with in_c():
        sigma = dialect.sigma(v)
        gain = deltas.scales / sigma
        slope = -gain * dialect.sigma_slope(v) / sigma
    bias_updates, scale_updates = deltas.bias_updates, deltas.scale_updates
    mean_delta, variance_delta = deltas.mean_delta, deltas.variance_delta
    in_place = y.ctypes.data == delta.ctypes.data

    def some(part: slice) -> None:
        _exact(
            x, mean, delta, sigma, gain, slope, bias_updates, scale_updates, mean_delta,
            variance_delta, y, in_place, part.start, part.stop,
        )  # fmt: skip

    _share(some, x)
    if y is not deltas.out:
        np.copyto(deltas.out, y)


def as_coded(
    deltas: Deltas, normalised: Normalised, trained: Normalised, forward: Dialect, dialect: Dialect
) -> None:
    """Do what `backward.as_coded` does."""
    delta, scales = _in_order(deltas.delta), _in_order(deltas.scales)
    x, mean = _in_order(normalised.x), _in_order(normalised.mean)
    last_x, last_mean = _in_order(trained.x), _in_order(trained.mean)
    y = deltas.out if deltas.out.flags.c_contiguous else np.empty(x.shape, np.float32)
    trains_biases = dialect.batch_norm_trains_biases
    with in_c():
        last_gain = (1 / forward.sigma(trained.variance.astype(np.float64))).astype(np.float32)
        gain = (1 / dialect.delta_sigma(normalised.variance.astype(np.float64))).astype(np.float32)
        mean_slope, variance_slope = slopes_of_deltas(normalised.variance)
    bias_updates, scale_updates = deltas.bias_updates, deltas.scale_updates
    mean_delta, variance_delta = deltas.mean_delta, deltas.variance_delta
    in_place = y.ctypes.data == delta.ctypes.data

    def some(part: slice) -> None:
        _as_coded(
            x, mean, last_x, last_mean, last_gain, delta, scales, gain, mean_slope, variance_slope,
            trains_biases, bias_updates, scale_updates, mean_delta, variance_delta, y, in_place,
            part.start, part.stop,
        )  # fmt: skip

    _share(some, x)
    if y is not deltas.out:
        np.copyto(deltas.out, y)


def _in_order(x: F32) -> F32:
    """Return an array in C's order, a copy if it is not: loops over strides would be slower."""
    return np.require(x, requirements=["C", "A"])


def _share(task: Callable[[slice], None], x: F32) -> None:
    """Call ``task`` for all filters, on all threads if the work is worth it."""
    f, shared = x.shape[1], workers()
    parts = 1 if x.nbytes <= measured.NORM_COMPILED else 2 * shared.count
    shared.run(task, even(f, min(f, parts)))


# -- the loops -------------------------------------------------------------------------------------


@loop()
def _train(
    x: F32,
    scales: F32,
    biases: F32,
    eps: float,
    inside: bool,
    per_mean: np.float32,
    per_variance: np.float32,
    mean: F32,
    variance: F32,
    y: F32,
    first: int,
    end: int,
) -> None:
    """Normalise some filters, as ``forward_batchnorm_layer`` in C does."""
    n, _, s = x.shape
    for f in range(first, end):
        mean[f] = centre = np.float32(_sum(x, f)) * per_mean
        variance[f] = np.float32(_sum_of_squares(x, f, centre)) * per_variance
        gain = np.float32(1 / _sigma(variance[f], eps, inside))
        scale, bias = scales[f], biases[f]
        for i in range(n):
            for k in range(s):
                y[i, f, k] = (x[i, f, k] - centre) * gain * scale + bias


@loop()
def _exact(
    x: F32,
    mean: F32,
    delta: F32,
    sigma: F64,
    gain: F64,
    slope: F64,
    bias_updates: F32,
    scale_updates: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta_x: F32,
    in_place: bool,
    first: int,
    end: int,
) -> None:
    """Go backward through some filters: all sums in one pass, then the delta of the input."""
    n, _, s = x.shape
    for f in range(first, end):
        centre = mean[f]
        total, moment = _sums(x, f, centre, delta)
        bias_updates[f] += total
        scale_updates[f] += moment / sigma[f]
        mean_delta[f] = -total * gain[f]
        variance_delta[f] = moment * slope[f]
        of_delta = np.float32(gain[f])
        of_x = np.float32(moment * slope[f] * 2 / (n * s - 1))
        shift = np.float32(-total * gain[f] / (n * s))
        for i in range(n):
            if not in_place:  # in place below, whoever owns it: only so LLVM uses vectors for both
                delta_x[i, f] = delta[i, f]
            for k in range(s):
                d = x[i, f, k] - centre
                delta_x[i, f, k] = delta_x[i, f, k] * of_delta + (d * of_x + shift)


@loop()
def _as_coded(
    x: F32,
    mean: F32,
    last_x: F32,
    last_mean: F32,
    last_gain: F32,
    delta: F32,
    scales: F32,
    gain: F32,
    mean_slope: F64,
    variance_slope: F64,
    trains_biases: bool,
    bias_updates: F32,
    scale_updates: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta_x: F32,
    in_place: bool,
    first: int,
    end: int,
) -> None:
    """Go backward through some filters, as ``backward_batchnorm_layer`` in C does."""
    n, _, s = x.shape
    count = np.float32(n * s)
    for f in range(first, end):
        centre, scale, of_delta = mean[f], scales[f], gain[f]
        if trains_biases:
            bias_updates[f] += np.float32(_sum(delta, f))
        scale_updates[f] += np.float32(
            _sum_of_products(last_x, f, last_mean[f], last_gain[f], delta)
        )
        total, moment = _scaled_sums(x, f, centre, delta, scale)
        mean_delta[f] = total * mean_slope[f]
        variance_delta[f] = moment * variance_slope[f]
        of_x = np.float32(np.float64(variance_delta[f]) * 2.0 / (n * s))
        shift = mean_delta[f] / count
        for i in range(n):
            if not in_place:  # as above
                delta_x[i, f] = delta[i, f]
            for k in range(s):
                d = x[i, f, k] - centre
                delta_x[i, f, k] = delta_x[i, f, k] * scale * of_delta + (d * of_x + shift)


@loop()
def _sigma(variance: np.float32, eps: float, inside: bool) -> float:
    """Do what `Dialect.sigma` does."""
    v = float(variance)
    if abs(v) < _SMALLEST_NORMAL:
        v = 0.0
    return math.sqrt(v + eps) if inside else math.sqrt(v) + eps


@loop(reorders=True)
def _sum(x: F32, f: int) -> float:
    n, _, s = x.shape
    total = 0.0
    for i in range(n):
        for k in range(s):
            total += x[i, f, k]
    return total


@loop(reorders=True)
def _sum_of_squares(x: F32, f: int, centre: np.float32) -> float:
    n, _, s = x.shape
    total = 0.0
    for i in range(n):
        for k in range(s):
            d = np.float64(x[i, f, k] - centre)
            total += d * d
    return total


@loop(reorders=True)
def _sum_of_products(x: F32, f: int, centre: np.float32, gain: np.float32, delta: F32) -> float:
    """Return the sum of the delta times x_norm."""
    n, _, s = x.shape
    total = 0.0
    for i in range(n):
        for k in range(s):
            total += np.float64((x[i, f, k] - centre) * gain) * np.float64(delta[i, f, k])
    return total


@loop(reorders=True)
def _sums(x: F32, f: int, centre: np.float32, delta: F32) -> tuple[float, float]:
    """Return the sums of the delta, and of the delta times the centred x."""
    n, _, s = x.shape
    total = moment = 0.0
    for i in range(n):
        for k in range(s):
            d = np.float64(delta[i, f, k])
            total += d
            moment += d * np.float64(x[i, f, k] - centre)
    return total, moment


@loop(reorders=True)
def _scaled_sums(
    x: F32, f: int, centre: np.float32, delta: F32, scale: np.float32
) -> tuple[float, float]:
    """Do the same with the delta times the scale."""
    n, _, s = x.shape
    total = moment = 0.0
    for i in range(n):
        for k in range(s):
            d = np.float64(delta[i, f, k] * scale)
            total += d
            moment += d * np.float64(x[i, f, k] - centre)
    return total, moment
