"""The backward pass of pooling that halves images, compiled: windows of 2x2 pixels, one by one."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.pooling.windows import LOWEST, Window
from darknet_bn.work import measured
from darknet_bn.work.cuts import Block, run_blocks
from darknet_bn.work.threads import workers

_SIDE = 2


def pays(x: F32, y: F32, delta: F32, window: Window) -> bool:
    """Return whether `backward_maxpool_layer` is for such windows, and faster."""
    halves = (window.size, window.stride_y, window.stride_x) == (_SIDE, _SIDE, _SIDE)
    return (
        (halves and window.padding < _SIDE)
        and x.shape[3] >= measured.POOL_BACK_LEAST
        and all(each.dtype == np.float32 and each.flags.c_contiguous for each in (x, y, delta))
    )


def backward_maxpool_layer(x: F32, y: F32, delta: F32, window: Window) -> F32:
    """Do what `maximum.backward_maxpool_layer` does."""
    delta_x = np.empty_like(x)
    n, c, h, w = x.shape

    def short(at: Block) -> None:
        _back_to_places(x, y, delta, at[0].start, at[0].stop, at[1].start, at[1].stop, delta_x)

    def long(at: Block) -> None:
        outside = workers().scratch(2 * w, "outside").reshape(2, w)
        _back(x, y, delta, at[0].start, at[0].stop, at[1].start, at[1].stop, outside, delta_x)

    run_blocks(short if w < measured.POOL_BACK_ROW else long, n, c, h * w)
    return delta_x


@loop()
def _back_to_places(
    x: F32,
    y: F32,
    delta: F32,
    first: int,
    last: int,
    first_channel: int,
    last_channel: int,
    delta_x: F32,
) -> None:
    """Go back through some channels of some images, one window after the other."""
    for i in range(first, last):
        for c in range(first_channel, last_channel):
            _to_places(x[i, c], y[i, c], delta[i, c], delta_x[i, c])


@loop()
def _to_places(x: F32, y: F32, delta: F32, delta_x: F32) -> None:
    """Give the delta of each window to the first of its pixels that is the maximum.

    A pixel outside the image is replaced by its neighbour inside, which comes first of both.
    """
    h, w = x.shape
    seen, to = x.reshape(-1), delta_x.reshape(-1)
    to[:] = 0
    for row in range(len(y)):
        down = w if 2 * row + 1 < h else 0
        for k in range(y.shape[1]):
            across = 1 if 2 * k + 1 < w else 0
            corner, largest = 2 * row * w + 2 * k, y[row, k]
            place = corner + down + across
            place = corner + down if seen[corner + down] == largest else place
            place = corner + across if seen[corner + across] == largest else place
            place = corner if seen[corner] == largest else place
            to[place] = delta[row, k] if seen[place] == largest else np.float32(0)


@loop()
def _back(
    x: F32,
    y: F32,
    delta: F32,
    first: int,
    last: int,
    first_channel: int,
    last_channel: int,
    outside: F32,
    delta_x: F32,
) -> None:
    """Go back through some channels of some images, row by row."""
    h = x.shape[2]
    oh = y.shape[2]
    outside[0] = LOWEST
    for i in range(first, last):
        for c in range(first_channel, last_channel):
            for row in range(oh):
                top, below = 2 * row, 2 * row + 1
                inside = below < h
                _four(
                    x[i, c, top],
                    x[i, c, below] if inside else outside[0],
                    y[i, c, row],
                    delta[i, c, row],
                    delta_x[i, c, top],
                    delta_x[i, c, below] if inside else outside[1],
                )
            for row in range(2 * oh, h):
                delta_x[i, c, row] = 0


@loop()
def _four(x0: F32, x1: F32, y: F32, delta: F32, to0: F32, to1: F32) -> None:
    """Give the delta of each window of a row to the first of its pixels that is the maximum."""
    whole = min(len(y), len(x0) // 2)
    zero = np.float32(0)
    for k in range(whole):
        left, right = np.uintp(2 * k), np.uintp(2 * k + 1)
        largest, given = y[k], delta[k]
        a, b, c, d = x0[left], x0[right], x1[left], x1[right]
        to0[left] = given if a == largest else zero
        given = zero if a == largest else given
        to0[right] = given if b == largest else zero
        given = zero if b == largest else given
        to1[left] = given if c == largest else zero
        given = zero if c == largest else given
        to1[right] = given if d == largest else zero
    if len(x0) > 2 * whole:  # a window that is half outside, or a pixel in no window
        last = len(x0) - 1
        given = delta[whole] if len(y) > whole else zero
        largest = y[whole] if len(y) > whole else zero
        to0[last] = given if x0[last] == largest else zero
        to1[last] = given if x1[last] == largest and x0[last] != largest else zero
