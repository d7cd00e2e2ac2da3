"""The fixed blur behind a layer with ``antialiasing``, which does the striding for it.

C: there it is a convolution with constant weights, made in ``src/convolutional_layer.c`` and
``src/maxpool_layer.c`` of AlexeyAB.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.blocks import Block, run_blocks
from darknet_bn.workers import workers


def blurred_size(size: int, mode: int, stride: int) -> int:
    """Return the rows (or columns) that are left of ``size`` of them.

    Parameters
    ----------
    mode : int
        As in `blur`.
    """
    return (size - 2 if mode == 2 else size - 1) // stride + 1


def blur(x: F32, mode: int, stride_x: int, stride_y: int, out: F32) -> None:
    """Blur every channel, and keep one pixel of every stride.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    mode : int
        The value of ``antialiasing``.  2: the mean of 2 x 2 pixels, without padding; any other:
        3 x 3 with the weights 1 2 1 in both directions over 16, and zeros around the image.
    stride_x, stride_y : int
    out : float32 array (n, c, oh, ow)
        Where the result goes; `blurred_size` says how large.
    """
    n, c, h, w = x.shape

    def block(at: Block) -> None:
        _blur_block(x[at], mode, stride_x, stride_y, out[at])

    run_blocks(block, n, c, h * w)


def _blur_block(x: F32, mode: int, stride_x: int, stride_y: int, out: F32) -> None:
    m, c, _, w = x.shape
    rows = (m, c, out.shape[2], w)
    tall = workers().scratch(m * c * rows[2] * w, "blur rows").reshape(rows)
    _blur_axis(x, 2, mode, stride_y, tall)
    _blur_axis(tall, 3, mode, stride_x, out)


def _blur_axis(x: F32, axis: int, mode: int, stride: int, out: F32) -> None:
    """Weigh each pixel and its neighbours along one axis; the weights are powers of two."""
    taps = ((0, 0.5), (1, 0.5)) if mode == 2 else ((0, 0.5), (-1, 0.25), (1, 0.25))
    size, count = x.shape[axis], out.shape[axis]
    shaped = workers().scratch(out.size, "blur tap").reshape(out.shape)
    for number, (offset, weight) in enumerate(taps):
        first = 1 if offset < 0 else 0  # the first output's tap lies outside the image
        last = min(count, (size - 1 - offset) // stride + 1)
        start = first * stride + offset
        stop = (last - 1) * stride + offset + 1
        at = (slice(None),) * axis + (slice(start, stop, stride),)
        to = (slice(None),) * axis + (slice(first, last),)
        if number == 0:
            np.multiply(x[at], np.float32(weight), out=out)
        elif last > first:
            np.multiply(x[at], np.float32(weight), out=shaped[to])
            out[to] += shaped[to]
