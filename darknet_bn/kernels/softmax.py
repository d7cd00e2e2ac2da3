"""Softmax.  C: ``softmax_cpu`` in ``src/blas.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32

_LOWEST = np.finfo(np.float32).min


def softmax_cpu(x: F32, temp: float, out: F32, *, axis: int = -1) -> None:
    """Turn values into shares of one: ``e^(x/temp)`` over its sum along an axis.

    Parameters
    ----------
    x : float32 array
    temp : float
        The temperature.
    out : float32 array of the same shape
        Where the result goes; may be ``x``.
    axis : int
        Along which the shares add up to one.

    Notes
    -----
    C: ``softmax`` and ``softmax_cpu`` in ``src/blas.c``.
    """
    with np.errstate(all="ignore"):
        np.divide(x, np.float32(temp), out=out)
        largest = np.fmax.reduce(out, axis=axis, keepdims=True, initial=_LOWEST)
        np.subtract(out, largest, out=out)
        np.exp(out, out=out)
        np.divide(out, np.add.reduce(out, axis=axis, keepdims=True), out=out)
