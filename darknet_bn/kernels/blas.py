"""Statistics of each filter, and Darknet's four strided helpers.  C: ``src/blas.c``.

Activations are (n, f, s): images, filters, pixels.  ``channel_sum``, ``channel_dot`` and
``per_channel`` have no twin in C, where they are the loops: they are how all batch norm functions
add up over, and broadcast along, the filters.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ShapeError
from darknet_bn.workers import workers

_TILE_BYTES = 1 << 20  # of intermediate values at a time: half the second-level cache of a core
_SHORT_ROW = 64  # pixels; below, it is faster to add up over the images first
_LONG_ROW = 4096  # pixels; below, numpy is faster with (f, s) than with (f, 1) broadcast to it
_PIECE = 512  # values that are added up in float32; the pieces are added in float64


def mean_cpu(x: F32) -> F32:
    """Mean of each filter over the batch and all pixels.

    Parameters
    ----------
    x : float32 array (n, f, s)
        Or float64, here and below; the result is of the same type.

    Returns
    -------
    mean : float32 array (f,)

    Raises
    ------
    ShapeError
        If ``x`` has not three axes.

    Notes
    -----
    C: ``mean_cpu`` in ``src/blas.c``, which adds the values one by one; on many values this sum is
    the more accurate one.  Both multiply by the rounded reciprocal of n*s.
    """
    n, _, s = sizes(x)
    with as_in_c():
        return channel_sum(x).astype(x.dtype) * _reciprocal(n * s, x)


def variance_cpu(x: F32, mean: F32) -> F32:
    """Variance of each filter over the batch and all pixels, with the divisor n*s - 1.

    Parameters
    ----------
    x : float32 array (n, f, s)
    mean : float32 array (f,)

    Returns
    -------
    variance : float32 array (f,)
        NaN where there is one value a filter, as in C, which computes 0 * inf.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Notes
    -----
    C: ``variance_cpu`` in ``src/blas.c``.
    """
    n, f, s = sizes(x)
    expect("mean", mean, (f,))
    total = np.zeros(f)
    with as_in_c():
        for tile in tiles(x):
            d = scratch_like(x[tile])
            np.subtract(x[tile], per_channel("mean", mean[tile[1]], d), out=d)
            total[tile[1]] += channel_dot(d, d)
        return total.astype(x.dtype) * _reciprocal(n * s - 1, x)


def normalize_cpu(
    x: F32, mean: F32, variance: F32, dialect: Dialect, out: F32 | None = None
) -> F32:
    """Shift and scale each filter to zero mean and unit variance.

    Parameters
    ----------
    x : float32 array (n, f, s)
    mean, variance : float32 arrays (f,)
        Of the batch in training, rolling in inference.
    dialect : Dialect
        Says where eps enters the divisor.
    out : float32 array (n, f, s), optional
        Where the result goes; may be ``x``.

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
    with as_in_c():
        out = np.subtract(x, per_channel("mean", mean, x), out=out)
        return np.divide(out, per_channel("variance", dialect.sigma(variance), x), out=out)


def copy_cpu(x: F32, incx: int, y: F32, incy: int, out: F32 | None = None) -> F32:
    """Copy every ``incx``-th element of ``x`` to every ``incy``-th of ``y``.

    Parameters
    ----------
    x, y : float32 arrays of one axis
    incx, incy : int
        Steps, at least 1.
    out : float32 array like ``y``, optional
        Where the result goes; ``y`` itself for what C does.

    Returns
    -------
    y : float32 array like ``y``
        The elements between the steps are those of ``y``.

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


def axpy_cpu(alpha: float, x: F32, incx: int, y: F32, incy: int, out: F32 | None = None) -> F32:
    """Add ``alpha`` times every ``incx``-th element of ``x`` to every ``incy``-th of ``y``.

    Parameters
    ----------
    alpha : float
        Taken as float32, as in C.
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
    with as_in_c():
        product = x[::incx] * np.float32(alpha)
        out = _into(y, out)
        out[::incy] += product
    return out


