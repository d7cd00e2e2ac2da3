"""Statistics of each filter, and Darknet's four strided helpers.  C: ``src/blas.c``.

Activations are (n, f, s): images, filters, pixels.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect, dialect_named
from darknet_bn.errors import ShapeError
from darknet_bn.kernels.batchnorm.filters import (
    along_filters,
    centred,
    channel_dot,
    channel_sum,
    expect,
    in_c,
    sizes,
)
from darknet_bn.kernels.floating import floating


@floating
def mean_cpu(x: F32) -> F32:
    """Mean of each filter over the batch and all pixels.

    Parameters
    ----------
    x : float32 array (n, f, s)
        float64 is also accepted, here and below; the result has the same type.

    Returns
    -------
    mean : float32 array (f,)

    Raises
    ------
    ShapeError
        If ``x`` does not have three axes.

    Notes
    -----
    C: ``mean_cpu`` in ``src/blas.c``, which adds the values one by one; for many values, this sum
    is more accurate.  Both multiply by the rounded reciprocal of n*s.
    """
    n, _, s = sizes(x)
    with in_c():
        return channel_sum(x).astype(x.dtype) * reciprocal(n * s, x.dtype)


@floating
def variance_cpu(x: F32, mean: F32 | None) -> F32:
    """Variance of each filter over the batch and all pixels, with the divisor n*s - 1.

    Parameters
    ----------
    x : float32 array (n, f, s)
    mean : float32 array (f,), or None
        None, here and below, means that it has already been subtracted from ``x``, once for several
        functions that each subtract it in C.

    Returns
    -------
    variance : float32 array (f,)
        NaN for filters with a single value, as in C, which computes 0 * inf.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``variance_cpu`` in ``src/blas.c``.
    """
    n, f, s = sizes(x)
    total = np.zeros(f)
    with in_c():
        for tile, d in centred(x, mean):
            total[tile[1]] += channel_dot(d, d)
        return total.astype(x.dtype) * reciprocal(n * s - 1, x.dtype)


@floating
def normalize_cpu(
    x: F32, mean: F32 | None, variance: F32, dialect: Dialect | str, out: F32 | None = None
) -> F32:
    """Shift and scale each filter to zero mean and unit variance.

    Parameters
    ----------
    x : float32 array (n, f, s)
    mean, variance : float32 arrays (f,)
        Batch statistics in training, rolling statistics in inference; the mean may be None.
    dialect : Dialect or str
        Decides where eps enters the divisor.
    out : float32 array (n, f, s), optional
        Receives the result; may be ``x``.

    Returns
    -------
    x_norm : float32 array (n, f, s)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``normalize_cpu`` in ``src/blas.c``.  The divisor is ``sqrt(v) + 1e-6`` in pjreddie on the
    CPU and ``sqrt(v + 1e-5)`` in AlexeyAB and hank-ai.  C overwrites ``x``.
    """
    dialect = dialect_named(dialect)
    with in_c():
        gain = 1 / dialect.sigma(variance.astype(np.float64))
        if mean is not None:
            x = out = along_filters(np.subtract, x, "mean", mean, out=out)
        return along_filters(np.multiply, x, "variance", gain, out=out)


@floating
def copy_cpu(x: F32, incx: int, y: F32, incy: int, out: F32 | None = None) -> F32:
    """Copy every ``incx``-th element of ``x`` to every ``incy``-th of ``y``.

    Parameters
    ----------
    x, y : float32 arrays of one axis
    incx, incy : int
        Steps, at least 1.
    out : float32 array like ``y``, optional
        Receives the result; ``y`` itself to do what C does.

    Returns
    -------
    y : float32 array like ``y``
        The elements between the steps are taken from ``y``.

    Raises
    ------
    ShapeError
        If the steps do not select as many elements of ``x`` as of ``y``.

    Notes
    -----
    C: ``copy_cpu`` in ``src/blas.c``; N is the number of elements that the steps select.
    """
    _expect_pair(x, incx, y, incy)
    out = _into(y, out)
    out[::incy] = x[::incx]
    return out


@floating
def axpy_cpu(alpha: float, x: F32, incx: int, y: F32, incy: int, out: F32 | None = None) -> F32:
    """Add ``alpha`` times every ``incx``-th element of ``x`` to every ``incy``-th of ``y``.

    Parameters
    ----------
    alpha : float
        Converted to float32, as in C.
    x, incx, y, incy, out
        As in `copy_cpu`.

    Returns
    -------
    y : float32 array like ``y``

    Raises
    ------
    ShapeError
        If the steps do not select as many elements of ``x`` as of ``y``.

    Notes
    -----
    C: ``axpy_cpu`` in ``src/blas.c``; the product is rounded before it is added.
    """
    _expect_pair(x, incx, y, incy)
    with in_c():
        product = x[::incx] * np.float32(alpha)
        out = _into(y, out)
        out[::incy] += product
    return out


@floating
def scal_cpu(alpha: float, x: F32, incx: int, out: F32 | None = None) -> F32:
    """Multiply every ``incx``-th element of ``x`` by ``alpha``.

    Parameters
    ----------
    alpha : float
        Converted to float32, as in C.
    x : float32 array of one axis
    incx : int
        Step, at least 1.
    out : float32 array like ``x``, optional
        Receives the result; ``x`` itself to do what C does.

    Returns
    -------
    x : float32 array like ``x``

    Raises
    ------
    ShapeError
        If ``x`` has more than one axis.

    Notes
    -----
    C: ``scal_cpu`` in ``src/blas.c``.
    """
    _expect_flat(x, incx)
    out = _into(x, out)
    with in_c():
        out[::incx] *= np.float32(alpha)
    return out


@floating
def fill_cpu(alpha: float, x: F32, incx: int, out: F32 | None = None) -> F32:
    """Set every ``incx``-th element of ``x`` to ``alpha``.

    Parameters
    ----------
    alpha, x, incx, out
        As in `scal_cpu`.

    Returns
    -------
    x : float32 array like ``x``

    Raises
    ------
    ShapeError
        If ``x`` has more than one axis.

    Notes
    -----
    C: ``fill_cpu`` in ``src/blas.c``.
    """
    _expect_flat(x, incx)
    out = _into(x, out)
    out[::incx] = np.float32(alpha)
    return out


def reciprocal(count: int, dtype: np.dtype[np.floating]) -> np.floating:
    """Return 1 / count in a type of floats; infinity for a count of 0."""
    return dtype.type(1 / count if count else np.inf)


def _expect_flat(x: F32, incx: int) -> None:
    if x.ndim != 1 or incx < 1:
        raise ShapeError(
            "a strided vector has one axis and a positive step",
            expected="shape (n,), step 1 or more",
            found=f"shape {x.shape}, step {incx}",
        )


def _expect_pair(x: F32, incx: int, y: F32, incy: int) -> None:
    _expect_flat(x, incx)
    _expect_flat(y, incy)
    if len(x[::incx]) != len(y[::incy]):
        raise ShapeError(
            "the steps select different numbers of elements",
            expected=f"{len(x[::incx])} as in x",
            found=f"{len(y[::incy])} in y",
        )


def _into(y: F32, out: F32 | None) -> F32:
    """Return ``out`` filled with ``y``, or a copy of ``y``."""
    if out is None:
        return y.copy()
    if out is not y:
        expect("out", out, y.shape)
        np.copyto(out, y)
    return out
