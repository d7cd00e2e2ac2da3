"""Enlarge images by repeating pixels, and shrink them by adding pixels up.  C: ``src/blas.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating


@floating
def upsample_cpu(x: F32, stride: int, scale: float, out: F32) -> None:
    """Repeat every pixel in ``stride`` rows and columns.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    stride : int
    scale : float
        Factor for all values.
    out : float32 array (n, c, h * stride, w * stride)
        Receives the result.

    Notes
    -----
    C: ``upsample_cpu`` in ``src/blas.c``, with ``forward=1``.
    """
    tall = _pixels(out, stride)
    for column in range(stride):
        if scale == 1:
            np.copyto(tall[:, :, :, 0, :, column], x)
        else:
            np.multiply(x, np.float32(scale), out=tall[:, :, :, 0, :, column])
    for row in range(1, stride):
        np.copyto(tall[:, :, :, row], tall[:, :, :, 0])


@floating
def downsample_cpu(x: F32, stride: int, scale: float, out: F32) -> None:
    """Add up the pixels of every square of side ``stride``.

    Parameters
    ----------
    x : float32 array (n, c, h * stride, w * stride)
    stride : int
    scale : float
        Factor for all values.
    out : float32 array (n, c, h, w)
        Receives the result.

    Notes
    -----
    C: ``upsample_cpu`` in ``src/blas.c``, with ``forward=0``.
    """
    tall = _pixels(x, stride)
    np.copyto(out, tall[:, :, :, 0, :, 0])
    for row in range(stride):
        for column in range(stride):
            if row or column:
                np.add(out, tall[:, :, :, row, :, column], out=out)
    if scale != 1:
        np.multiply(out, np.float32(scale), out=out)


def _pixels(x: F32, stride: int) -> F32:
    """View (n, c, h * stride, w * stride) as (n, c, h, stride, w, stride)."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // stride, stride, w // stride, stride)
