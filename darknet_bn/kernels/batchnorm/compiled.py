"""Batch norm compiled: the loops of the C functions, all of a filter while it is in cache.

Each function has the parameters of its twin in numpy, in `forward` or `backward`.  Sums are added
up in pieces, as in the twin; everything else is rounded as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.batchnorm.blas import reciprocal
from darknet_bn.kernels.batchnorm.deltas import DELTA_EPS
from darknet_bn.kernels.batchnorm.filters import in_c
from darknet_bn.kernels.batchnorm.operands import Deltas, Normalised
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.instructions import I64
from darknet_bn.kernels.team import ranges, shared_loop, threads
from darknet_bn.work import measured
from darknet_bn.work.cuts import even, fitting

_PIECE = measured.NORM_PIECE
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

    _infer(_parts(x), x, mean, gain, scales, biases, y)
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

    _train(
        _parts(x), x, scales, biases, eps, inside, per_mean, per_variance, sums, mean, variance, y,
        at_once,
    )  # fmt: skip
    if y is not out:
        np.copyto(out, y)
    return mean, variance


def exact(deltas: Deltas, trained: Normalised, dialect: Dialect) -> None:
    """Do what `backward.exact` does."""
    x, delta, mean = _in_order(trained.x), _in_order(deltas.delta), _in_order(trained.mean)
    y = deltas.out if deltas.out.flags.c_contiguous else np.empty(x.shape, np.float32)
    eps, inside = float(np.float32(dialect.eps)), dialect.eps_inside_sqrt
    sums, at_once = np.zeros((2, len(mean))), _at_once(x)
    in_place = np.may_share_memory(y, delta)  # they have the same shape
    _exact(
        _parts(x), x, mean, _in_order(trained.variance), eps, inside, delta,
        _in_order(deltas.scales), sums, deltas.bias_updates, deltas.scale_updates,
        deltas.mean_delta, deltas.variance_delta, y, in_place, at_once,
    )  # fmt: skip
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
    eps, inside = float(np.float32(forward.eps)), forward.eps_inside_sqrt
    sums, at_once = np.zeros((3, len(mean))), _at_once(x)
    _as_coded(
        _parts(x), x, mean, _in_order(normalised.variance), dialect.delta_eps_inside_sqrt,
        normalised is not trained, last_x, last_mean, _in_order(trained.variance), eps, inside,
        delta, scales, sums, dialect.batch_norm_trains_biases, deltas.bias_updates,
        deltas.scale_updates, deltas.mean_delta, deltas.variance_delta, y,
        np.may_share_memory(y, delta), at_once,
    )  # fmt: skip
    if y is not deltas.out:
        np.copyto(deltas.out, y)


def _in_order(x: F32) -> F32:
    """Return an array in C's order, a copy if it is not: loops over strides would be slower."""
    fits = x.flags.c_contiguous and x.flags.aligned
    return x if fits else np.require(x, requirements=["C", "A"])


def _at_once(x: F32) -> int:
    """Return for how many filters ``x`` stays in cache."""
    n, _, s = x.shape
    return fitting(measured.NORM_COMPILED_FILTERS, n * s * x.itemsize)


def _parts(x: F32) -> I64:
    """Cut all filters into parts: one, unless the work is worth sharing."""
    f = x.shape[1]
    parts = 1 if x.nbytes <= measured.NORM_COMPILED else threads()
    if x.nbytes > measured.NORM_COMPILED_PARTS:
        parts *= 2
    return ranges(even(f, min(f, parts)))


# -- the loops -------------------------------------------------------------------------------------
#
# Each works on some filters at a time, so that it finds in cache what it reads again.


@shared_loop()
def _infer(part: I64, x: F32, mean: F32, gain: F32, scales: F32, biases: F32, y: F32) -> None:
    """Normalise some filters with the statistics that are given."""
    for i in range(len(x)):
        for f in range(part[0], part[1]):
            _normalise(x[i, f], mean[f], gain[f], scales[f], biases[f], y[i, f])


@shared_loop()
def _train(
    part: I64,
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
    at_once: int,
) -> None:
    """Normalise some filters, as ``forward_batchnorm_layer`` in C does."""
    gain = np.empty_like(mean)
    for begin in range(part[0], part[1], at_once):
        some = range(begin, min(begin + at_once, part[1]))
        for i in range(len(x)):
            for f in some:
                sums[0, f] += _sum(x[i, f])
        for f in some:
            mean[f] = np.float32(sums[0, f]) * per_mean
        for i in range(len(x) - 1, -1, -1):  # what was read last is still in cache
            for f in some:
                sums[1, f] += _sum_of_squares(x[i, f], mean[f])
        for f in some:
            variance[f] = np.float32(sums[1, f]) * per_variance
            gain[f] = 1 / _sigma(variance[f], eps, inside)
        for i in range(len(x)):
            for f in some:
                _normalise(x[i, f], mean[f], gain[f], scales[f], biases[f], y[i, f])


