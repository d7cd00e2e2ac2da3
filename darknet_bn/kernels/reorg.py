"""Pixels to channels and back.  C: ``reorg_cpu`` and ``flatten`` in ``src/blas.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.floating import floating


@floating
def reorg_cpu(
    x: F32, dims: tuple[int, int, int], stride: int, out: F32, *, forward: bool = False
) -> None:
    """Move the pixels of each square of side ``stride`` into channels, or back.

    Parameters
    ----------
    x : float32 array (n, ...)
        Each image has the number of values that ``dims`` gives.
    dims : (c, h, w)
        Shape of the small image with many channels; ``c`` is a multiple of ``stride`` squared.  The
        large image is (c / stride**2, h * stride, w * stride).
    stride : int
    out : float32 array (n, ...)
        Receives the result: the small image.
    forward : bool
        Whether to convert in the other direction: ``x`` is the small image, ``out`` the large one.

    Notes
    -----
    C: ``reorg_cpu`` in ``src/blas.c``.  ``[reorg]`` always passes the shape of its input as
    ``dims``, whether that is the small image or not, so it does not do what its name says; YOLOv2
    is trained with that.
    """
    c, h, w = dims
    n, deep = len(x), c // stride**2
    small = (n, stride, stride, deep, h, w)
    large = (n, deep, h, stride, w, stride)
    if forward:
        np.copyto(out.reshape(large), x.reshape(small).transpose(0, 3, 4, 1, 5, 2))
    else:
        np.copyto(out.reshape(small), x.reshape(large).transpose(0, 3, 5, 1, 2, 4))


@floating
def flatten(x: F32, size: int, layers: int, out: F32, *, forward: bool = True) -> None:
    """Turn planes into pixels, with all values of a pixel together; or back.

    Parameters
    ----------
    x : float32 array (n, ...)
        (layers, size) values per image, or with ``forward=False`` (size, layers).
    size, layers : int
        Number of pixels in a plane, and number of planes.
    out : float32 array (n, ...)
        Receives the result: (size, layers) values per image, or (layers, size).

    Notes
    -----
    C: ``flatten`` in ``src/blas.c``, which changes ``x`` in place.
    """
    there, back = (layers, size), (size, layers)
    inner, outer = (there, back) if forward else (back, there)
    np.copyto(out.reshape(len(out), *outer), x.reshape(len(x), *inner).transpose(0, 2, 1))
