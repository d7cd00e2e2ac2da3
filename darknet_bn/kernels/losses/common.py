"""What the losses of detection heads share: true boxes, and ways to go through them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.boxes.box import box_iou
from darknet_bn.work import measured
from darknet_bn.work.cuts import fitting

Rows = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

MOST = float(np.finfo(np.float32).max)


class TrueBoxes(NamedTuple):
    """All boxes of a batch, one after the other.

    Attributes
    ----------
    image : int array (m,)
        The image that each box belongs to; ascending.
    xywh : float32 array (m, 4)
    kind : int array (m,)
        The class.
    """

    image: Rows
    xywh: F32
    kind: Rows

    @classmethod
    def read(cls, truth: F32) -> TrueBoxes:
        """Return the boxes of each image before the first one whose x is 0.

        Parameters
        ----------
        truth : float32 array (n, boxes, 5)
        """
        image, number = np.nonzero(np.logical_and.accumulate(truth[:, :, 0] != 0, axis=1))
        rows = truth[image, number]
        return cls(image, rows[:, :4], rows[:, 4].astype(np.intp))

    def take(self, rows: Rows | Flags) -> TrueBoxes:
        """Return some of the boxes."""
        return TrueBoxes(self.image[rows], self.xywh[rows], self.kind[rows])

    def of(self, image: int) -> TrueBoxes:
        """Return the boxes of one image."""
        low, high = np.searchsorted(self.image, (image, image + 1))
        return TrueBoxes(self.image[low:high], self.xywh[low:high], self.kind[low:high])

    def cells(self, h: int, w: int) -> tuple[Rows, Rows, Flags]:
        """Return row and column (m,) of the cell of each centre, and whether that cell exists.

        In float32 the product is rounded as in C, which puts 0.7 of 10 columns in column 7.
        """
        places = self.xywh[:, :2] * np.array((w, h), self.xywh.dtype)
        # C cuts off the fraction: -0.5 is in column 0.
        inside: Flags = np.all((places > -1) & (places < (w, h)), axis=1)
        column, row = np.where(inside[:, None], places, 0).astype(np.intp).T
        return row, column, inside


def rounds(places: Rows) -> Iterator[Rows]:
    """Yield subsets of places in which each place occurs only once, in the original order.

    Parameters
    ----------
    places : int array (m,)
        Numbers, possibly repeated.

    Yields
    ------
    rows : int array (k,)
        Indices into ``places``: first every first occurrence, then every second one, and so on.
    """
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    lengths = np.diff(starts, append=len(ordered))
    time = np.arange(len(ordered)) - np.repeat(starts, lengths)
    for each in range(int(lengths.max(initial=0))):
        yield order[time == each]


def best_overlaps(xywh: F32, true: F32) -> F32:
    """Return the largest overlap of each box with any true box.

    Parameters
    ----------
    xywh : float32 array (4, k)
        Centre x and y, width and height of the boxes.
    true : float32 array (t, 4)

    Returns
    -------
    iou : float32 array (k,)
        0 if there are no true boxes.
    """
    k = xywh.shape[1]
    best = np.zeros(k, xywh.dtype)
    half = xywh[2:] / 2
    (left, top), (right, bottom) = xywh[:2] - half, xywh[:2] + half
    step = fitting(measured.OVERLAPS, k)
    with np.errstate(all="ignore"):  # sizes may be infinite, or 0
        area = xywh[2] * xywh[3]
        for start in range(0, len(true), step):
            x, y, w, h = true[start : start + step].astype(xywh.dtype).T[..., None]
            common = np.minimum(right, x + w / 2)
            common -= np.maximum(left, x - w / 2)
            np.maximum(common, 0, out=common)
            high = np.minimum(bottom, y + h / 2)
            high -= np.maximum(top, y - h / 2)
            np.maximum(high, 0, out=high)
            common *= high
            np.add(area, w * h, out=high)
            high -= common
            common /= high
            np.fmax(best, np.fmax.reduce(common, axis=0), out=best)
    return best


def nearest(xywh: F32, image: Rows, true: TrueBoxes) -> Rows:
    """Return the true box in its image that each box overlaps most, (k,).

    Parameters
    ----------
    xywh : float32 array (k, 4)
    image : int array (k,)
        The image of each box; it must have true boxes.
    true : TrueBoxes
    """
    best = np.zeros(len(xywh), np.intp)
    for each in np.unique(image):
        rows = np.flatnonzero(image == each)
        iou = box_iou(xywh[rows, None], true.of(int(each)).xywh)
        best[rows] = np.searchsorted(true.image, each) + first_largest(iou)
    return best


def first_largest(iou: F32) -> Rows:
    """Return the index of the largest overlap in each row (k, t); NaN is ignored."""
    best: Rows = np.argmax(np.where(np.isnan(iou), -1, iou), axis=-1)
    return best


def focal_slope(score: F64) -> F64:
    """Return the factor that ``focal_loss`` applies to the class deltas of each box, (k,).

    Parameters
    ----------
    score : float64 array (k,)
        Score of the true class.
    """
    pt = score + 1e-15
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = -0.5 * (1 - pt) * (2 * pt * np.log(pt) + pt - 1)
    return np.where(pt > 0, slope, 0.0)


def finite(values: F64, largest: float = MOST) -> F64:
    """Return the values with 0 for NaN or infinity, and the rest clipped to a largest value."""
    known = np.where(np.isfinite(values), values, 0.0)
    return np.clip(known, -largest, largest)
