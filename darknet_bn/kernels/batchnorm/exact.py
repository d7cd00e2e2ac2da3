"""The exact gradient of batch norm in training; the C code uses one that is close to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect, dialect_named
from darknet_bn.kernels.batchnorm.filters import (
    along_filters,
    channel_dot,
    channel_sum,
    in_c,
    scratch_like,
    sizes,
)
from darknet_bn.kernels.floating import floating

_NEAR = 4.0  # deviations: a mean this close to 0 need not be subtracted from each value


class Sums(NamedTuple):
    """The sums over each filter in the backward pass: float64 arrays (f,)."""

    bias_updates: F64
    scale_updates: F64
    mean_delta: F64
    variance_delta: F64


@floating
def exact_batchnorm_delta(
    x: F32, mean: F32, delta: F32, scales: F32, variance: F32, dialect: Dialect | str, out: F32
) -> Sums:
    """Differentiate the forward pass as computed, with its eps and its divisor of the variance.

    Parameters
    ----------
    x : float32 array (n, f, s)
    mean : float32 array (f,)
    delta : float32 array (n, f, s)
        Delta of the output.
    scales, variance : float32 arrays (f,)
    dialect : Dialect or str
    out : float32 array (n, f, s)
        Receives the delta of the input; may be ``delta``.

    Returns
    -------
    Sums
    """
    n, _, s = sizes(x)
    dialect = dialect_named(dialect)
    centre, v = mean.astype(np.float64), variance.astype(np.float64)
    d, terms = x, scratch_like(out, "terms")
    with in_c():
        if not (np.abs(centre) <= _NEAR * np.sqrt(v)).all():
            d = along_filters(np.subtract, x, "mean", mean, out=terms)
            centre = np.zeros_like(centre)
        sigma = dialect.sigma(v)
        total = channel_sum(delta)
        moment = channel_dot(delta, d) - centre * total
        gain = scales / sigma
        mean_delta = -total * gain
        variance_delta = -moment * gain * dialect.sigma_slope(v) / sigma
        slope = variance_delta * 2 / (n * s - 1)
        shift = mean_delta / (n * s) - slope * centre
        along_filters(np.multiply, d, "slope", slope, out=terms)
        along_filters(np.add, terms, "shift", shift, out=terms)
        along_filters(np.multiply, delta, "gain", gain, out=out)
        np.add(out, terms, out=out)
        return Sums(total, moment / sigma, mean_delta, variance_delta)
