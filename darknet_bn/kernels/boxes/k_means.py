"""Sizes that fit boxes: k-means with the distance 1 - IoU of boxes with the same centre.

Starts are drawn as in k-means++: each centre with the square of its distance to those before it.
A centre moves to the median of its boxes: for this distance the mean, which large boxes draw to
them, is further from the best place, and often stops after a few rounds.

Nothing here is summed in an order that depends on threads: each run is one thread's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F64
from darknet_bn.work import measured
from darknet_bn.work.cuts import pieces
from darknet_bn.work.threads import workers

_STARTS = 8  # besides the one that is given
_ROUNDS = 300  # of each run, at most
_ENOUGH = 1e-6  # a round that gains less mean IoU is the last
_SAMPLE = 20_000  # boxes that the starts are compared on


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
    rng = np.random.default_rng(seed)
    sample = sizes
    if len(sizes) > _SAMPLE:
        sample = sizes[np.sort(rng.choice(len(sizes), _SAMPLE, replace=False))]
    rngs = rng.spawn(_STARTS)
    drawn: list[tuple[float, F64]] = [(-1.0, sizes[:count])] * _STARTS

    def draw(number: int) -> None:
        drawn[number] = _k_means(sample, _plus_plus(sample, count, rngs[number]))

    workers().run(draw, range(_STARTS))
    starts = [max(drawn, key=lambda each: each[0])[1], *([] if first is None else [first])]
    fitted = [(-1.0, start) for start in starts]

    def fit(number: int) -> None:
        fitted[number] = _k_means(sizes, starts[number])

    workers().run(fit, range(len(starts)))
    return max(fitted, key=lambda each: each[0])[1]


def _k_means(sizes: F64, centres: F64) -> tuple[float, F64]:
    """Move centres to the median of the boxes nearest to them; return those of the best round."""
    best = -1.0, centres
    for _ in range(_ROUNDS):
        nearest, ious = best_anchors(sizes, centres)
        gain = float(ious.mean()) - best[0]
        if gain > 0:
            best = float(ious.mean()), centres
        if gain < _ENOUGH:
            break
        centres = _medians(sizes, nearest, centres)
    return best


def _medians(sizes: F64, nearest: npt.NDArray[np.intp], centres: F64) -> F64:
    """Return the median width and height of the boxes of each centre; of none, the centre."""
    counts = np.bincount(nearest, minlength=len(centres))
    some = np.flatnonzero(counts)
    first = (counts.cumsum() - counts)[some]
    low, high = first + (counts[some] - 1) // 2, first + counts[some] // 2
    moved = centres.copy()
    for side in (0, 1):
        column = sizes[np.lexsort((sizes[:, side], nearest)), side]
        moved[some, side] = (column[low] + column[high]) / 2
    return moved


def _plus_plus(sizes: F64, count: int, rng: np.random.Generator) -> F64:
    """Draw boxes as centres, each with the square of its distance to those drawn before."""
    chosen = [int(rng.integers(len(sizes)))]
    distance = np.full(len(sizes), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, 1 - best_anchors(sizes, sizes[chosen[-1:]])[1])
        weights = np.maximum(distance, 0) ** 2
        total = weights.sum()  # 0 if a sample has fewer different boxes
        chosen.append(int(rng.choice(len(sizes), p=weights / total if total else None)))
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
    width, height = anchors.T
    for part in pieces(len(sizes), measured.SIZES):
        w, h = sizes[part, :1], sizes[part, 1:]
        common = np.minimum(w, width) * np.minimum(h, height)
        iou = common / (w * h + width * height - common)
        nearest[part] = iou.argmax(axis=1)
        ious[part] = iou.max(axis=1)
    return nearest, ious
