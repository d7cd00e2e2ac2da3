"""Images as matrices of windows: the geometry of a convolution, and ``im2col_cpu``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32


@dataclass(frozen=True, kw_only=True)
class ConvGeometry:
    """Where the windows of a convolution lie.

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
        Parts the channels and filters are split into.
    """

    size: int
    stride_x: int = 1
    stride_y: int = 1
    pad: int = 0
    dilation: int = 1
    groups: int = 1

    def out_hw(self, h: int, w: int) -> tuple[int, int]:
        """Count the windows down and across, as C does: truncating, and blind to dilation.

        Parameters
        ----------
        h, w : int
            Pixels of the input.

        Returns
        -------
        oh, ow : int
            Pixels of the output; below 1 where the kernel does not fit.
        """
        return self._windows(h, self.stride_y), self._windows(w, self.stride_x)

    def _windows(self, pixels: int, stride: int) -> int:
        room = pixels + 2 * self.pad - self.size
        return (room // stride if room >= 0 else -(-room // stride)) + 1


def tap_range(first: int, stride: int, pixels: int, windows: int) -> tuple[int, int]:
    """Find the windows whose tap lies inside the image, along one axis.

    Parameters
    ----------
    first : int
        Pixel that the tap of window 0 reads; may be outside.
    stride, pixels, windows : int
        Of this axis.

    Returns
    -------
    begin, end : int
        Windows ``begin <= i < end`` read pixel ``first + i*stride`` of the image.
    """
    begin = max(0, -(first // stride))
    end = min(windows, (pixels - 1 - first) // stride + 1)
    return min(begin, windows), max(end, min(begin, windows))


def im2col_cpu(x: F32, geometry: ConvGeometry, *, out: F32 | None = None) -> F32:
    """Lay out what each tap sees of each window, one row a tap.

    Parameters
    ----------
    x : float32 array (c, h, w)
        One image.
    geometry : ConvGeometry
        ``groups`` plays no part.
    out : float32 array (c, k, k, oh, ow), optional
        Where the rows go.

    Returns
    -------
    columns : float32 array (c, k, k, oh, ow)
        0 where a tap lies outside of the image.

    Notes
    -----
    C: ``im2col_cpu`` in ``src/im2col.c``, and AlexeyAB's ``im2col_cpu_ext`` with two strides and
    dilation, where padding is ``pad*dilation`` pixels.
    """
    c, h, w = x.shape
    k = geometry.size
    oh, ow = geometry.out_hw(h, w)
    if out is None:
        out = np.empty((c, k, k, oh, ow), np.float32)
    for ky in range(k):
        top = (ky - geometry.pad) * geometry.dilation
        y0, y1 = tap_range(top, geometry.stride_y, h, oh)
        for kx in range(k):
            left = (kx - geometry.pad) * geometry.dilation
            x0, x1 = tap_range(left, geometry.stride_x, w, ow)
            row = out[:, ky, kx]
            row[:, :y0] = 0
            row[:, y1:] = 0
            if y0 == y1:
                continue
            row[:, y0:y1, :x0] = 0
            row[:, y0:y1, x1:] = 0
            if x0 < x1:
                row[:, y0:y1, x0:x1] = x[
                    :,
                    top + y0 * geometry.stride_y : top + (y1 - 1) * geometry.stride_y + 1 : (
                        geometry.stride_y
                    ),
                    left + x0 * geometry.stride_x : left + (x1 - 1) * geometry.stride_x + 1 : (
                        geometry.stride_x
                    ),
                ]
    return out
