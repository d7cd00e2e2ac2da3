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
from darknet_bn.work.cuts import even, fitting
from darknet_bn.work.threads import workers

_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def pays(xs: F32) -> bool:
    """Return whether these loops are for activations (n, f, s) of this type, and faster."""
    long = xs.shape[2] >= measured.NORM_COMPILED_ROW
    return xs.dtype == np.float32 and (long or xs.size <= measured.NORM_COMPILED_FEW)


def infer(xs: F32, p: Mapping[str, F32], dialect: Dialect, out: F32) -> None:
    """Do what `forward.infer` does, with the same bits."""
    x, y = _in_order(xs), out if out.flags.c_contiguous else np.empty(xs.shape, np.float32)
    mean, scales, biases = (_in_order(p[name]) for name in ("rolling_mean", "scales", "biases"))
    with in_c():
        sigma = dialect.sigma(p["rolling_variance"].astype(np.float64))
        gain = (1 / sigma).astype(np.float32)

    def some(part: slice) -> None:
        _infer(x, mean, gain, scales, biases, y, part.start, part.stop)

    _share(some, x)
    if y is not out:
        np.copyto(out, y)


def train(xs: F32, p: Mapping[str, F32], dialect: Dialect, out: F32) -> tuple[F32, F32]:
    """Do what `forward.train` does."""
    n, f, s = xs.shape
    (mean, variance), sums = np.empty((2, f), np.float32), np.zeros((2, f))
    x, y = _in_order(xs), out if out.flags.c_contiguous else np.empty(xs.shape, np.float32)
    scales, biases = _in_order(p["scales"]), _in_order(p["biases"])
    eps, inside = float(np.float32(dialect.eps)), dialect.eps_inside_sqrt
    at_once = _at_once(x)
    per_mean, per_variance = reciprocal(n * s, x.dtype), reciprocal(n * s - 1, x.dtype)

    def some(part: slice) -> None:
        _train(
            x, scales, biases, eps, inside, per_mean, per_variance, sums, mean, variance, y,
            part.start, part.stop, at_once,
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
    sums, at_once = np.zeros((2, len(mean))), _at_once(x)
    in_place = y.ctypes.data == delta.ctypes.data

    def some(part: slice) -> None:
        _exact(
            x, mean, delta, sigma, gain, slope, sums, bias_updates, scale_updates, mean_delta,
            variance_delta, y, in_place, part.start, part.stop, at_once,
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
    sums, at_once = np.zeros((4, len(mean))), _at_once(x)
    in_place = y.ctypes.data == delta.ctypes.data

    def some(part: slice) -> None:
        _as_coded(
            x, mean, last_x, last_mean, last_gain, delta, scales, gain, mean_slope, variance_slope,
            sums, trains_biases, bias_updates, scale_updates, mean_delta, variance_delta, y,
            in_place, part.start, part.stop, at_once,
        )  # fmt: skip

    _share(some, x)
    if y is not deltas.out:
        np.copyto(deltas.out, y)


def _in_order(x: F32) -> F32:
    """Return an array in C's order, a copy if it is not: loops over strides would be slower."""
    return np.require(x, requirements=["C", "A"])


def _at_once(x: F32) -> int:
    """Return for how many filters ``x`` stays in cache."""
    n, _, s = x.shape
    return fitting(measured.NORM_COMPILED_FILTERS, n * s * x.itemsize)


def _share(task: Callable[[slice], None], x: F32) -> None:
    """Call ``task`` for all filters, on all threads if the work is worth it."""
    f, shared = x.shape[1], workers()
    parts = 1 if x.nbytes <= measured.NORM_COMPILED else 2 * shared.count
    shared.run(task, even(f, min(f, parts)))


# -- the loops -------------------------------------------------------------------------------------
#
# Each works on some filters at a time, so that it finds in cache what it reads again.


@loop()
def _infer(
    x: F32, mean: F32, gain: F32, scales: F32, biases: F32, y: F32, first: int, end: int
) -> None:
    """Normalise some filters with the statistics that are given."""
    for i in range(len(x)):
        for f in range(first, end):
            _normalise(x[i, f], mean[f], gain[f], scales[f], biases[f], y[i, f])


@loop()
def _train(
    x: F32,
    scales: F32,
    biases: F32,
    eps: float,
    inside: bool,
    per_mean: np.float32,
    per_variance: np.float32,
    sums: F64,
    mean: F32,
    variance: F32,
    y: F32,
    first: int,
    end: int,
    at_once: int,
) -> None:
    """Normalise some filters, as ``forward_batchnorm_layer`` in C does."""
    gain = np.empty_like(mean)
    for begin in range(first, end, at_once):
        some = range(begin, min(begin + at_once, end))
        for i in range(len(x)):
            for f in some:
                sums[0, f] += _sum(x[i, f])
        for f in some:
            mean[f] = np.float32(sums[0, f]) * per_mean
        for i in range(len(x)):
            for f in some:
                sums[1, f] += _sum_of_squares(x[i, f], mean[f])
        for f in some:
            variance[f] = np.float32(sums[1, f]) * per_variance
            gain[f] = 1 / _sigma(variance[f], eps, inside)
        for i in range(len(x)):
            for f in some:
                _normalise(x[i, f], mean[f], gain[f], scales[f], biases[f], y[i, f])


@loop()
def _exact(
    x: F32,
    mean: F32,
    delta: F32,
    sigma: F64,
    gain: F64,
    slope: F64,
    sums: F64,
    bias_updates: F32,
    scale_updates: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta_x: F32,
    in_place: bool,
    first: int,
    end: int,
    at_once: int,
) -> None:
    """Go backward through some filters: all sums in one pass, then the delta of the input."""
    n, _, s = x.shape
    one = np.float32(1)
    of_delta, of_x, shift = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
    for begin in range(first, end, at_once):
        some = range(begin, min(begin + at_once, end))
        for i in range(n):
            for f in some:
                total, moment = _sums(x[i, f], mean[f], delta[i, f])
                sums[0, f] += total
                sums[1, f] += moment
        for f in some:
            bias_updates[f] += sums[0, f]
            scale_updates[f] += sums[1, f] / sigma[f]
            mean_delta[f] = -sums[0, f] * gain[f]
            variance_delta[f] = sums[1, f] * slope[f]
            of_delta[f] = gain[f]
            of_x[f] = sums[1, f] * slope[f] * 2 / (n * s - 1)
            shift[f] = -sums[0, f] * gain[f] / (n * s)
        for i in range(n):
            for f in some:
                if not in_place:
                    delta_x[i, f] = delta[i, f]
                _turn(delta_x[i, f], one, of_delta[f], x[i, f], mean[f], of_x[f], shift[f])


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
    sums: F64,
    trains_biases: bool,
    bias_updates: F32,
    scale_updates: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta_x: F32,
    in_place: bool,
    first: int,
    end: int,
    at_once: int,
) -> None:
    """Go backward through some filters, as ``backward_batchnorm_layer`` in C does."""
    n, _, s = x.shape
    of_x, shift = np.empty_like(mean), np.empty_like(mean)
    for begin in range(first, end, at_once):
        some = range(begin, min(begin + at_once, end))
        for i in range(n):
            for f in some:
                total, product, scaled, moment = _scaled_sums(
                    x[i, f],
                    mean[f],
                    last_x[i, f],
                    last_mean[f],
                    last_gain[f],
                    delta[i, f],
                    scales[f],
                )
                sums[0, f] += total
                sums[1, f] += product
                sums[2, f] += scaled
                sums[3, f] += moment
        for f in some:
            if trains_biases:
                bias_updates[f] += np.float32(sums[0, f])
            scale_updates[f] += np.float32(sums[1, f])
            mean_delta[f] = sums[2, f] * mean_slope[f]
            variance_delta[f] = sums[3, f] * variance_slope[f]
            of_x[f] = np.float64(variance_delta[f]) * 2.0 / (n * s)
            shift[f] = mean_delta[f] / np.float32(n * s)
        for i in range(n):
            for f in some:
                if not in_place:
                    delta_x[i, f] = delta[i, f]
                _turn(delta_x[i, f], scales[f], gain[f], x[i, f], mean[f], of_x[f], shift[f])


@loop()
def _sigma(variance: np.float32, eps: float, inside: bool) -> float:
    """Do what `Dialect.sigma` does."""
    v = float(variance)
    if abs(v) < _SMALLEST_NORMAL:
        v = 0.0
    return math.sqrt(v + eps) if inside else math.sqrt(v) + eps


@loop()
def _normalise(
    x: F32, mean: np.float32, gain: np.float32, scale: np.float32, bias: np.float32, y: F32
) -> None:
    """Do ``normalize_cpu``, ``scale_bias`` and ``add_bias`` for a row."""
    for k in range(len(x)):
        y[k] = (x[k] - mean) * gain * scale + bias


@loop()
def _turn(
    delta: F32,
    scale: np.float32,
    gain: np.float32,
    x: F32,
    mean: np.float32,
    of_x: np.float32,
    shift: np.float32,
) -> None:
    """Do ``scale_bias`` and ``normalize_delta_cpu`` for a row, in place as in C."""
    for k in range(len(x)):
        delta[k] = delta[k] * scale * gain + ((x[k] - mean) * of_x + shift)


@loop(reorders=True)
def _sum(x: F32) -> float:
    total = 0.0
    for k in range(len(x)):
        total += x[k]
    return total


@loop(reorders=True)
def _sum_of_squares(x: F32, mean: np.float32) -> float:
    total = 0.0
    for k in range(len(x)):
        d = np.float64(x[k] - mean)
        total += d * d
    return total


@loop(reorders=True)
def _sums(x: F32, mean: np.float32, delta: F32) -> tuple[float, float]:
    """Return the sums of the delta, and of the delta times the centred x."""
    total = moment = 0.0
    for k in range(len(x)):
        d = np.float64(delta[k])
        total += d
        moment += d * np.float64(x[k] - mean)
    return total, moment


@loop(reorders=True)
def _scaled_sums(
    x: F32,
    mean: np.float32,
    last_x: F32,
    last_mean: np.float32,
    last_gain: np.float32,
    delta: F32,
    scale: np.float32,
) -> tuple[float, float, float, float]:
    """Return the sums of the delta alone and times x_norm, and those of `_sums` for it scaled."""
    total = product = scaled = moment = 0.0
    for k in range(len(x)):
        d = np.float64(delta[k] * scale)
        total += delta[k]
        product += np.float64((last_x[k] - last_mean) * last_gain) * np.float64(delta[k])
        scaled += d
        moment += d * np.float64(x[k] - mean)
    return total, product, scaled, moment
