"""Images as matrices of windows: the geometry of a convolution, and ``im2col_cpu``."""

from __future__ import annotations

import itertools
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

    def first_pixel(self, tap: int) -> int:
        """Return the pixel that a tap sees in window 0, along either axis; may be outside."""
        return (tap - self.pad) * self.dilation


@dataclass(frozen=True)
class Strip:
    """Some rows of one image, or rows of tiles.

    Attributes
    ----------
    image, first, rows : int
        Rows ``first`` to ``first + rows - 1`` of image ``image`` of the batch.
    """

    image: int
    first: int
    rows: int


def strips(n: int, rows: int, at_once: int) -> list[list[Strip]]:
    """Share out the rows of a batch.

    Parameters
    ----------
    n : int
        Images.
    rows : int
        Rows of each.
    at_once : int
        How many rows are wanted together.

    Returns
    -------
    list of list of Strip
        Several whole images where they are smaller than that, else a part of one image.
    """
    if at_once >= rows:
        images = [Strip(i, 0, rows) for i in range(n)]
        step = at_once // rows
        return [images[i : i + step] for i in range(0, n, step)]
    parts = -(-rows // at_once)
    edges = [rows * part // parts for part in range(parts + 1)]
    return [
        [Strip(i, first, last - first)]
        for i in range(n)
        for first, last in itertools.pairwise(edges)
    ]


def pieces(size: int, at_once: int) -> list[slice]:
    """Cut ``range(size)`` into slices of ``at_once``; the last may be shorter."""
    return [slice(i, min(i + at_once, size)) for i in range(0, size, at_once)]


def tap_range(first: int, stride: int, pixels: int, windows: int) -> tuple[int, int]:
    """Find the windows whose tap lies inside the image, along one axis.

    Parameters
    ----------
    first : int
        Pixel that the tap sees in window 0; may be outside.
    stride, pixels, windows : int
        Of this axis.

    Returns
    -------
    begin, end : int
        Windows ``begin <= i < end`` see pixel ``first + i*stride`` of the image.
    """
    begin = min(max(0, -(first // stride)), windows)
    end = min(windows, (pixels - 1 - first) // stride + 1)
    return begin, max(begin, end)


def gather_taps(x: F32, geometry: ConvGeometry, first: int, out: F32) -> None:
    """Copy what each tap sees of some rows of windows.

    Parameters
    ----------
    x : float32 array (c, h, w)
        One image, or some channels of it.
    geometry : ConvGeometry
        ``groups`` plays no part.
    first : int
        The first row of windows.
    out : float32 array (c, k, k, rows, ow)
        Filled completely: with 0 where a tap lies outside of the image.
    """
    h, w = x.shape[1:]
    k, rows, ow = out.shape[2:]
    down, across = geometry.stride_y, geometry.stride_x
    for ky in range(k):
        top = geometry.first_pixel(ky) + first * down
        y0, y1 = tap_range(top, down, h, rows)
        if y0 > 0:
            out[:, ky, :, :y0] = 0
        if y1 < rows:
            out[:, ky, :, y1:] = 0
        if y0 == y1:
            continue
        seen = x[:, top + y0 * down : top + (y1 - 1) * down + 1 : down]
        for kx in range(k):
            left = geometry.first_pixel(kx)
            x0, x1 = tap_range(left, across, w, ow)
            target = out[:, ky, kx, y0:y1]
            if x0 > 0:
                target[:, :, :x0] = 0
            if x1 < ow:
                target[:, :, x1:] = 0
            if x0 < x1:
                columns = slice(left + x0 * across, left + (x1 - 1) * across + 1, across)
                np.copyto(target[:, :, x0:x1], seen[:, :, columns])


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
    if out is None:
        k = geometry.size
        out = np.empty((len(x), k, k, *geometry.out_hw(*x.shape[1:])), np.float32)
    gather_taps(x, geometry, 0, out)
    return out
