"""The range that 256 levels cover, of a tensor whose values have been counted.

A wide range makes coarse steps, and a narrow one cuts values off.  The best has the least mean
squared error of both together.  In front of LEAKY_RELU an error below zero counts less: its slope
makes it smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F64
from darknet_bn.convert.tflite.flat_model import FlatModel

BINS = 1024
_LEVELS = 255  # steps of 8 bits
_SHARES = np.linspace(0.1, 1, 46)  # of the distance from zero to either end that are tried


@dataclass(frozen=True)
class Spread:
    """How the values of a tensor are spread.

    Attributes
    ----------
    low, high : float
        The least and the largest.
    counts : float64 array (BINS,)
        How many lie in each of as many equal parts between them.
    """

    low: float
    high: float
    counts: F64


def best_range(spread: Spread, slope: float = 1.0) -> tuple[float, float]:
    """Return the range of 8 bits that keeps most of a tensor.

    Parameters
    ----------
    spread : Spread
    slope : float
        What follows multiplies what is below zero by.

    Returns
    -------
    low, high : float
        With zero between them, which TFLite asks for.
    """
    low, high = min(spread.low, 0.0), max(spread.high, 0.0)
    width = (spread.high - spread.low) / BINS
    if width == 0 or not spread.counts.any():
        return low, high
    values = spread.low + (np.arange(BINS) + 0.5) * width
    weights = spread.counts * np.where(values < 0, slope**2, 1.0)
    lows, highs = low * _SHARES, high * _SHARES
    cut_below = np.square(np.maximum(lows[:, None] - values, 0)) @ weights
    cut_above = np.square(np.maximum(values - highs[:, None], 0)) @ weights
    steps = (highs - lows[:, None]) / _LEVELS
    error = steps**2 / 12 * weights.sum() + cut_below[:, None] + cut_above
    best_low, best_high = np.unravel_index(np.argmin(error), error.shape)
    return float(lows[best_low]), float(highs[best_high])


def slopes_below_zero(model: FlatModel) -> dict[str, float]:
    """Return the slope of each LEAKY_RELU by the name of what it alone reads."""
    readers: dict[str, int] = {}
    for operator in model.operators:
        for each in operator.inputs:
            if each is not None:
                readers[each.name] = readers.get(each.name, 0) + 1
    outputs = {each.name for each in model.outputs.values()}
    slopes = {}
    for operator in model.operators:
        x, alpha = operator.inputs[0], operator.options.get("alpha")
        if x is not None and isinstance(alpha, float) and readers[x.name] == 1:
            slopes[x.name] = alpha
    return {name: slope for name, slope in slopes.items() if name not in outputs}
