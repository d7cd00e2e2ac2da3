"""The backward pass of batch norm, function by function.  C: ``src/batchnorm_layer.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect, dialect_named
from darknet_bn.kernels.batchnorm.filters import (
    along_filters,
    centred,
    channel_dot,
    channel_sum,
    expect,
    in_c,
    scratch_like,
    sizes,
)
from darknet_bn.kernels.floating import floating

DELTA_EPS = np.float32(1e-5)  # in mean_delta_cpu and variance_delta_cpu of every Darknet


@floating
def backward_scale_cpu(x_norm: F32, delta: F32, scale_updates: F32, out: F32 | None = None) -> F32:
    """Add the sum of each filter's delta times x_norm to its scale update.

    Parameters
    ----------
    x_norm : float32 array (n, f, s)
        float64 is also accepted, here and below; the result has the same type.
    delta : float32 array (n, f, s)
        Delta of the scaled output, before `scale_bias` multiplies it.
    scale_updates : float32 array (f,)
    out : float32 array (f,), optional
        Receives the result; may be ``scale_updates``.

    Returns
    -------
    scale_updates : float32 array (f,)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``backward_scale_cpu`` in ``src/batchnorm_layer.c``, which accumulates in place.
    """
    with in_c():
        total = channel_dot(x_norm, delta)
        expect("scale_updates", scale_updates, total.shape)
        return np.add(scale_updates, total.astype(delta.dtype), out=out)


@floating
def mean_delta_cpu(delta: F32, variance: F32) -> F32:
    """Delta of each filter's mean.

    Parameters
    ----------
    delta : float32 array (n, f, s)
        Delta of the scaled output, already multiplied by the scales.
    variance : float32 array (f,)

    Returns
    -------
    mean_delta : float32 array (f,)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``mean_delta_cpu`` in ``src/batchnorm_layer.c``; eps is 1e-5, inside the root, in every
    Darknet.
    """
    expect("variance", variance, delta.shape[1:2])
    with in_c():
        slope, _ = slopes_of_deltas(variance)
        return (channel_sum(delta) * slope).astype(delta.dtype)


@floating
def variance_delta_cpu(x: F32, delta: F32, mean: F32 | None, variance: F32) -> F32:
    """Delta of each filter's variance.

    Parameters
    ----------
    x : float32 array (n, f, s)
    delta : float32 array (n, f, s)
        Delta of the scaled output, already multiplied by the scales.
    mean, variance : float32 arrays (f,)
        The mean may be None if it has already been subtracted from ``x``.

    Returns
    -------
    variance_delta : float32 array (f,)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``variance_delta_cpu`` in ``src/batchnorm_layer.c``; eps as in `mean_delta_cpu`.
    """
    _, f, _ = sizes(x)
    expect("delta", delta, x.shape)
    expect("variance", variance, (f,))
    total = np.zeros(f)
    with in_c():
        for tile, d in centred(x, mean):
            total[tile[1]] += channel_dot(delta[tile], d)
        _, slope = slopes_of_deltas(variance)
        return (total * slope).astype(x.dtype)


@floating
def normalize_delta_cpu(
    x: F32,
    mean: F32 | None,
    variance: F32,
    mean_delta: F32,
    variance_delta: F32,
    delta: F32,
    dialect: Dialect | str,
    out: F32 | None = None,
) -> F32:
    """Delta of the input of `normalize_cpu`.

    Parameters
    ----------
    x : float32 array (n, f, s)
    mean, variance, mean_delta, variance_delta : float32 arrays (f,)
        The mean may be None if it has already been subtracted from ``x``.
    delta : float32 array (n, f, s)
        Delta of the scaled output, already multiplied by the scales.
    dialect : Dialect or str
        Decides where eps enters the divisor of ``delta``.
    out : float32 array (n, f, s), optional
        Receives the result; may be ``delta``.

    Returns
    -------
    delta_x : float32 array (n, f, s)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``normalize_delta_cpu`` in ``src/batchnorm_layer.c``, which overwrites ``delta``.  As coded
    there, this is not quite the gradient of the forward pass: the variance term is divided by n*s,
    while the variance itself has the divisor n*s - 1, and the eps are different.
    """
    n, f, s = sizes(x)
    dialect = dialect_named(dialect)
    expect("delta", delta, x.shape)
    for name, values in (("variance", variance), ("mean_delta", mean_delta)):
        expect(name, values, (f,))
    expect("variance_delta", variance_delta, (f,))
    with in_c():
        gain = 1 / dialect.delta_sigma(variance.astype(np.float64))
        slope = variance_delta.astype(np.float64) * 2.0 / (n * s)
        shift = mean_delta / x.dtype.type(n * s)
        out = along_filters(np.multiply, delta, "variance", gain, out=out)
        for tile, d in centred(x, mean):
            filters, terms = tile[1], scratch_like(d, "terms")
            along_filters(np.multiply, d, "variance_delta", slope[filters], out=terms)
            along_filters(np.add, terms, "mean_delta", shift[filters], out=terms)
            np.add(out[tile], terms, out=out[tile])
    return out


@floating
def slopes_of_deltas(variance: F32) -> tuple[F64, F64]:
    """Return what `mean_delta_cpu` and `variance_delta_cpu` multiply their sums by.

    Parameters
    ----------
    variance : float32 array (f,)

    Returns
    -------
    of_mean, of_variance : float64 arrays (f,)
    """
    v = (variance + DELTA_EPS).astype(np.float64)
    return -1.0 / np.sqrt(v), -0.5 * v**-1.5
