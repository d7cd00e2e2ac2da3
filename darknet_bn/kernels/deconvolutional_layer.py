"""A convolution backwards: every pixel is spread over a window.

C: pjreddie's ``src/deconvolutional_layer.c``, and ``src/col2im.c``.
"""

from __future__ import annotations

import math

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue
from darknet_bn.kernels.im2col import ConvGeometry
from darknet_bn.kernels.tiles import pieces, sharers
from darknet_bn.workers import workers

_COLUMNS = 1 << 18  # floats of columns in a tile: half the cache of a core
_FILTERS = 8  # in a tile at most: enough for a matrix product


def forward_deconvolutional_layer(
    x: F32, weights: F32, geometry: ConvGeometry, epilogue: Epilogue, out: F32
) -> None:
    """Spread every pixel over the window that its filters say.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    weights : float32 array (c, f, k, k)
    geometry : ConvGeometry
        Of the convolution from the output to the input: one stride, no groups, no dilation.
    epilogue : Epilogue
        What follows the sums.
    out : float32 array (n, f, oh, ow)
        Where the result goes.

    Notes
    -----
    C: ``forward_deconvolutional_layer`` in ``src/deconvolutional_layer.c`` without its batch norm.
    """
    n, c, h, w = x.shape
    f, k = weights.shape[1:3]
    matrix = weights.reshape(c, f * k * k)
    threads = sharers(n * weights.size * h * w, n * f * k * k * h * w)
    filters = max(1, min(_FILTERS, -(-n * f // threads), _COLUMNS // (k * k * w)))
    rows = max(1, min(h, _COLUMNS // (filters * k * k * w)))
    todo = [(i, some) for i in range(n) for some in pieces(f, filters)]

    def task(at: tuple[int, slice]) -> None:
        image, some = at
        pixels, y = x[image].reshape(c, h * w), out[image, some]
        taps = matrix[:, some.start * k * k : some.stop * k * k].T
        phases = _phases(len(y), h, w, geometry)
        phases.fill(0)
        for part in pieces(h, rows):
            seen = pixels[:, part.start * w : part.stop * w]
            columns = workers().scratch(len(taps) * seen.shape[1], "columns")
            columns = columns.reshape(len(taps), -1)
            np.matmul(taps, seen, out=columns)
            col2im_cpu(columns.reshape(len(y), k, k, -1, w), geometry, phases, part.start)
        _interleave(phases, geometry, y)
        epilogue.apply(y, some)

    workers().run(task, todo)


def _phases(filters: int, h: int, w: int, geometry: ConvGeometry) -> F32:
    """Borrow this thread's buffer for the sums of some filters, as `col2im_cpu` takes it."""
    more = (geometry.size - 1) // geometry.stride_x
    apart = min(geometry.size, geometry.stride_x)
    shape = (filters, apart, apart, h + more, w + more)
    return workers().scratch(math.prod(shape), "phases").reshape(shape)


def col2im_cpu(columns: F32, geometry: ConvGeometry, out: F32, first: int = 0) -> None:
    """Add to each pixel what all windows have at its place.

    Parameters
    ----------
    columns : float32 array (f, k, k, rows, w)
        What each tap adds, for some rows of windows.
    geometry : ConvGeometry
        Where the windows lie.
    out : float32 array (f, p, p, h', w')
        The image with its padding, as pixels that lie one stride apart: with a stride of s, pixel
        (y, x) is ``[y % s, x % s, y // s, x // s]``.  Those that no tap reaches are left out.
    first : int
        The number of the first row.

    Notes
    -----
    C: ``col2im_cpu`` in ``src/col2im.c``.  So arranged, taps less than a stride apart are added at
    once, and what lies side by side stays so.
    """
    k, (rows, w) = geometry.size, columns.shape[3:]
    stride = geometry.stride_x
    for top in range(0, k, stride):
        down = slice(first + top // stride, first + top // stride + rows)
        for left in range(0, k, stride):
            taps = columns[:, top : top + stride, left : left + stride]
            across = slice(left // stride, left // stride + w)
            sums = out[:, : taps.shape[1], : taps.shape[2], down, across]
            np.add(sums, taps, out=sums)


def _interleave(phases: F32, geometry: ConvGeometry, out: F32) -> None:
    """Put pixels that lie one stride apart into their places, without the padding."""
    stride, pad = geometry.stride_x, geometry.pad
    if geometry.size < stride:
        out.fill(0)
    for row in range(phases.shape[1]):
        y = (row - pad) % stride  # the first that is inside
        for column in range(phases.shape[2]):
            x = (column - pad) % stride
            target = out[:, y::stride, x::stride]
            down, across = (y + pad) // stride, (x + pad) // stride
            rows, columns = target.shape[1:]
            part = phases[:, row, column, down : down + rows, across : across + columns]
            np.copyto(target, part)
