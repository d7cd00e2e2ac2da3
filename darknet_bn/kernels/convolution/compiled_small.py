"""3x3 convolutions of many small images, compiled: all images of a batch side by side.

Rows of small images are too short for loops along them.  So images are laid out first as in
(c, h, w, m): a pixel of all m images, then the next pixel of all of them.  A row of pixels is long
then, what a tap reads is one straight piece of it, and no matrix of windows is needed.  The one
pixel of zeros before a row is also the one after the row before.
"""

from __future__ import annotations

import math

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.kernels.instructions import I64
from darknet_bn.kernels.team import shared_loop, threads
from darknet_bn.work import measured
from darknet_bn.work.cuts import even, pieces, worth_sharing
from darknet_bn.work.threads import workers

_SIDE = 3
_SAME = ConvGeometry(size=_SIDE, pad=1)  # the output has the size of the image
_FILTERS = 4  # in one loop: with three weights or sums each, all stay in registers


def is_small(geometry: ConvGeometry, h: int, w: int) -> bool:
    """Return whether these loops are for such a convolution of such images."""
    return geometry == _SAME and h * w <= measured.SMALL_PIXELS


class Small:
    """A 3x3 convolution of stride 1 and pad 1.

    Parameters
    ----------
    weights : float32 array (f, c, 3, 3)
    epilogue : Epilogue

    Notes
    -----
    Products are added to sums without being rounded first, where the processor can.
    """

    def __init__(self, weights: F32, epilogue: Epilogue) -> None:
        self._weights = np.ascontiguousarray(weights)
        self._epilogue = epilogue

    def takes(self, x: F32, out: F32) -> bool:
        """Return whether there are enough images, in arrays that loops are fast on."""
        many = len(x) >= measured.SMALL_IMAGES
        return many and x.flags.c_contiguous and out.flags.c_contiguous

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, h, w)
        """
        n, c, h, w = x.shape
        sharers = threads() if worth_sharing(out.size * c * _SIDE**2, out.size + x.size) else 1
        parts = [(i, some.start, some.stop) for i, some in enumerate(even(n, min(n, sharers)))]
        m = min(measured.SMALL_ABREAST, -(-n // len(parts)))
        seen = _borrow("small", len(parts), c * (h + 1) * (w + 1) * m)
        sums = _borrow("small sums", len(parts), _FILTERS * w * m)
        _convolve(np.array(parts, np.int64), x, self._weights, m, seen, sums, out)

        def finish(some: slice) -> None:
            y = out[some].swapaxes(0, 1)
            self._epilogue.apply(y, slice(0, len(y)))

        if self._epilogue.biases is not None or self._epilogue.activation is not None:
            workers().run(finish, even(n, len(parts)))


def pays(x: F32, delta: F32, geometry: ConvGeometry) -> bool:
    """Return whether `weight_updates` is for such a convolution, and faster."""
    return (
        is_small(geometry, *x.shape[2:])
        and x[0, 0].size <= measured.SMALL_UPDATED
        and len(x) >= measured.SMALL_IMAGES
        and x.dtype == delta.dtype == np.float32
        and x.flags.c_contiguous
        and delta.flags.c_contiguous
    )


def weight_updates(x: F32, delta: F32, geometry: ConvGeometry) -> F32:
    """Do what `gradient.weight_updates` does."""
    (n, f, h, w), c = delta.shape, x.shape[1]
    taps = c * _SIDE**2
    groups = pieces(n, measured.SMALL_ABREAST)
    count = max(1, min(len(groups), measured.UPDATE_PARTS, measured.UPDATE_SUMS // (f * taps)))
    blocks, m = -(-f // _FILTERS), min(n, measured.SMALL_ABREAST)
    sharers = threads() if worth_sharing(delta.size * taps, delta.size + x.size) else 1
    filters = even(blocks, min(blocks, -(-sharers // count)))
    sums = np.zeros((count, f, c, _SIDE, _SIDE), np.float32)
    parts = [
        (at, some.start * m, min(n, some.stop * m), part.start * _FILTERS, part.stop * _FILTERS)
        for at, some in enumerate(even(len(groups), count))
        for part in filters
    ]
    seen = _borrow("small", len(parts), c * (h + 1) * (w + 1) * m)
    most = max(part.stop - part.start for part in filters) * _FILTERS
    given = _borrow("small deltas", len(parts), most * h * (w + 1) * m)
    numbered = np.array([(i, *part) for i, part in enumerate(parts)], np.int64)
    _sum_updates(numbered, x, delta, m, seen, given, sums)
    total: F32 = np.add.reduce(sums, axis=0)
    return total


def _borrow(slot: str, *shape: int) -> F32:
    return workers().scratch(math.prod(shape), slot).reshape(shape)


# -- the loops -------------------------------------------------------------------------------------


@loop()
def _lay_out(x: F32, first: int, left: int, out: F32) -> None:
    """Lay out images (n, c, h, w) from ``first`` on, with zeros before rows, or after them.

    ``left`` is the number of zeros before; rows below the image are zeros too.
    """
    h, w = x.shape[2:]
    m = out.shape[3]
    for k in range(len(out)):
        out[k, h:] = 0
        for row in range(h):
            out[k, row, (1 - left) * w] = 0
            whole = m // 4 * 4
            for i in range(0, whole, 4):  # what is written next to each other is written at once
                a, b = x[first + i, k, row], x[first + i + 1, k, row]
                c, d = x[first + i + 2, k, row], x[first + i + 3, k, row]
                for p in range(w):
                    to = out[k, row, left + p, i:]
                    to[0], to[1], to[2], to[3] = a[p], b[p], c[p], d[p]
            for i in range(whole, m):
                for p in range(w):
                    out[k, row, left + p, i] = x[first + i, k, row, p]


@shared_loop()
def _convolve(part: I64, x: F32, weights: F32, at_once: int, seen: F32, sums: F32, y: F32) -> None:
    """Compute all filters of some images, so many of them at a time."""
    number, first, end = part[0], part[1], part[2]
    _, c, h, w = x.shape
    for begin in range(first, end, at_once):
        m = min(at_once, end - begin)
        images = seen[number, : c * (h + 1) * (w + 1) * m].reshape(c, h + 1, w + 1, m)
        _lay_out(x, begin, 1, images)
        rows = sums[number, : _FILTERS * w * m].reshape(_FILTERS, w * m)
        _convolve_images(images, weights, rows, begin, y)


@shared_loop()
def _sum_updates(
    part: I64, x: F32, delta: F32, at_once: int, seen: F32, given: F32, sums: F32
) -> None:
    """Add the updates of some filters for some images, so many of them at a time."""
    number, at, first, end = part[0], part[1], part[2], part[3]
    _, c, h, w = x.shape
    some = delta[:, part[4] : part[5]]
    f = some.shape[1]
    for begin in range(first, end, at_once):
        m = min(at_once, end - begin)
        images = seen[number, : c * (h + 1) * (w + 1) * m].reshape(c, h + 1, w + 1, m)
        _lay_out(x, begin, 1, images)
        deltas = given[number, : f * h * (w + 1) * m].reshape(f, h, w + 1, m)
        _lay_out(some, begin, 0, deltas)
        _add_products(deltas, images, sums[at, part[4] : part[4] + f])


@loop()
def _convolve_images(seen: F32, weights: F32, sums: F32, first: int, y: F32) -> None:
    """Compute all filters of images that are side by side."""
    c, _, _, m = seen.shape
    _, f, h, _ = y.shape
    one, two, three, four = sums[0], sums[1], sums[2], sums[3]
    for f0 in range(0, f, _FILTERS):
        f1, f2, f3 = min(f0 + 1, f - 1), min(f0 + 2, f - 1), min(f0 + 3, f - 1)
        for row in range(h):
            sums[:] = 0
            for k in range(c):
                for i in range(max(0, 1 - row), min(_SIDE, h + 1 - row)):
                    _add_taps(
                        one, two, three, four, seen[k, row + i - 1 :].reshape(-1), m,
                        weights[f0, k, i], weights[f1, k, i], weights[f2, k, i], weights[f3, k, i],
                    )  # fmt: skip
            for j in range(min(_FILTERS, f - f0)):
                _put_back(sums[j], m, first, f0 + j, row, y)


@loop(fuses=True)
def _add_taps(
    one: F32, two: F32, three: F32, four: F32, x: F32, m: int, u: F32, v: F32, w: F32, z: F32
) -> None:
    """Add three taps in a row to the sums of four filters."""
    a0, a1, a2 = u[0], u[1], u[2]
    b0, b1, b2 = v[0], v[1], v[2]
    c0, c1, c2 = w[0], w[1], w[2]
    d0, d1, d2 = z[0], z[1], z[2]
    middle, right = x[m:], x[2 * m :]
    for p in range(len(one)):
        x0, x1, x2 = x[p], middle[p], right[p]
        one[p] = one[p] + a0 * x0 + a1 * x1 + a2 * x2
        two[p] = two[p] + b0 * x0 + b1 * x1 + b2 * x2
        three[p] = three[p] + c0 * x0 + c1 * x1 + c2 * x2
        four[p] = four[p] + d0 * x0 + d1 * x1 + d2 * x2


@loop()
def _put_back(sums: F32, m: int, first: int, f: int, row: int, y: F32) -> None:
    w = y.shape[3]
    for i in range(m):
        for p in range(w):
            y[first + i, f, row, p] = sums[p * m + i]


@loop()
def _add_products(given: F32, seen: F32, updates: F32) -> None:
    """Add the products of all filters' deltas with what all taps read."""
    f, h, wide, m = given.shape
    c = len(seen)
    long = wide * m
    for f0 in range(0, f, _FILTERS):
        f1, f2, f3 = min(f0 + 1, f - 1), min(f0 + 2, f - 1), min(f0 + 3, f - 1)
        for k in range(c):
            for i in range(_SIDE):
                begin, end = max(0, 1 - i), min(h, h + 1 - i)
                if begin < end:
                    some = slice(begin * long, end * long)
                    _three_taps(
                        given[f0].reshape(-1)[some], given[f1].reshape(-1)[some],
                        given[f2].reshape(-1)[some], given[f3].reshape(-1)[some],
                        seen[k, begin + i - 1 :].reshape(-1), m, updates[f0:, k, i],
                    )  # fmt: skip


@loop(reorders=True, fuses=True)
def _three_taps(a: F32, b: F32, c: F32, d: F32, x: F32, m: int, updates: F32) -> None:
    """Add the products of up to four filters with three taps in a row."""
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = np.float32(0)
    middle, right = x[m:], x[2 * m :]
    for k in range(len(a)):
        x0, x1, x2 = x[k], middle[k], right[k]
        a0, a1, a2 = a0 + a[k] * x0, a1 + a[k] * x1, a2 + a[k] * x2
        b0, b1, b2 = b0 + b[k] * x0, b1 + b[k] * x1, b2 + b[k] * x2
        c0, c1, c2 = c0 + c[k] * x0, c1 + c[k] * x1, c2 + c[k] * x2
        d0, d1, d2 = d0 + d[k] * x0, d1 + d[k] * x1, d2 + d[k] * x2
    for i, (i0, i1, i2) in enumerate(((a0, a1, a2), (b0, b1, b2), (c0, c1, c2), (d0, d1, d2))):
        if i < len(updates):
            updates[i, 0] += i0
            updates[i, 1] += i1
            updates[i, 2] += i2