@shared_loop()
def _exact(
    part: I64,
    x: F32,
    mean: F32,
    variance: F32,
    eps: float,
    inside: bool,
    delta: F32,
    scales: F32,
    sums: F64,
    bias_updates: F32,
    scale_updates: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta_x: F32,
    in_place: bool,
    at_once: int,
) -> None:
    """Go backward through some filters: all sums in one pass, then the delta of the input."""
    n, _, s = x.shape
    one = np.float32(1)
    of_delta, of_x, shift = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
    for begin in range(part[0], part[1], at_once):
        some = range(begin, min(begin + at_once, part[1]))
        for i in range(n):
            for f in some:
                total, moment = _sums(x[i, f], mean[f], delta[i, f])
                sums[0, f] += total
                sums[1, f] += moment
        for f in some:
            sigma = _sigma(variance[f], eps, inside)
            gain = scales[f] / sigma
            slope = -gain * _sigma_slope(variance[f], eps, inside) / sigma
            bias_updates[f] += sums[0, f]
            scale_updates[f] += sums[1, f] / sigma
            mean_delta[f] = -sums[0, f] * gain
            variance_delta[f] = sums[1, f] * slope
            of_delta[f] = gain
            of_x[f] = sums[1, f] * slope * 2 / (n * s - 1)
            shift[f] = -sums[0, f] * gain / (n * s)
        for i in range(n - 1, -1, -1):  # what was read last is still in cache
            for f in some:
                if not in_place:
                    delta_x[i, f] = delta[i, f]
                _turn(delta_x[i, f], one, of_delta[f], x[i, f], mean[f], of_x[f], shift[f])


@shared_loop()
def _as_coded(
    part: I64,
    x: F32,
    mean: F32,
    variance: F32,
    delta_inside: bool,
    apart: bool,
    last_x: F32,
    last_mean: F32,
    last_variance: F32,
    eps: float,
    inside: bool,
    delta: F32,
    scales: F32,
    sums: F64,
    trains_biases: bool,
    bias_updates: F32,
    scale_updates: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta_x: F32,
    in_place: bool,
    at_once: int,
) -> None:
    """Go backward through some filters, as ``backward_batchnorm_layer`` in C does.

    What all terms of a sum are multiplied by, the sum is multiplied by.
    """
    n, _, s = x.shape
    gain, of_x, shift = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
    for begin in range(part[0], part[1], at_once):
        some = range(begin, min(begin + at_once, part[1]))
        for i in range(n):
            for f in some:
                total, moment = _sums(x[i, f], mean[f], delta[i, f])
                sums[0, f] += total
                sums[1, f] += moment
                if apart:
                    moment = _sums(last_x[i, f], last_mean[f], delta[i, f])[1]
                sums[2, f] += moment
        for f in some:
            root = math.sqrt(float(variance[f] + DELTA_EPS))
            gain[f] = 1 / _sigma(variance[f], float(DELTA_EPS), delta_inside)
            if trains_biases:
                bias_updates[f] += np.float32(sums[0, f])
            scale_updates[f] += np.float32(sums[2, f] / _sigma(last_variance[f], eps, inside))
            mean_delta[f] = -sums[0, f] * scales[f] / root
            variance_delta[f] = -0.5 * sums[1, f] * scales[f] / (root * root * root)
            of_x[f] = np.float64(variance_delta[f]) * 2.0 / (n * s)
            shift[f] = mean_delta[f] / np.float32(n * s)
        for i in range(n - 1, -1, -1):
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
def _sigma_slope(variance: np.float32, eps: float, inside: bool) -> float:
    """Do what `Dialect.sigma_slope` does."""
    root = _sigma(variance, eps if inside else 0.0, True)
    return 0.5 / root if root != 0 else 0.0


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


# Values of a row are added up in float32, some hundred at a time, and these sums in float64.


@loop(reorders=True)
def _sum(x: F32) -> float:
    total = 0.0
    for begin in range(0, len(x), _PIECE):
        piece, part = x[begin : begin + _PIECE], np.float32(0)
        for k in range(len(piece)):
            part += piece[k]
        total += float(part)
    return total


@loop(reorders=True)
def _sum_of_squares(x: F32, mean: np.float32) -> float:
    total = 0.0
    for begin in range(0, len(x), _PIECE):
        piece, part = x[begin : begin + _PIECE], np.float32(0)
        for k in range(len(piece)):
            d = piece[k] - mean
            part += d * d
        total += float(part)
    return total


@loop(reorders=True)
def _sums(x: F32, mean: np.float32, delta: F32) -> tuple[float, float]:
    """Return the sums of the delta, and of the delta times the centred x."""
    total = moment = 0.0
    for begin in range(0, len(x), _PIECE):
        piece, deltas = x[begin : begin + _PIECE], delta[begin : begin + _PIECE]
        some, product = np.float32(0), np.float32(0)
        for k in range(len(piece)):
            some += deltas[k]
            product += deltas[k] * (piece[k] - mean)
        total += float(some)
        moment += float(product)
    return total, moment
