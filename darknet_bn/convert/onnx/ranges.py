"""Ranges of values, from which 8-bit numbers are chosen.

A range that holds every value has coarse steps if a few values are far out.  The other two methods
cut those off: a percentile cuts off a fixed share, and entropy cuts where the counts of the 8-bit
values tell most about the counts of the originals (the least Kullback-Leibler divergence).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import DarknetError

CalibrationMethod = Literal["min-max", "percentile", "entropy"]
METHODS: tuple[CalibrationMethod, ...] = ("min-max", "percentile", "entropy")

PERCENTILE = 99.999
"""The share of the values that ``percentile`` keeps, in percent."""
_BINS = 2048
_LEVELS = 128  # of absolute values, in 8 bits with a sign
_STRIDE = 16  # bins between two limits that ``entropy`` tries
_NEVER = 1e-10  # the probability of a value that the 8-bit values do not predict

Range = tuple[float, float]


class Ranges:
    """The ranges of some values, over all images.

    Show every image to `widen`; if another method than ``min-max`` is wanted, show each of them to
    `count` after that.

    Parameters
    ----------
    names : iterable of str
        The names of the values.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._ends: dict[str, Range] = {name: (0.0, 0.0) for name in names}
        self._counts: dict[str, F64] = {}
        self._totals: dict[str, int] = {}

    def widen(self, values: Mapping[str, F32]) -> None:
        """Let the ranges include some values; all include 0, which 8-bit numbers must represent.

        Raises
        ------
        DarknetError
            A value is NaN or infinite.
        """
        for name, (low, high) in self._ends.items():
            found = values[name]
            lowest, highest = float(found.min(initial=low)), float(found.max(initial=high))
            if not (np.isfinite(lowest) and np.isfinite(highest)):
                raise DarknetError(
                    f"{name} has values that are not finite, so it has no range",
                    hint="the command check shows whether the weights are NaN or infinite",
                )
            self._ends[name] = lowest, highest

    def count(self, values: Mapping[str, F32]) -> None:
        """Count some values, by size; the ranges must include them already."""
        for name, ends in self._ends.items():
            sizes = np.abs(values[name]).reshape(-1)
            self._totals[name] = self._totals.get(name, 0) + len(sizes)
            largest = _largest(ends)
            if not largest:
                continue
            bins = np.minimum((sizes * np.float32(_BINS / largest)).astype(np.intp), _BINS - 1)
            bins = bins[sizes > 0]  # zeros are represented exactly, in any range
            counts = np.bincount(bins, minlength=_BINS)
            self._counts[name] = self._counts.get(name, np.zeros(_BINS)) + counts

    def by(self, method: CalibrationMethod) -> dict[str, Range]:
        """Return the range of each value by a method."""
        return {name: self._cut(name, method) for name in self._ends}

    def _cut(self, name: str, method: CalibrationMethod) -> Range:
        low, high = ends = self._ends[name]
        if method == "min-max" or not _largest(ends):
            return ends
        counts = self._counts[name]
        kept = percentile(counts, self._totals[name]) if method == "percentile" else entropy(counts)
        limit = kept * _largest(ends) / _BINS
        return max(low, -limit), min(high, limit)


def _largest(ends: Range) -> float:
    return max(-ends[0], ends[1])


def percentile(counts: F64, total: int) -> int:
    """Return how many bins hold `PERCENTILE` of all values.

    Parameters
    ----------
    counts : float64 array (bins,)
        How many absolute values are in each bin, from the smallest.
    total : int
        How many values there are, zeros included.
    """
    beyond = np.cumsum(counts[::-1])[::-1]  # from each bin on
    allowed = total * (1 - PERCENTILE / 100)
    return max(1, int((beyond > allowed).sum()))


def entropy(counts: F64) -> int:
    """Return how many bins to keep, so that the 8-bit values tell most about the originals.

    Parameters
    ----------
    counts : float64 array (bins,)
        How many absolute values are in each bin, from the smallest.
    """
    if counts.sum() == 0:
        return len(counts)
    tries = range(_LEVELS, len(counts) + 1, _STRIDE)
    return min(reversed(tries), key=lambda kept: _divergence(counts, kept))


def _divergence(counts: F64, kept: int) -> float:
    """Return how badly 8-bit values describe the counts, if only ``kept`` bins are represented."""
    inside = counts[:kept]
    if not inside.any():
        return np.inf
    truth = inside.copy()
    truth[-1] += counts[kept:].sum()  # values beyond the limit become the largest
    present = inside > 0
    starts = np.arange(_LEVELS) * kept // _LEVELS
    sums, used = (np.add.reduceat(each, starts) for each in (inside, present.astype(np.float64)))
    level = np.divide(sums, used, out=np.zeros_like(sums), where=used > 0)
    guess = np.repeat(level, np.diff(starts, append=kept)) * present
    p, q = truth / truth.sum(), np.maximum(guess / guess.sum(), _NEVER)
    there = p > 0
    return float((p[there] * np.log(p[there] / q[there])).sum())
