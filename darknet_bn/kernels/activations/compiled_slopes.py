"""Piecewise linear activation functions and slopes compiled: one pass over a block.

Each function has the parameters of its twin in `bends`, and gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.compiling import loop

_STEEP = np.float32(3.4e38)


def pays(delta: F32, y: F32, *rest: Any) -> bool:
    """Return whether these loops are for a block of this type."""
    return delta.dtype == np.float32 and delta.flags.c_contiguous and y.flags.c_contiguous


def rectifies(y: F32, slope: np.float32) -> bool:
    """Return whether `rectify` is for a block of this type."""
    return y.dtype == np.float32 and y.flags.c_contiguous


def rectify(y: F32, slope: np.float32) -> None:
    """Do what `bends._rectify` does."""
    _rectify(y.reshape(-1), slope)


def steep(delta: F32, y: F32, low: float) -> None:
    """Do what `bends._steep` does."""
    _steep(delta.reshape(-1), y.reshape(-1), np.float32(low))


def rectified(delta: F32, y: F32) -> None:
    """Do what `bends.relu_slope` does."""
    _rectified(delta.reshape(-1), y.reshape(-1))


@loop()
def _rectify(y: F32, slope: np.float32) -> None:
    for k in range(len(y)):
        low = y[k] * slope
        y[k] = y[k] if y[k] > low else low  # NaN is neither, and low is NaN too


@loop()
def _steep(delta: F32, y: F32, low: np.float32) -> None:
    one = np.float32(1)
    for k in range(len(delta)):
        slope = y[k] * _STEEP
        slope = low if slope < low else slope  # NaN is neither
        slope = one if slope > one else slope
        delta[k] = delta[k] * slope


@loop()
def _rectified(delta: F32, y: F32) -> None:
    for k in range(len(delta)):
        delta[k] = delta[k] * np.float32(y[k] > 0)
