"""Biases that make up for what rounding does to the mean of each channel.

Rounded weights, and values cut off at the ends of a range, move the mean of what a convolution
gives.  The next layers see that as a shift of every pixel, which is worse than noise of the same
size; the bias can take it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.convert.onnx.ranges import Range

_STEPS, _LARGEST_WEIGHT = 255, 127


class Means:
    """The mean of each channel of some values, over images, as they are and rounded.

    Parameters
    ----------
    ranges : mapping from name to (float, float)
        The range of each value that is of interest.
    """

    def __init__(self, ranges: Mapping[str, Range]) -> None:
        self._ranges = ranges
        self._sums: dict[str, F64] = {}
        self._images = 0

    def add(self, values: Mapping[str, F32]) -> None:
        """Add some images, of values (n, c, h, w)."""
        for name, ends in self._ranges.items():
            x = values[name]
            pair = (x, rounded(x, ends))
            both = np.stack([each.mean((2, 3)).sum(0, dtype=np.float64) for each in pair])
            self._sums[name] = self._sums.get(name, np.zeros_like(both)) + both
        self._images += len(next(iter(values.values())))

    def of(self, name: str) -> tuple[F64, F64]:
        """Return the means of the channels as they are, and rounded."""
        exact, in_steps = self._sums[name] / self._images
        return exact, in_steps


def rounded(x: F32, ends: Range) -> F32:
    """Return values as 8 bits represent them, with steps of equal size between two ends."""
    low, high = ends
    step = np.float32((high - low) / _STEPS or 1.0)
    zero = np.rint(-low / step)
    whole: F32 = np.clip(np.rint(x / step) + zero, 0, _STEPS) - zero
    return whole * step


def rounded_weights(weights: F32) -> F64:
    """Return the weights (f, c, k, k) of a convolution as 8 bits represent them."""
    exact = weights.astype(np.float64)
    step = np.abs(exact).max(axis=(1, 2, 3), keepdims=True) / _LARGEST_WEIGHT
    step[step == 0] = 1.0
    whole: F64 = np.rint(exact / step) * step
    return whole


def shift(weights: F32, groups: int, means: Iterable[F64]) -> F64:
    """Return how much smaller the mean of each filter is if all is rounded.

    Parameters
    ----------
    weights : float32 array (f, c//groups, k, k)
    groups : int
    means : exact, rounded : float64 arrays (c,)
        The mean of each channel that the convolution reads.

    Returns
    -------
    shift : float64 array (f,)
        Without what the border of an image changes.
    """
    filters, channels = weights.shape[:2]
    group = np.arange(filters) // (filters // groups)
    read = group[:, None] * channels + np.arange(channels)
    exact, in_steps = (each[read] for each in means)
    kernels = (weights.astype(np.float64), rounded_weights(weights))
    before, after = (kernel.sum(axis=(2, 3)) for kernel in kernels)
    moved: F64 = (before * exact - after * in_steps).sum(axis=1)
    return moved
