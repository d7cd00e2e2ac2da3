"""Images as matrices of windows: the geometry of a convolution, and ``im2col_cpu``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating
from darknet_bn.work.threads import workers


@dataclass(frozen=True, kw_only=True)
class ConvGeometry:
    """The positions of the windows of a convolution.

    Attributes
    ----------
    size : int
        Side of the kernel.
    stride_x, stride_y : int
        Pixels from one window to the next.
    pad : int
        Rows and columns of zeros around the image, counted in taps: ``pad*dilation`` pixels.
    dilation : int
        Pixels from one tap to the next.
    groups : int
        Number of parts that the channels and filters are split into.
    """

    size: int
    stride_x: int = 1
    stride_y: int = 1
    pad: int = 0
    dilation: int = 1
    groups: int = 1

    def out_hw(self, h: int, w: int) -> tuple[int, int]:
        """Count the windows down and across as C does: truncating, and ignoring dilation.

        Parameters
        ----------
        h, w : int
            Pixels of the input.

        Returns
        -------
        oh, ow : int
            Pixels of the output; below 1 if the kernel does not fit.
        """
        return self._windows(h, self.stride_y), self._windows(w, self.stride_x)

    def _windows(self, pixels: int, stride: int) -> int:
        room = pixels + 2 * self.pad - self.size
        return (room // stride if room >= 0 else -(-room // stride)) + 1


def windows(x: F32, geometry: ConvGeometry, first: int, rows: int) -> F32:
    """Return a view of what each tap reads in some rows of windows.

    Parameters
    ----------
    x : float32 array (c, h, w), or (m, c, h, w)
        One image, or some channels of it, or several images; each channel contiguous.
    geometry : ConvGeometry
        ``groups`` is ignored.
    first, rows : int
        The first row of windows, and the number of rows.

    Returns
    -------
    taps : float32 array (c, k, k, rows, ow), or (c, k, k, m, rows, ow); to be read only
        A view of the image itself if all taps are inside it; otherwise a view of a copy with zeros
        around the image, which is valid until this thread's next call.
    """
    *images, c, h, w = x.shape
    k, d = geometry.size, geometry.dilation
    ow = geometry.out_hw(h, w)[1]
    down, across = geometry.stride_y, geometry.stride_x
    top, left = first * down - geometry.pad * d, -geometry.pad * d
    high, wide = (rows - 1) * down + (k - 1) * d + 1, (ow - 1) * across + (k - 1) * d + 1
    if top >= 0 and left >= 0 and top + high <= h and left + wide <= w:
        seen = x[..., top:, left:]
    else:
        shape = (*images, c, high, wide)
        seen = workers().scratch(math.prod(shape), "padded", x.dtype).reshape(shape)
        seen.fill(0)
        y0, y1 = min(max(0, -top), high), max(0, min(high, h - top))
        x0, x1 = min(max(0, -left), wide), max(0, min(wide, w - left))
        inside = x[..., top + y0 : top + y1, left + x0 : left + x1]
        np.copyto(seen[..., y0:y1, x0:x1], inside)
    *image, channel, row, pixel = seen.strides
    strides = (channel, d * row, d * pixel, *image, down * row, across * pixel)
    return as_strided(seen, (c, k, k, *images, rows, ow), strides, writeable=False)


@floating
def im2col_cpu(x: F32, geometry: ConvGeometry, *, out: F32 | None = None) -> F32:
    """Lay out what each tap reads from each window, one row for each tap.

    Parameters
    ----------
    x : float32 array (c, h, w)
        One image.
    geometry : ConvGeometry
        ``groups`` is ignored.
    out : float32 array (c, k, k, oh, ow), optional
        Receives the rows.

    Returns
    -------
    columns : float32 array (c, k, k, oh, ow)
        0 where a tap is outside the image.

    Notes
    -----
    C: ``im2col_cpu`` in ``src/im2col.c``, and AlexeyAB's ``im2col_cpu_ext`` with two strides and
    dilation, in which the padding is ``pad*dilation`` pixels.
    """
    taps = windows(x, geometry, 0, geometry.out_hw(*x.shape[1:])[0])
    if out is None:
        return taps.copy()
    np.copyto(out, taps)
    return out
