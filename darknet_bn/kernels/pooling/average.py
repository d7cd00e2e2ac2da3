"""The mean of each channel or window.  C: ``avgpool_layer.c`` and ``maxpool_layer.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating
from darknet_bn.kernels.pooling.windows import Window, every, places, spread, with_border
from darknet_bn.work.cuts import Block, run_blocks
from darknet_bn.work.threads import workers


@floating
def forward_avgpool_layer(x: F32, out: F32) -> None:
    """Average each channel over its pixels.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    out : float32 array (n, c, 1, 1)
        Receives the result.

    Notes
    -----
    C: ``forward_avgpool_layer`` in ``src/avgpool_layer.c``, which adds the pixels one by one; the
    pairwise sum here is more accurate.
    """
    n, c, h, w = x.shape
    pixels = x.reshape(n, c, h * w)
    means = out[:, :, 0, 0]

    def block(at: Block) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            np.add.reduce(pixels[at], axis=2, out=means[at])
            np.divide(means[at], h * w, out=means[at])

    run_blocks(block, n, c, h * w)


@floating
def forward_local_avgpool_layer(x: F32, window: Window, out: F32) -> None:
    """Average every window over its pixels inside the image.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    window : Window
    out : float32 array (n, c, oh, ow)
        Receives the result.  A window outside the image gives NaN.

    Notes
    -----
    C: ``forward_local_avgpool_layer`` in AlexeyAB's ``src/maxpool_layer.c``.
    """
    n, c, h, w = x.shape
    oh, ow = out.shape[2:]
    counts = _counts(x, out, window)

    def block(at: Block) -> None:
        y = out[at]
        padded = with_border(x[at], window, (oh, ow), 0.0)
        shape = (*y.shape[:3], padded.shape[3])
        tall = (
            workers().scratch(y.size // ow * padded.shape[3], "pool rows", x.dtype).reshape(shape)
        )
        with np.errstate(all="ignore"):
            _sums(padded, 2, window.size, window.stride_y, tall)
            _sums(tall, 3, window.size, window.stride_x, y)
            np.divide(y, counts, out=y)

    run_blocks(block, n, c, h * w)


@floating
def backward_local_avgpool_layer(x: F32, delta: F32, window: Window, *, over_inside: bool) -> F32:
    """Return to every pixel of a window its share of the delta.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
        Only the shape of the input matters.
    delta : float32 array (n, c, oh, ow)
    window : Window
    over_inside : bool
        Whether the delta is divided by the number of pixels inside the image, as the mean is; if
        not, by all pixels of the window, as in the program.

    Returns
    -------
    delta_x : float32 array (n, c, h, w)

    Notes
    -----
    C: ``backward_local_avgpool_layer`` in AlexeyAB's ``src/maxpool_layer.c``.
    """
    counts = np.full(delta.shape[2:], window.size**2, delta.dtype)
    if over_inside:
        counts = _counts(x, delta, window)

    def block(seen: F32, at: Block, sums: F32) -> None:
        share = delta[at] / counts
        for taps in places(window, share.shape[2:]):
            sums[taps] += share

    return spread(block, x, window, delta)


def _counts(x: F32, y: F32, window: Window) -> F32:
    """Return how many pixels of each window are inside the image, (oh, ow)."""
    begin = window.padding // 2
    rows = _inside(x.shape[2], y.shape[2], window.stride_y, window.size, begin)
    columns = _inside(x.shape[3], y.shape[3], window.stride_x, window.size, begin)
    return np.outer(rows, columns).astype(x.dtype)


def _sums(x: F32, axis: int, size: int, stride: int, out: F32) -> None:
    """Add up ``size`` neighbours along an axis."""
    np.copyto(out, every(x, axis, 0, stride, out.shape[axis]))
    for tap in range(1, size):
        np.add(out, every(x, axis, tap, stride, out.shape[axis]), out=out)


def _inside(extent: int, count: int, stride: int, size: int, begin: int) -> list[int]:
    """Count the rows of each window inside the image."""
    starts = [i * stride - begin for i in range(count)]
    return [max(0, min(extent, start + size) - max(0, start)) for start in starts]
