"""The exact gradient of batch norm in training; C has another, near to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.channels import along_filters, channel_dot, channel_sum, in_c, sizes


class Sums(NamedTuple):
    """What the way back adds up over each filter: float64 arrays (f,)."""

    bias_updates: F64
    scale_updates: F64
    mean_delta: F64
    variance_delta: F64


def exact_batchnorm_delta(
    d: F32, delta: F32, scales: F32, variance: F32, dialect: Dialect, out: F32
) -> Sums:
    """Derive the forward pass as it is computed: its eps, and its divisor of the variance.

    Parameters
    ----------
    d : float32 array (n, f, s)
        The input with the mean of each filter subtracted; overwritten.
    delta : float32 array (n, f, s)
        Of the output.
    scales, variance : float32 arrays (f,)
    dialect : Dialect
    out : float32 array (n, f, s)
        Where the delta of the input goes; may be ``delta``.

    Returns
    -------
    Sums
    """
    n, _, s = sizes(d)
    with in_c():
        sigma = dialect.sigma(variance.astype(np.float64))
        total, moment = channel_sum(delta), channel_dot(delta, d)
        gain = scales / sigma
        mean_delta = -total * gain
        variance_delta = -moment * gain * dialect.sigma_slope(variance.astype(np.float64)) / sigma
        along_filters(np.multiply, d, "slope", variance_delta * 2 / (n * s - 1), out=d)
        along_filters(np.add, d, "shift", mean_delta / (n * s), out=d)
        along_filters(np.multiply, delta, "gain", gain, out=out)
        np.add(out, d, out=out)
        return Sums(total, moment / sigma, mean_delta, variance_delta)
