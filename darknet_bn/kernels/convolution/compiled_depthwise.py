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
    geometry = channels.geometry
    strides = (geometry.stride_y, geometry.stride_x)
    return not channels.exact and (strides == (1, 1) or _is(geometry, _BY_TWO))


def bind(channels: Channels, x: F32, out: F32) -> Callable[[], None]:
    """Do what ``_bind`` in `depthwise` does."""
    c, f = x.shape[1], out.shape[1]
    each, activation = f // c, channels.epilogue.activation
    slope, top = (activation and activation.bend) or LINE
    flat, biases, geometry = channels.flat, channels.biases, channels.geometry
    nothing, planes, stride = channels.nothing, channels.planes, geometry.stride_x
    three = _is(geometry, _BY_ONE) or _is(geometry, _BY_TWO)

    def some(x: F32, y: F32, first: int, end: int) -> None:
        if three:
            _three(x, flat, biases, nothing, stride, slope, top, y, first, end)
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
def _three(
    x: F32,
    weights: F32,
    biases: F32,
    nothing: F32,
    stride: int,
    slope: np.float32,
    top: np.float32,
    y: F32,
    first: int,
    end: int,
) -> None:
    """Convolve some channels (c, h, w) with kernels of side 3, one pixel of zeros around them."""
    each, h, oh = len(y) // len(x), x.shape[1], y.shape[1]
    for f in range(first * each, end * each):
        channel, w, bias = x[f // each], weights[f], biases[f]
        if stride == 1:
            _plane(channel, w, bias, nothing, slope, top, y[f])
        for row in range(oh):
            here = channel[stride * row]
            above = channel[stride * row - 1] if row > 0 else nothing
            below = channel[stride * row + 1] if stride * row + 1 < h else nothing
            if stride == 2:
                _every_other(above, here, below, w, bias, slope, top, y[f, row])
            _edges(above, here, below, w, bias, slope, top, stride, y[f, row])


@loop(fuses=True)
def _plane(
    x: F32, w: F32, bias: np.float32, nothing: F32, slope: np.float32, top: np.float32, y: F32
) -> None:
    """Convolve a channel as if each row went on with the next; what this makes wrong are edges."""
    h, width = x.shape
    x, y = x.reshape(h * width), y.reshape(h * width)
    inside = width - 2
    last = (h - 1) * width
    if h == 1:
        _run(nothing, x, nothing, w, bias, slope, top, y[1 : 1 + inside])
        return
    _run(nothing, x, x[width:], w, bias, slope, top, y[1 : 1 + inside])
    _run(x, x[width:], x[2 * width :], w, bias, slope, top, y[width + 1 : last - 1])
    _run(x[last - width :], x[last:], nothing, w, bias, slope, top, y[last + 1 : last + 1 + inside])


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
def _every_other(
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
    inside = (len(here) - 1) // 2
    above, here, below, y = above[1:], here[1:], below[1:], y[1 : 1 + inside]
    for i in range(len(y)):
        a = w0 * above[2 * i] + w1 * above[2 * i + 1] + w2 * above[2 * i + 2]
        b = w3 * here[2 * i] + w4 * here[2 * i + 1] + w5 * here[2 * i + 2]
        c = w6 * below[2 * i] + w7 * below[2 * i + 1] + w8 * below[2 * i + 2]
        y[i] = bent(bias + a + b + c, slope, top)


@loop(fuses=True)
def _edges(
    above: F32,
    here: F32,
    below: F32,
    w: F32,
    bias: np.float32,
    slope: np.float32,
    top: np.float32,
    stride: int,
    y: F32,
) -> None:
    """Convolve the first and the last window of a row."""
    for place in (0, len(y) - 1):
        total = bias
        for tap in range(3):
            at = stride * place + tap - 1
            if 0 <= at < len(here):
                total += w[tap] * above[at] + w[3 + tap] * here[at] + w[6 + tap] * below[at]
        y[place] = bent(total, slope, top)


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
    """Add up what the taps read: the bias and the first, then eight at a time, then the rest.

    A kernel with an odd side has one tap more than a multiple of eight.  With nine arrays to read
    at a time, LLVM would no longer check whether they overlap with the sums, and use no vectors.
    """
    _first(plane[taps[0] :], weights[0], bias, sums)
    done = 1
    while done + 8 <= len(taps):
        _eight(plane, taps[done:], weights[done:], sums)
        done += 8
    while done < len(taps):
        _one(plane[taps[done] :], weights[done], sums)
        done += 1


@loop(fuses=True)
def _first(x: F32, weight: np.float32, bias: np.float32, sums: F32) -> None:
    for i in range(len(sums)):
        sums[i] = bias + weight * x[i]


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
