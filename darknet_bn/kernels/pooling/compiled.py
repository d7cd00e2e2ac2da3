"""Pooling compiled: windows go along the maxima of the rows that they cover, one row at a time.

Each function has the parameters of its twin in numpy, and gives the same values.  If the largest
ones of a window are zeros of both signs, the sign may differ: numpy leaves it to the processor.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.pooling.windows import LOWEST, Window
from darknet_bn.work.cuts import Block, pieces, run_blocks
from darknet_bn.work.threads import workers

_LOWEST = np.float32(LOWEST)


def pays(x: F32, window: Window, out: F32) -> bool:
    """Return whether the loops are for such arrays, and faster."""
    if x.dtype != np.float32 or window.stride_x > 2:
        return False
    return window.size <= (2, 3)[window.stride_x - 1]


def largest(x: F32, window: Window, out: F32) -> None:
    """Do what `maximum.forward_maxpool_layer` does."""
    n, c, h, w = x.shape
    size, before = window.size, window.padding // 2
    across, down = window.stride_x, window.stride_y
    ow = out.shape[3]
    wide = max(before + w, (ow - 1) * across + size) + 1

    def block(at: Block) -> None:
        some, y = np.require(x[at], requirements=["C", "A"]), out[at]
        row = workers().scratch(wide, "pool row")
        at_once = len(y) if y.flags.c_contiguous else 1
        for images in pieces(len(y), at_once):
            _largest(some[images], size, across, down, before, row, y[images])

    run_blocks(block, n, c, h * w)


# -- the loops -------------------------------------------------------------------------------------


@loop()
def _largest(x: F32, size: int, across: int, down: int, before: int, row: F32, y: F32) -> None:
    """Pool some channels of some images: (n, c, h, w) to (n, c, oh, ow)."""
    row[:] = _LOWEST
    for i in range(len(x)):
        for k in range(x.shape[1]):
            _largest_of_channel(x[i, k], size, across, down, before, row, y[i, k])


@loop()
def _largest_of_channel(
    x: F32, size: int, across: int, down: int, before: int, row: F32, y: F32
) -> None:
    """Pool one channel: (h, w) to (oh, ow)."""
    h, w = x.shape
    inside = row[before : before + w]
    for i in range(len(y)):
        top = i * down - before
        first, end = max(top, 0), min(top + size, h)
        if end - first == 2:
            _larger(x[first], x[first + 1], inside)
        else:
            inside[:] = _LOWEST
            for j in range(first, end):
                _raise(inside, x[j])
        if across == 2:
            _every_second(row, size, y[i])
        else:
            _every(row, size, y[i])


@loop()
def _larger(one: F32, two: F32, y: F32) -> None:
    """Fill a row with the larger of two; NaN is never larger."""
    for p in range(len(y)):
        a = one[p] if one[p] > _LOWEST else _LOWEST
        y[p] = two[p] if two[p] > a else a


@loop()
def _raise(y: F32, x: F32) -> None:
    for p in range(len(y)):
        y[p] = x[p] if x[p] > y[p] else y[p]


@loop()
def _every(row: F32, size: int, y: F32) -> None:
    for p in range(len(y)):
        y[p] = row[p]
    for shift in range(1, size):
        _raise(y, row[shift:])


@loop()
def _every_second(row: F32, size: int, y: F32) -> None:
    for p in range(len(y)):
        a, b = row[2 * p], row[2 * p + 1]
        y[p] = b if b > a and size > 1 else a
    for shift in range(2, size):
        for p in range(len(y)):
            a = row[2 * p + shift]
            y[p] = a if a > y[p] else y[p]
