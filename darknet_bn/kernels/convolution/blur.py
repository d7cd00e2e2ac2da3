"""The fixed blur after a layer with ``antialiasing``, which applies the stride in its place.

C: a convolution with constant weights, created in ``src/convolutional_layer.c`` and
``src/maxpool_layer.c`` of AlexeyAB's Darknet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating
from darknet_bn.work.cuts import Block, run_blocks
from darknet_bn.work.threads import workers


def blurred_size(size: int, mode: int, stride: int) -> int:
    """Return how many of ``size`` rows (or columns) remain.

    Parameters
    ----------
    mode : int
        As in `blur`.
    """
    return (size - 2 if mode == 2 else size - 1) // stride + 1


@floating
def blur(x: F32, mode: int, stride_x: int, stride_y: int, out: F32) -> None:
    """Blur every channel, and keep one pixel per stride.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    mode : int
        The value of ``antialiasing``.  2: the mean of 2 x 2 pixels, without padding; any other
        value: 3 x 3 with the weights 1 2 1 in both directions, divided by 16, and zeros around the
        image.
    stride_x, stride_y : int
    out : float32 array (n, c, oh, ow)
        Receives the result; `blurred_size` gives its size.
    """
    n, c, h, w = x.shape

    def block(at: Block) -> None:
        _blur_block(x[at], mode, stride_x, stride_y, out[at])

    run_blocks(block, n, c, h * w)


def _blur_block(x: F32, mode: int, stride_x: int, stride_y: int, out: F32) -> None:
    m, c, _, w = x.shape
    rows = (m, c, out.shape[2], w)
    tall = workers().scratch(m * c * rows[2] * w, "blur rows", x.dtype).reshape(rows)
    _blur_axis(x, 2, mode, stride_y, tall)
    _blur_axis(tall, 3, mode, stride_x, out)


@floating
def backward_blur(
    delta: F32, mode: int, stride_x: int, stride_y: int, in_hw: tuple[int, int]
) -> F32:
    """Return to every pixel its share of the delta.

    Parameters
    ----------
    delta : float32 array (n, c, oh, ow)
    mode, stride_x, stride_y : int
        As in `blur`.
    in_hw : (h, w)

    Returns
    -------
    delta_x : float32 array (n, c, h, w)
    """
    n, c, oh, _ = delta.shape
    h, w = in_hw
    delta_x = np.empty((n, c, h, w), delta.dtype)

    def block(at: Block) -> None:
        out = delta_x[at]
        rows = (*out.shape[:2], oh, w)
        wide = workers().scratch(math.prod(rows), "blur rows", delta.dtype).reshape(rows)
        _spread_axis(delta[at], 3, mode, stride_x, wide)
        _spread_axis(wide, 2, mode, stride_y, out)

    run_blocks(block, n, c, h * w)
    return delta_x


@floating
def backward_blur_as_coded(delta: F32, in_hw: tuple[int, int]) -> F32:
    """Copy a batch's delta, unchanged, into the delta of the larger images before a blur.

    Parameters
    ----------
    delta : float32 array (n, c, oh, ow)
    in_hw : (h, w)

    Returns
    -------
    delta_x : float32 array (n, c, h, w)
        The values of ``delta`` one after the other, and zeros after the last.

    Notes
    -----
    C: AlexeyAB's CPU code goes backward as if there were no blur, over arrays of a different size.
    """
    delta_x = np.zeros((*delta.shape[:2], *in_hw), delta.dtype)
    delta_x.reshape(-1)[: delta.size] = delta.reshape(-1)
    return delta_x


def _blur_axis(x: F32, axis: int, mode: int, stride: int, out: F32) -> None:
    """Take weighted sums of neighbours along one axis; the weights are powers of two."""
    shaped = workers().scratch(out.size, "blur tap", x.dtype).reshape(out.shape)
    taps = _taps(axis, mode, stride, x.shape[axis], out.shape[axis])
    for number, (weight, at, to) in enumerate(taps):
        if number == 0:
            np.multiply(x[at], weight, out=out)
        else:
            np.multiply(x[at], weight, out=shaped[to])
            out[to] += shaped[to]


def _spread_axis(delta: F32, axis: int, mode: int, stride: int, out: F32) -> None:
    """Return to each pixel and its neighbours along one axis what `_blur_axis` took from them."""
    shaped = workers().scratch(delta.size, "blur tap", delta.dtype).reshape(delta.shape)
    out.fill(0)
    for weight, at, to in _taps(axis, mode, stride, out.shape[axis], delta.shape[axis]):
        out[at] += np.multiply(delta[to], weight, out=shaped[to])


def _taps(
    axis: int, mode: int, stride: int, size: int, count: int
) -> Iterator[tuple[np.float32, tuple[slice, ...], tuple[slice, ...]]]:
    """Yield, for each tap, its weight, its positions in the image, and the outputs that use it."""
    for offset, weight in ((0, 0.5), (1, 0.5)) if mode == 2 else ((0, 0.5), (-1, 0.25), (1, 0.25)):
        first = 1 if offset < 0 else 0  # the first output's tap is outside the image
        last = min(count, (size - 1 - offset) // stride + 1)
        if last > first:
            start = first * stride + offset
            stop = (last - 1) * stride + offset + 1
            along = (slice(None),) * axis
            at, to = slice(start, stop, stride), slice(first, last)
            yield np.float32(weight), (*along, at), (*along, to)