def scal_cpu(alpha: float, x: F32, incx: int, out: F32 | None = None) -> F32:
    """Multiply every ``incx``-th element of ``x`` by ``alpha``.

    Parameters
    ----------
    alpha : float
        Taken as float32, as in C.
    x : float32 array of one axis
    incx : int
        Step, at least 1.
    out : float32 array like ``x``, optional
        Where the result goes; ``x`` itself for what C does.

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
    with as_in_c():
        out[::incx] *= np.float32(alpha)
    return out


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


def sizes(x: F32) -> tuple[int, int, int]:
    """Return n, f and s of activations.

    Raises
    ------
    ShapeError
        If ``x`` has not three axes.
    """
    if x.ndim != 3:
        raise ShapeError("activations have three axes", expected="(n, f, s)", found=str(x.shape))
    n, f, s = x.shape
    return n, f, s


def as_in_c() -> np.errstate:
    """Compute on with NaN and infinity, without a warning, as C does."""
    return np.errstate(all="ignore")


def channel_sum(x: F32) -> F64:
    """Sum of each filter.

    Parameters
    ----------
    x : float32 or float64 array (n, f, s)

    Returns
    -------
    total : float64 array (f,)
        Of pieces of at most some 500 values that were added in the type of ``x``, in another
        order than C's.
    """
    n, f, s = sizes(x)
    if s < _SHORT_ROW:
        columns = np.ones(n, x.dtype) @ x.reshape(n, f * s)
        return columns.reshape(f, s).sum(axis=1, dtype=np.float64)
    piece = _piece(s)
    rows = x.reshape(n, f * (s // piece), piece) @ np.ones(piece, x.dtype)
    return rows.sum(axis=0, dtype=np.float64).reshape(f, s // piece).sum(axis=1)


def channel_dot(a: F32, b: F32) -> F64:
    """Sum of the products of each filter.

    Parameters
    ----------
    a, b : float32 or float64 arrays (n, f, s)

    Returns
    -------
    total : float64 array (f,)
        Added up as in `channel_sum`.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    n, f, s = sizes(a)
    expect("the second array", b, a.shape)
    if s < _SHORT_ROW:
        columns = np.einsum("nk,nk->k", a.reshape(n, f * s), b.reshape(n, f * s))
        return columns.reshape(f, s).sum(axis=1, dtype=np.float64)
    pieces = (n, f * (s // _piece(s)), _piece(s))
    rows = a.reshape(pieces)[:, :, None, :] @ b.reshape(pieces)[:, :, :, None]
    return rows.sum(axis=0, dtype=np.float64).reshape(f, -1).sum(axis=1)


def per_channel(name: str, values: F32 | F64, x: F32) -> F32:
    """Shape one value a filter so that it broadcasts to ``x``.

    Parameters
    ----------
    name : str
        What the values are, for the message.
    values : float32 or float64 array (f,)
    x : float32 or float64 array (n, f, s)

    Returns
    -------
    values : array (f, 1) or (f, s), of the type of ``x``

    Raises
    ------
    ShapeError
        If there is not one value a filter.
    """
    n, f, s = sizes(x)
    expect(name, values, (f,))
    values = values.astype(x.dtype, copy=False)
    if n > 1 and f > 1 and 1 < s < _LONG_ROW:
        return np.repeat(values, s).reshape(f, s)
    return values[:, None]


def tiles(x: F32) -> Iterator[tuple[slice, slice]]:
    """Cut activations into parts of images and filters that stay in the cache of one core.

    Parameters
    ----------
    x : float32 or float64 array (n, f, s)

    Yields
    ------
    images, filters : slices
        Whole images, or where one image is too large, some filters of one.
    """
    n, f, s = sizes(x)
    images = max(1, _TILE_BYTES // max(1, f * s * x.itemsize))
    filters = f if images > 1 else max(1, _TILE_BYTES // max(1, s * x.itemsize))
    for image in range(0, n, images):
        for first in range(0, f, filters):
            yield slice(image, min(n, image + images)), slice(first, min(f, first + filters))


def scratch_like(x: F32) -> F32:
    """Borrow a buffer of this thread with shape and type of ``x``, valid until the next call."""
    buffer = workers().scratch(x.nbytes // np.float32().nbytes, "batch norm")
    return buffer.view(x.dtype).reshape(x.shape)


def expect(name: str, array: npt.NDArray[np.floating], shape: tuple[int, ...]) -> None:
    """Raise a ShapeError that says what was expected and found, unless the shape is right."""
    if array.shape != shape:
        raise ShapeError(
            f"{name} does not fit the activations", expected=str(shape), found=str(array.shape)
        )


@functools.cache
def _piece(s: int) -> int:
    """Longest part of which a row of ``s`` pixels has a whole number; the row if all are short."""
    whole = (piece for piece in range(min(s, _PIECE), _SHORT_ROW - 1, -1) if s % piece == 0)
    return next(whole, s)


def _reciprocal(count: int, x: F32) -> np.floating:
    """1 / count in the type of ``x``; infinity for none."""
    return x.dtype.type(np.divide(1.0, count))


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
    """Return ``out`` holding ``y``, or a copy of ``y``."""
    if out is None:
        return y.copy()
    if out is not y:
        expect("out", out, y.shape)
        np.copyto(out, y)
    return out
