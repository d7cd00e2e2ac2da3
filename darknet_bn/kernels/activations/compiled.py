"""Biases and piecewise linear activations compiled: one pass over the sums of a convolution."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations.bends import LINE
from darknet_bn.kernels.activations.row import Activation
from darknet_bn.kernels.compiling import loop


def pays(y: F32, biases: F32 | None, activation: Activation | None) -> bool:
    """Return whether the loop is for arrays and activations of these kinds."""
    if y.dtype != np.float32 or (activation is not None and activation.bend is None):
        return False
    return y.flags.c_contiguous or (y.ndim > 2 and y.swapaxes(0, 1).flags.c_contiguous)


def bind(y: F32, biases: F32 | None, activation: Activation | None) -> Callable[[], None]:
    """Do what ``_bind`` in `apply` does, with the same roundings."""
    if biases is None and activation is None:
        return lambda: None
    images = y[None] if y.flags.c_contiguous else y.swapaxes(0, 1)
    m, f = images.shape[:2]
    if biases is None:
        biases = np.zeros(f, np.float32)
    slope, top = (activation and activation.bend) or LINE
    return partial(_finish, images.reshape(m, f, -1), biases, slope, top)


@loop()
def _finish(y: F32, biases: F32, slope: np.float32, top: np.float32) -> None:
    for i in range(y.shape[0]):
        for f in range(y.shape[1]):
            _row(y[i, f], biases[f], slope, top)


@loop()
def _row(y: F32, bias: np.float32, slope: np.float32, top: np.float32) -> None:
    for i in range(len(y)):
        y[i] = bent(y[i] + bias, slope, top)


@loop()
def bent(x: np.float32, slope: np.float32, top: np.float32) -> np.float32:
    """Return x or, below 0, slope times x; at most ``top``."""
    low = slope * x if slope != 0 else slope
    y = low if x < 0 else x
    return top if y > top else y
