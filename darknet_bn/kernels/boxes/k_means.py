"""Sizes that fit boxes: k-means with the distance 1 - IoU of boxes with the same centre.

Starts are drawn as in k-means++: each centre with the square of its distance to those before it.
Nothing here is summed in an order that depends on threads: each run is one thread's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F64
from darknet_bn.work.cuts import pieces
from darknet_bn.work.threads import workers

_STARTS = 8  # besides the one that is given
_ROUNDS = 300  # of each run, at most
_ENOUGH = 1e-7  # a round that gains less mean IoU is the last
_AT_ONCE = 1 << 15  # boxes


def fit_sizes(sizes: F64, count: int, seed: int, first: F64 | None = None) -> F64:
    """Return the sizes that fit boxes best, of several runs of k-means.

    Parameters
    ----------
    sizes : float64 array (boxes, 2)
        Width and height of each box, at least ``count`` different ones.
    count : int
    seed : int
        Seed of the starts.  The result does not depend on the number of threads.
    first : float64 array (count, 2), optional
        One more start.

    Returns
    -------
    fitted : float64 array (count, 2)
    """
    rngs = np.random.default_rng(seed).spawn(_STARTS)
    runs: list[tuple[float, F64]] = [(-1.0, np.zeros((count, 2)))] * (_STARTS + 1)

    def run(number: int) -> None:
        if number < _STARTS:
            runs[number] = _k_means(sizes, _plus_plus(sizes, count, rngs[number]))
        elif first is not None:
            runs[number] = _k_means(sizes, first)

    workers().run(run, range(len(runs)))
    return max(runs, key=lambda each: each[0])[1]


def _k_means(sizes: F64, centres: F64) -> tuple[float, F64]:
    """Move centres to the mean of the boxes that are nearest to them; return the best round's."""
    best = -1.0, centres
    for _ in range(_ROUNDS):
        nearest, ious = best_anchors(sizes, centres)
        gain = float(ious.mean()) - best[0]
        if gain > 0:
            best = float(ious.mean()), centres
        if gain < _ENOUGH:
            break
        counts = np.bincount(nearest, minlength=len(centres))
        sums = [np.bincount(nearest, sizes[:, side], len(centres)) for side in (0, 1)]
        means = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
        centres = np.where(counts[:, None] > 0, means, centres)
    return best


def _plus_plus(sizes: F64, count: int, rng: np.random.Generator) -> F64:
    """Draw boxes as centres, each with the square of its distance to those drawn before."""
    chosen = [int(rng.integers(len(sizes)))]
    distance = np.full(len(sizes), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, 1 - best_anchors(sizes, sizes[chosen[-1:]])[1])
        weights = np.maximum(distance, 0) ** 2
        chosen.append(int(rng.choice(len(sizes), p=weights / weights.sum())))
    return sizes[chosen]


def best_anchors(sizes: F64, anchors: F64) -> tuple[npt.NDArray[np.intp], F64]:
    """Return the best anchor for each box.

    Parameters
    ----------
    sizes : float64 array (boxes, 2)
    anchors : float64 array (anchors, 2)

    Returns
    -------
    nearest : int array (boxes,)
        Its number; the first of several equal ones.
    ious : float64 array (boxes,)
        The IoU with it, if both have the same centre.
    """
    nearest = np.empty(len(sizes), np.intp)
    ious = np.empty(len(sizes))
    areas = anchors[:, 0] * anchors[:, 1]
    for part in pieces(len(sizes), _AT_ONCE):
        some = sizes[part, None]
        common = np.minimum(some, anchors).prod(axis=2)
        iou = common / (some.prod(axis=2) + areas - common)
        nearest[part] = iou.argmax(axis=1)
        ious[part] = iou.max(axis=1)
    return nearest, ious
