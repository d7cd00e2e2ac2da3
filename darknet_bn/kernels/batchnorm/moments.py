"""Mean and variance of each filter over more images than fit in one array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.batchnorm.filters import (
    by_filter,
    channel_dot,
    channel_sum,
    in_c,
    share_filters,
)
from darknet_bn.kernels.floating import floating


@dataclass(frozen=True)
class Moments:
    """The number of values of each filter, their mean, and their spread around it.

    Attributes
    ----------
    count : int
    mean : float64 array (f,)
    spread : float64 array (f,)
        The sum of the squared distances from the mean.
    """

    count: int
    mean: F64
    spread: F64

    @property
    def variance(self) -> F64:
        """Variance with the divisor ``count - 1``, as in `variance_cpu`; NaN for a single value."""
        with in_c():
            return self.spread / np.float64(self.count - 1)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of the values of both parts together."""
        count = self.count + other.count
        with in_c():
            distance = other.mean - self.mean
            mean = self.mean + distance * (other.count / count)
            between = distance * distance * (self.count * other.count / count)
            return Moments(count, mean, self.spread + other.spread + between)


@floating
def moments(x: F32) -> Moments:
    """Return the moments of each filter over the batch and all pixels.

    Parameters
    ----------
    x : float32 array (n, f, ...)
        With at least one value for each filter.

    Returns
    -------
    moments : Moments
        Summed in float64.

    Raises
    ------
    ShapeError
        If ``x`` has fewer than two axes.
    """
    xs = by_filter(x)
    n, f, s = xs.shape
    mean, spread = np.empty(f), np.empty(f)

    def add_up(filters: slice) -> None:
        wide: npt.NDArray[Any] = xs[:, filters].astype(np.float64)
        with in_c():
            mean[filters] = channel_sum(wide) / (n * s)
            wide -= mean[filters, None]
            spread[filters] = channel_dot(wide, wide)

    share_filters(add_up, xs)
    return Moments(n * s, mean, spread)
