"""How the batch norm functions sum over, and step along, the filters of (n, f, s).

These have no counterpart in C, where they are the loops.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import ShapeError
from darknet_bn.work import measured
from darknet_bn.work.cuts import Block, even, shares, tiles
from darknet_bn.work.threads import workers

T = TypeVar("T")


def sizes(x: F32) -> tuple[int, int, int]:
    """Return n, f and s of activations.

    Raises
    ------
    ShapeError
        If ``x`` does not have three axes.
    """
    if x.ndim != 3:
        raise ShapeError("activations have three axes", expected="(n, f, s)", found=str(x.shape))
    n, f, s = x.shape
    return n, f, s


def expect(name: str, array: npt.NDArray[np.floating], shape: tuple[int, ...]) -> None:
    """Raise a ShapeError that says what was expected and found, unless the shape is right."""
    if array.shape != shape:
        raise ShapeError(
            f"{name} does not fit the activations", expected=str(shape), found=str(array.shape)
        )


def in_c() -> np.errstate:
    """Compute with NaN and infinity without a warning, as C does."""
    return np.errstate(all="ignore")


def channel_sum(x: F32) -> F64:
    """Sum of each filter.

    Parameters
    ----------
    x : float32 or float64 array (n, f, s)

    Returns
    -------
    total : float64 array (f,)
        Sums of at most some 500 values are added in the type of ``x``, then in float64.
    """
    n, f, s = sizes(x)
    if s < measured.NORM_SHORT_SUM:
        columns = np.ones(n, x.dtype) @ x.reshape(n, f * s)
        return _fold(columns[None], f)
    piece = _piece(s)
    return _fold(x.reshape(n, f * (s // piece), piece) @ np.ones(piece, x.dtype), f)


def channel_dot(a: F32, b: F32) -> F64:
    """Sum of products for each filter.

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
    if s < measured.NORM_SHORT_SUM:
        columns = np.einsum("nk,nk->k", a.reshape(n, f * s), b.reshape(n, f * s))
        return _fold(columns[None], f)
    pieces = (n, f * (s // _piece(s)), _piece(s))
    products = a.reshape(pieces)[:, :, None, :] @ b.reshape(pieces)[:, :, :, None]
    return _fold(products[:, :, 0, 0], f)


def along_filters(
    step: np.ufunc, x: F32, name: str, values: F32 | F64, out: F32 | None = None
) -> F32:
    """Apply a ufunc to all elements of each filter and the one value of that filter.

    Parameters
    ----------
    step : ufunc of two arguments
    x : float32 or float64 array (n, f, s)
    name : str
        What the values are, for the message.
    values : float32 or float64 array (f,)
        First rounded to the type of ``x``.
    out : array like ``x``, optional
        Receives the result; may be ``x``.

    Returns
    -------
    array like ``x``

    Raises
    ------
    ShapeError
        If the number of values differs from the number of filters, or ``out`` from ``x`` in shape.
    """
    _, f, s = sizes(x)
    expect(name, values, (f,))
    if out is not None:
        expect("out", out, x.shape)
    short = f > 1 and 1 < s < measured.NORM_SHORT_STEP
    values = values.astype(x.dtype, copy=False)
    values = values.repeat(s).reshape(f, s) if short else values[:, None]
    result: F32
    if x.size < measured.NORM_FEW or (f * s if short else s) > measured.NORM_BUFFERED:
        result = step(x, values, out=out)
        return result
    before = np.setbufsize(measured.NORM_LEAST_BUFFER)
    try:
        result = step(x, values, out=out)
    finally:
        np.setbufsize(before)
    return result


def centred(x: F32, mean: F32 | None) -> Iterator[tuple[Block, F32]]:
    """Subtract the mean, one part at a time.

    Parameters
    ----------
    x : float32 or float64 array (n, f, s)
    mean : float32 or float64 array (f,), or None
        None if it has already been subtracted.

    Yields
    ------
    tile : two slices
        Which images and filters.
    d : array like ``x[tile]``
        A buffer of this thread that the next part overwrites; without a mean, ``x[tile]``.

    Raises
    ------
    ShapeError
        If the number of means differs from the number of filters.
    """
    if mean is not None:
        expect("mean", mean, sizes(x)[1:2])
    for tile in _tiles(x, measured.NORM_TILE):
        d = x[tile]
        if mean is not None:
            out = scratch_like(d, "centred")
            d = along_filters(np.subtract, d, "mean", mean[tile[1]], out=out)
        yield tile, d


def scratch_like(x: F32, purpose: str) -> F32:
    """Borrow a buffer of this thread, like ``x``, valid until its next use for this purpose."""
    return workers().scratch(x.size, f"batch norm {purpose}", x.dtype).reshape(x.shape)


def by_filter(x: F32) -> F32:
    """View activations (n, f, ...) as (n, f, s).

    Raises
    ------
    ShapeError
        If ``x`` has fewer than two axes.
    """
    if x.ndim < 2:
        raise ShapeError(
            "activations have two axes or more", expected="(n, f, ...)", found=str(x.shape)
        )
    n, f = x.shape[:2]
    return x.reshape(n, f, math.prod(x.shape[2:]))


def output_like(x: F32, out: F32 | None) -> tuple[F32, F32]:
    """Return ``out``, or a new array like ``x``; and the same memory viewed as (n, f, s).

    Raises
    ------
    ShapeError
        If the shape of ``out`` differs from ``x``, or it cannot be viewed as (n, f, s).
    """
    if out is None:
        out = np.empty(x.shape, x.dtype)
    expect("out", out, x.shape)
    view = by_filter(out)
    if not np.may_share_memory(view, out):
        raise ShapeError(
            "the pixels of out are not contiguous in memory",
            expected="a contiguous array",
            found=f"strides {out.strides}",
        )
    return out, view


def share_filters(task: Callable[[slice], None], x: F32) -> None:
    """Call ``task`` for all filters, in blocks that stay in cache, on all threads."""
    f = x.shape[1]
    _share(task, even(f, min(f, _parts(x))))


def share_tiles(task: Callable[[Block], None], x: F32) -> None:
    """Call ``task`` for all images and filters, in tiles that stay in cache, on all threads."""
    _share(task, list(_tiles(x, -(-x.nbytes // _parts(x)))))


def _share(task: Callable[[T], None], parts: list[T]) -> None:
    with workers().hold_blas():
        workers().run(task, parts)


def _fold(partials: F32, f: int) -> F64:
    """Sum (n, f * pieces) in float64 over the images and the pieces of each filter."""
    total: F64 = np.add.reduce(
        partials.reshape(len(partials), f, -1), axis=(0, 2), dtype=np.float64
    )
    return total


@functools.cache
def _piece(s: int) -> int:
    """Longest piece that divides a row of ``s`` pixels evenly; the whole row if all are short."""
    whole = (
        piece
        for piece in range(min(s, measured.NORM_PIECE), measured.NORM_SHORT_SUM // 2, -1)
        if s % piece == 0
    )
    return next(whole, s)


def _tiles(x: F32, size: int) -> Iterator[Block]:
    """Cut activations into parts of about ``size`` bytes: images, or some filters of one image."""
    n, f, s = sizes(x)
    return tiles(n, f, s * x.itemsize, size)


def _parts(x: F32) -> int:
    """Count the parts for the work on ``x``: equally many per thread, or one if ``x`` is small."""
    block = measured.NORM_BLOCK
    return 1 if x.nbytes <= block else shares(x.nbytes, block, workers().count)
