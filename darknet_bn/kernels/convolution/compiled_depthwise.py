"""Depthwise convolutions compiled: one channel after the other, while it is in cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import activate_tile
from darknet_bn.kernels.activations.bends import LINE
from darknet_bn.kernels.activations.compiled import bent
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.kernels.convolution.planes import Channels
from darknet_bn.work import measured
from darknet_bn.work.cuts import sharers, strips
from darknet_bn.work.threads import workers

_BY_ONE, _BY_TWO = (
    ConvGeometry(size=3, stride_x=stride, stride_y=stride, pad=1) for stride in (1, 2)
)


def pays(channels: Channels, x: F32, out: F32) -> bool:
    """Return whether there are loops for the geometry, and the last bits may differ from numpy's.

    With other strides, what the loops gain is lost when pixels are laid out.
    """
    geometry, width = channels.geometry, channels.in_shape[2]
    by_two = _is(geometry, _BY_TWO) and width % 2 == 0
    return not channels.exact and (by_two or (geometry.stride_y, geometry.stride_x) == (1, 1))


def bind(channels: Channels, x: F32, out: F32) -> Callable[[], None]:
    """Do what ``_bind`` in `depthwise` does."""
    c, f = x.shape[1], out.shape[1]
    each, activation = f // c, channels.epilogue.activation
    slope, top = (activation and activation.bend) or LINE
    flat, biases, geometry = channels.flat, channels.biases, channels.geometry
    nothing, planes = channels.nothing, channels.planes
    by_one = _is(geometry, _BY_ONE) and len(nothing) > 1
    by_two = _is(geometry, _BY_TWO)

    def some(x: F32, y: F32, first: int, end: int) -> None:
        if by_one:
            _by_one(x, flat, biases, nothing, slope, top, y, first, end)
        elif by_two:
            halves = workers().scratch(x[0].size, "depthwise halves").reshape(2, -1)
            _by_two(x, flat, biases, nothing, slope, top, halves, y, first, end)
        else:
            plane = workers().scratch(planes.run + planes.room, "depthwise plane")
            sums = workers().scratch(measured.DEPTHWISE_COMPILED_SUMS, "depthwise sums")
            _any(
                x, flat, biases, planes.taps, planes.places, planes.pitch, slope, top, plane, sums,
                y, first, end,
            )  # fmt: skip
        if activation is not None and activation.bend is None:
            activate_tile(y[first * each : end * each], activation)

    threads = sharers(0, measured.DEPTHWISE_COMPILED_FLOATS * out.size)
    if len(x) == threads == 1:
        return partial(some, x[0], out[0], 0, c)
    parts = [
        (x[part.image], out[part.image], part.first, part.first + part.rows)
        for parts in strips(len(x), c, c, threads)
        for part in parts
    ]
    return lambda: workers().run(lambda part: some(*part), parts)


def _is(geometry: ConvGeometry, other: ConvGeometry) -> bool:
    """Return whether two geometries differ in their groups at most."""
    return replace(geometry, groups=1) == other


# -- the loops -------------------------------------------------------------------------------------


@loop(fuses=True)
def _by_one(
    x: F32,
    weights: F32,
    biases: F32,
    nothing: F32,
    slope: np.float32,
    top: np.float32,
    y: F32,
    first: int,
    end: int,
) -> None:
    """Convolve some channels (c, h, w) with kernels of side 3 that move by one pixel."""
    each, h, width = len(y) // len(x), x.shape[1], x.shape[2]
    for f in range(first * each, end * each):
        channel, w, bias = x[f // each], weights[f], biases[f]
        _plane(channel, w, bias, nothing, slope, top, y[f])
        for row in range(h):
            above = channel[row - 1] if row > 0 else nothing
            here = channel[row]
            below = channel[row + 1] if row + 1 < h else nothing
            left = _two_columns(above, here, below, 0, w, 1, bias)
            right = _two_columns(above, here, below, width - 2, w, 0, bias)
            y[f, row, 0], y[f, row, width - 1] = bent(left, slope, top), bent(right, slope, top)


@loop(fuses=True)
def _plane(
    x: F32, w: F32, bias: np.float32, nothing: F32, slope: np.float32, top: np.float32, y: F32
) -> None:
    """Convolve a channel as if each row went on with the next; what this makes wrong are edges.

    The first row and the last go alone, because there are none before and after them.
    """
    h, width = x.shape
    x, y = x.reshape(h * width), y.reshape(h * width)
    for first, end in ((0, 1), (1, h - 1), (max(1, h - 1), h)):
        if first < end:
            above = x[(first - 1) * width :] if first > 0 else nothing
            below = x[(first + 1) * width :] if end < h else nothing
            inside = y[first * width + 1 : end * width - 1]
            _run(above, x[first * width :], below, w, bias, slope, top, inside)


@loop(fuses=True)
def _run(
    above: F32,
    here: F32,
    below: F32,
    w: F32,
    bias: np.float32,
    slope: np.float32,
    top: np.float32,
    y: F32,
) -> None:
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    for i in range(len(y)):
        a = w0 * above[i] + w1 * above[i + 1] + w2 * above[i + 2]
        b = w3 * here[i] + w4 * here[i + 1] + w5 * here[i + 2]
        c = w6 * below[i] + w7 * below[i + 1] + w8 * below[i + 2]
        y[i] = bent(bias + a + b + c, slope, top)


@loop(fuses=True)
def _two_columns(
    above: F32, here: F32, below: F32, at: int, w: F32, tap: int, bias: np.float32
) -> np.float32:
    """Return what two columns of taps read, the third being outside the image."""
    a = w[tap] * above[at] + w[tap + 1] * above[at + 1]
    b = w[tap + 3] * here[at] + w[tap + 4] * here[at + 1]
    c = w[tap + 6] * below[at] + w[tap + 7] * below[at + 1]
    total: np.float32 = bias + a + b + c
    return total


@loop(fuses=True)
def _by_two(
    x: F32,
    weights: F32,
    biases: F32,
    nothing: F32,
    slope: np.float32,
    top: np.float32,
    halves: F32,
    y: F32,
    first: int,
    end: int,
) -> None:
    """Convolve some channels (c, h, w), w even, with kernels of side 3 that move by two pixels.

    The even and the odd pixels of a channel come into arrays of their own, in which the windows are
    neighbours.
    """
    each, h, wide = len(y) // len(x), x.shape[1], x.shape[2] // 2
    even, odd = halves[0], halves[1]
    for channel in range(first, end):
        _take_apart(x[channel].reshape(h * 2 * wide), even, odd)
        for f in range(channel * each, (channel + 1) * each):
            w, bias = weights[f], biases[f]
            for row in range(y.shape[1]):
                here = 2 * row * wide
                above, below = here - wide, here + wide
                even_above = even[above:] if row > 0 else nothing
                odd_above = odd[above:] if row > 0 else nothing
                even_below = even[below:] if 2 * row + 1 < h else nothing
                odd_below = odd[below:] if 2 * row + 1 < h else nothing
                _row_by_two(
                    even_above, odd_above, even[here:], odd[here:], even_below, odd_below, w, bias,
                    slope, top, y[f, row],
                )  # fmt: skip


@loop()
def _take_apart(x: F32, even: F32, odd: F32) -> None:
    for i in range(len(even)):
        even[i] = x[2 * i]
        odd[i] = x[2 * i + 1]


@loop(fuses=True)
def _row_by_two(
    even_above: F32,
    odd_above: F32,
    even: F32,
    odd: F32,
    even_below: F32,
    odd_below: F32,
    w: F32,
    bias: np.float32,
    slope: np.float32,
    top: np.float32,
    y: F32,
) -> None:
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    total = bias + w1 * even_above[0] + w2 * odd_above[0]
    total += w4 * even[0] + w5 * odd[0] + w7 * even_below[0] + w8 * odd_below[0]
    y[0] = bent(total, slope, top)
    for i in range(1, len(y)):
        a = w0 * odd_above[i - 1] + w1 * even_above[i] + w2 * odd_above[i]
        b = w3 * odd[i - 1] + w4 * even[i] + w5 * odd[i]
        c = w6 * odd_below[i - 1] + w7 * even_below[i] + w8 * odd_below[i]
        y[i] = bent(bias + a + b + c, slope, top)


@loop(fuses=True)
def _any(
    x: F32,
    weights: F32,
    biases: F32,
    taps: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    pitch: int,
    slope: np.float32,
    top: np.float32,
    plane: F32,
    sums: F32,
    y: F32,
    first: int,
    end: int,
) -> None:
    """Convolve some channels (c, h, w) with any kernel that moves by one pixel."""
    each, oh = len(y) // len(x), y.shape[1]
    at_once = max(1, len(sums) // pitch)  # rows
    plane[:] = 0
    for channel in range(first, end):
        _lay_out(x[channel], places, pitch, plane)
        for f in range(channel * each, (channel + 1) * each):
            for row in range(0, oh, at_once):
                rows = min(at_once, oh - row)
                some = sums[: rows * pitch]
                _add_up(plane[row * pitch :], taps, weights[f], biases[f], some)
                for i in range(rows):
                    _bend(some[i * pitch :], slope, top, y[f, row + i])


@loop()
def _lay_out(x: F32, places: npt.NDArray[np.int64], pitch: int, plane: F32) -> None:
    """Copy the pixels to where they are in their plane, with zeros around them."""
    y0, y1, row, x0, x1, column = places
    for i in range(y0, y1):
        seen = x[row + i - y0, column:]
        target = plane[i * pitch + x0 : i * pitch + x1]
        for j in range(len(target)):
            target[j] = seen[j]


@loop(fuses=True)
def _add_up(
    plane: F32, taps: npt.NDArray[np.int64], weights: F32, bias: np.float32, sums: F32
) -> None:
    """Add what the taps read to the bias: eight at a time, then the rest.

    A kernel with an odd side has one tap more than a multiple of eight.  With nine arrays to read
    at a time, LLVM would no longer check whether they overlap with the sums, and use no vectors.
    """
    sums[:] = bias
    done = 0
    while done + 8 <= len(taps):
        _eight(plane, taps[done:], weights[done:], sums)
        done += 8
    while done < len(taps):
        _one(plane[taps[done] :], weights[done], sums)
        done += 1


@loop(fuses=True)
def _one(x: F32, weight: np.float32, sums: F32) -> None:
    for i in range(len(sums)):
        sums[i] = sums[i] + weight * x[i]


@loop(fuses=True)
def _eight(plane: F32, taps: npt.NDArray[np.int64], weights: F32, sums: F32) -> None:
    x0, x1, x2, x3 = plane[taps[0] :], plane[taps[1] :], plane[taps[2] :], plane[taps[3] :]
    x4, x5, x6, x7 = plane[taps[4] :], plane[taps[5] :], plane[taps[6] :], plane[taps[7] :]
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    w4, w5, w6, w7 = weights[4], weights[5], weights[6], weights[7]
    for i in range(len(sums)):
        one = w0 * x0[i] + w1 * x1[i] + w2 * x2[i] + w3 * x3[i]
        two = w4 * x4[i] + w5 * x5[i] + w6 * x6[i] + w7 * x7[i]
        sums[i] = sums[i] + one + two


@loop()
def _bend(x: F32, slope: np.float32, top: np.float32, y: F32) -> None:
    for i in range(len(y)):
        y[i] = bent(x[i], slope, top)
