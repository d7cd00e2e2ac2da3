"""The updates of 3x3 filters compiled: sums of products as they are, without a matrix of windows.

Images and deltas are laid out first, so that what belongs to a tap of a whole tile are the products
of two straight rows of numbers: rows of pixels follow each other, with the zeros of the border in
between, and so do images.  If windows are two pixels apart, so are the pixels of a row, and those
in between are in a row of their own.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.work import measured
from darknet_bn.work.cuts import Strip, even, fitting, sharers, strips
from darknet_bn.work.threads import workers

_SIDE = 3
_HALVING = ConvGeometry(size=_SIDE, stride_x=2, stride_y=2, pad=1)
_FILTERS = 4  # in one loop: their sums of three taps stay in registers


def pays(x: F32, delta: F32, geometry: ConvGeometry) -> bool:
    """Return whether `weight_updates` is for such a convolution, and faster."""
    parted = max(geometry.stride_x, geometry.stride_y) > 1
    return (
        (geometry.size, geometry.dilation, geometry.groups) == (_SIDE, 1, 1)
        and (not parted or delta.shape[3] >= measured.STRAIGHT_ROW)
        and delta.size * x.shape[1] * _SIDE**2 >= measured.STRAIGHT_WORK
        and x.dtype == delta.dtype == np.float32
        and x.flags.c_contiguous
        and delta.flags.c_contiguous
    )


def weight_updates(x: F32, delta: F32, geometry: ConvGeometry) -> F32:
    """Do what `gradient.weight_updates` does."""
    c, (n, f, oh, ow) = x.shape[1], delta.shape
    down, across, pad = geometry.stride_y, geometry.stride_x, geometry.pad
    wide, below = ow + _border(across, pad), _border(down, pad)
    blocks, taps = -(-f // _FILTERS), c * _SIDE**2
    tiles = strips(n, oh, fitting(measured.STRAIGHT_PIXELS, wide), 1)
    count = max(1, min(len(tiles), measured.UPDATE_PARTS, measured.UPDATE_SUMS // (f * taps)))
    threads = sharers(n * oh * ow * f * taps, n * oh * wide * (f + c))
    chunks = min(blocks, -(-2 * threads // count) if threads > 1 else 1)
    sums = np.zeros((count, blocks, c, _SIDE, _FILTERS, _SIDE), np.float32)
    planes = min(down, _SIDE), min(across, _SIDE)

    def some(tile: list[Strip], filters: slice, to: F32) -> None:
        image, first, rows = tile[0].image, tile[0].first, tile[0].rows
        high = rows + below  # from an image to the next
        straight = (high * (len(tile) - 1) + rows) * wide
        end = 2 // down * wide + 2 // across
        given = _borrow("deltas", len(to) * _FILTERS, 1, 1, straight)
        seen = _borrow("padded", c, *planes, straight + end)
        at = image, len(tile), filters.start * _FILTERS
        _lay_out(delta, at, first, 0, 1, 1, high, wide, given)
        at = image, len(tile), 0
        lay_out = _lay_out_pairs if across == 2 else _lay_out
        lay_out(x, at, first * down - pad, -pad, down, across, high, wide, seen)
        _products(given[:, 0, 0], seen, down, across, wide, to)

    def task(work: tuple[int, slice]) -> None:
        part, filters = work
        for tile in tiles[parts[part]]:
            some(tile, filters, sums[part, filters])

    parts = even(len(tiles), count)
    workers().run(task, itertools.product(range(count), even(blocks, chunks)))
    total = np.add.reduce(sums, axis=0).transpose(0, 3, 1, 2, 4)
    return np.ascontiguousarray(total.reshape(-1, c, _SIDE, _SIDE)[:f])


def carries(delta: F32, weights: F32, geometry: ConvGeometry, out: F32) -> bool:
    """Return whether `input_delta` is for such a convolution, and faster."""
    return (
        geometry == _HALVING
        and weights.shape[1] <= measured.STRAIGHT_CHANNELS
        and delta.dtype == weights.dtype == np.float32
        and delta.flags.c_contiguous
        and out.flags.c_contiguous
    )


def input_delta(delta: F32, weights: F32, geometry: ConvGeometry, out: F32) -> None:
    """Do what `gradient.input_delta` does."""
    n, f, oh, ow = delta.shape
    wide = ow + 1
    filters = np.zeros((out.shape[1], f + f % 2, _SIDE, _SIDE), np.float32)  # an even number
    filters[:, :f] = weights.swapaxes(0, 1)
    threads = sharers(n * oh * ow * weights.size, out.size)
    tiles = strips(n, oh, fitting(measured.STRAIGHT_SUMS, wide), threads)

    def task(tile: list[Strip]) -> None:
        image, first, rows = tile[0].image, tile[0].first, tile[0].rows
        high = rows + 1
        straight = (high * (len(tile) - 1) + rows) * wide
        given = _borrow("deltas", f + f % 2, 1, 1, straight + wide + 1)
        sums = _borrow("sums", 2, 2, straight)
        _lay_out(delta, (image, len(tile), 0), first, 0, 1, 1, high, wide, given)
        _carry(given[:, 0, 0], filters, (image, len(tile), first), high, wide, sums, out)

    workers().run(task, tiles)


def _border(stride: int, pad: int) -> int:
    """Return how many zeros are between two rows; one may end a row and begin the next."""
    return 2 // stride - (stride == pad == 1)


def _borrow(slot: str, *shape: int) -> F32:
    return workers().scratch(math.prod(shape), slot).reshape(shape)


# -- the loops -------------------------------------------------------------------------------------


@loop()
def _lay_out(
    x: F32,
    at: tuple[int, int, int],
    top: int,
    left: int,
    down: int,
    across: int,
    high: int,
    wide: int,
    out: F32,
) -> None:
    """Lay out images (n, c, h, w) from ``top`` and ``left`` on, with zeros outside of them.

    ``at`` is the first image, the number of images, and the first channel.  Every ``down``-th row
    and every ``across``-th pixel follow each other; those in between are in other planes.  Each
    image has ``high`` rows of ``wide`` numbers, but the last has all that there is room for.
    """
    image, m, first_channel = at
    _, c, h, w = x.shape
    channels, planes, phases, room = out.shape
    for channel in range(channels):
        for plane in range(planes):
            for phase in range(phases):
                to = out[channel, plane, phase]
                x0 = left + phase
                begin = min(wide, (max(0, -x0) + across - 1) // across)
                end = max(begin, min(wide, (w - x0 + across - 1) // across))
                for i in range(m):
                    start = i * high * wide
                    last = room if i == m - 1 else start + high * wide
                    y = top + plane
                    while start < last:
                        stop = min(wide, last - start)
                        if y < 0 or y >= h or first_channel + channel >= c:
                            _clear(to, start, start + stop)
                        else:
                            seen = x[image + i, first_channel + channel, y]
                            _clear(to, start, start + begin)
                            _take(seen, x0, across, to, start, begin, min(end, stop))
                            _clear(to, start + end, start + stop)
                        y += down
                        start += wide


@loop()
def _lay_out_pairs(
    x: F32,
    at: tuple[int, int, int],
    top: int,
    left: int,
    down: int,
    across: int,
    high: int,
    wide: int,
    out: F32,
) -> None:
    """Do what `_lay_out` does, for two planes at once that take turns in the pixels of a row."""
    image, m, first_channel = at
    _, _, h, w = x.shape
    channels, planes, _, room = out.shape
    begin = min(wide, max(0, -left + 1) // 2)  # of both planes
    end = max(begin, min(wide, (w - left) // 2))
    for channel in range(channels):
        for plane in range(planes):
            even, odd = out[channel, plane, 0], out[channel, plane, 1]
            for i in range(m):
                start = i * high * wide
                last = room if i == m - 1 else start + high * wide
                y = top + plane
                while start < last:
                    stop = min(wide, last - start)
                    if y < 0 or y >= h:
                        _clear(even, start, start + stop)
                        _clear(odd, start, start + stop)
                    else:
                        seen = x[image + i, first_channel + channel, y]
                        inside = min(end, stop)
                        for k in range(begin, inside):
                            even[np.uintp(start + k)] = seen[np.uintp(left + 2 * k)]
                            odd[np.uintp(start + k)] = seen[np.uintp(left + 2 * k + 1)]
                        for k in range(stop):
                            if k < begin or k >= inside:
                                pixel = left + 2 * k
                                even[start + k] = seen[pixel] if 0 <= pixel < w else 0
                                odd[start + k] = seen[pixel + 1] if 0 <= pixel + 1 < w else 0
                    y += down
                    start += wide


@loop()
def _clear(y: F32, first: int, end: int) -> None:
    for k in range(first, end):
        y[np.uintp(k)] = 0


@loop()
def _take(x: F32, x0: int, step: int, y: F32, y0: int, first: int, end: int) -> None:
    """Copy every ``step``-th number."""
    if step == 1:
        for k in range(first, end):
            y[np.uintp(y0 + k)] = x[np.uintp(x0 + k)]
    elif step == 2:  # with a constant, whole vectors are copied
        for k in range(first, end):
            y[np.uintp(y0 + k)] = x[np.uintp(x0 + 2 * k)]
    else:
        for k in range(first, end):
            y[np.uintp(y0 + k)] = x[np.uintp(x0 + step * k)]


@loop()
def _products(given: F32, seen: F32, down: int, across: int, wide: int, sums: F32) -> None:
    """Add the products of all filters with all taps of a tile."""
    blocks, c, side = sums.shape[:3]
    for block in range(blocks):
        deltas = given[block * _FILTERS :]
        for channel in range(c):
            for row in range(side):
                start = row // down * wide
                rows = seen[channel, row % down]
                _three_taps(
                    deltas,
                    rows[0, start:],
                    rows[1 % across, start + 1 // across :],
                    rows[2 % across, start + 2 // across :],
                    sums[block, channel, row],
                )


@loop(reorders=True, fuses=True)
def _three_taps(deltas: F32, zero: F32, one: F32, two: F32, sums: F32) -> None:
    """Add the products of four filters with three taps in a row."""
    a, b, c, d = deltas[0], deltas[1], deltas[2], deltas[3]
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = np.float32(0)
    for k in range(len(a)):
        x0, x1, x2 = zero[k], one[k], two[k]
        a0, a1, a2 = a0 + a[k] * x0, a1 + a[k] * x1, a2 + a[k] * x2
        b0, b1, b2 = b0 + b[k] * x0, b1 + b[k] * x1, b2 + b[k] * x2
        c0, c1, c2 = c0 + c[k] * x0, c1 + c[k] * x1, c2 + c[k] * x2
        d0, d1, d2 = d0 + d[k] * x0, d1 + d[k] * x1, d2 + d[k] * x2
    for i, (i0, i1, i2) in enumerate(((a0, a1, a2), (b0, b1, b2), (c0, c1, c2), (d0, d1, d2))):
        sums[i, 0] += i0
        sums[i, 1] += i1
        sums[i, 2] += i2


@loop()
def _carry(
    given: F32,
    filters: F32,
    at: tuple[int, int, int],
    high: int,
    wide: int,
    sums: F32,
    out: F32,
) -> None:
    """Carry the deltas of a tile back to the pixels; ``at`` is its image, images and first row."""
    image, m, first = at
    c, f = filters.shape[:2]
    h = out.shape[2]
    for channel in range(c):
        _clear(sums.reshape(-1), 0, sums.size)
        for i in range(0, f, 2):
            _quarters(given[i : i + 2], wide, filters[channel, i : i + 2], sums)
        for i in range(m):
            start = i * high * wide
            for y in range(2 * first, min(h, 2 * (first + high - 1))):
                even, odd = sums[y % 2, 0], sums[y % 2, 1]
                _interleave(even[start:], odd[start:], out[image + i, channel, y])
                start += wide * (y % 2)


@loop(fuses=True)
def _quarters(given: F32, wide: int, filters: F32, sums: F32) -> None:
    """Add what two filters give to the four pixels of each place; C: ``col2im_cpu``.

    Taps in the middle reach the pixels at even rows or columns; those beside it reach the odd ones,
    from this window and from the next.
    """
    count = sums.shape[2]
    s00, s01, s10, s11 = sums[0, 0], sums[0, 1], sums[1, 0], sums[1, 1]
    d, r, b, x = given[0], given[0, 1:], given[0, wide:], given[0, wide + 1 :]
    e, s, c, y = given[1], given[1, 1:], given[1, wide:], given[1, wide + 1 :]
    v, w = filters[0], filters[1]
    v00, v01, v02, v10, v11, v12, v20, v21, v22 = (
        v[0, 0], v[0, 1], v[0, 2], v[1, 0], v[1, 1], v[1, 2], v[2, 0], v[2, 1], v[2, 2],
    )  # fmt: skip
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = (
        w[0, 0], w[0, 1], w[0, 2], w[1, 0], w[1, 1], w[1, 2], w[2, 0], w[2, 1], w[2, 2],
    )  # fmt: skip
    for k in range(count):
        t00, t01, t10, t11 = s00[k], s01[k], s10[k], s11[k]
        p, q, u, z = d[k], r[k], b[k], x[k]
        t00 = t00 + v11 * p
        t01 = t01 + v12 * p + v10 * q
        t10 = t10 + v21 * p + v01 * u
        t11 = t11 + v22 * p + v20 * q + v02 * u + v00 * z
        p, q, u, z = e[k], s[k], c[k], y[k]
        s00[k] = t00 + w11 * p
        s01[k] = t01 + w12 * p + w10 * q
        s10[k] = t10 + w21 * p + w01 * u
        s11[k] = t11 + w22 * p + w20 * q + w02 * u + w00 * z


@loop()
def _interleave(even: F32, odd: F32, y: F32) -> None:
    half = len(y) // 2
    for k in range(half):
        y[np.uintp(2 * k)] = even[k]
        y[np.uintp(2 * k + 1)] = odd[k]
    if len(y) % 2:
        y[2 * half] = even[half]
