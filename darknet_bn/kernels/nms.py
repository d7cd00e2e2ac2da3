"""Non-maximum suppression: keep the best of boxes that overlap.  C: ``src/box.c``.

The programs compare each box with all better ones, once for each class.  Here the overlaps are
computed once, as rows of bits, and each class looks only at its own boxes, the best first: a box
that is covered by none before it stays, and covers what its row says.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.kernels.box import Boxes, box_diounms, box_iou
from darknet_bn.workers import workers

NmsKind = Literal["default", "greedynms", "diounms", "cornersnms"]

_MOST_BYTES = 1 << 27  # of bits at once: 32768 boxes
_TILE = 1 << 16  # pairs of boxes: what is computed for them fits the second-level cache
_DIOU = 0.6

Bits = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp]


def do_nms_sort(boxes: Boxes, thresh: float) -> Boxes:
    """Suppress, class by class, what overlaps a more probable box of the class.

    Parameters
    ----------
    boxes : Boxes
    thresh : float
        Suppressed is what has an IoU over it.

    Returns
    -------
    boxes : Boxes
        Probability 0 where suppressed; in the order that sorting by each class in turn leaves.
        Boxes with objectness 0 are neither changed nor compared, and come last.

    Notes
    -----
    C: ``do_nms_sort`` in ``src/box.c``.  C does not say which of two equally probable boxes comes
    first; here it is the one that came first.  A box with NaN in it suppresses nothing.
    """
    return _by_class(boxes, thresh, None)


def diounms_sort(boxes: Boxes, thresh: float, nms_kind: NmsKind, beta1: float = 0.6) -> Boxes:
    """Suppress as `do_nms_sort`, by the measure that ``nms_kind`` names.

    Parameters
    ----------
    boxes : Boxes
    thresh : float
    nms_kind : "greedynms", "diounms", "cornersnms" or "default"
        `box_diou`, `box_diounms`, or for the last two `box_iou`.
    beta1 : float
        The exponent of ``diounms``.

    Returns
    -------
    boxes : Boxes

    Notes
    -----
    C: ``diounms_sort`` in AlexeyAB's ``src/box.c``.
    """
    return _by_class(boxes, thresh, {"greedynms": _DIOU, "diounms": beta1}.get(nms_kind))


def do_nms_obj(boxes: Boxes, thresh: float) -> Boxes:
    """Suppress what overlaps a box of higher objectness, of whatever class.

    Parameters
    ----------
    boxes : Boxes
    thresh : float
        Suppressed is what has an IoU over it.

    Returns
    -------
    boxes : Boxes
        By objectness; where suppressed, it is 0, and so are all classes.

    Notes
    -----
    C: ``do_nms_obj`` in ``src/box.c``.
    """
    seen = np.flatnonzero(boxes.objectness)
    order = seen[np.argsort(-boxes.objectness[seen], kind="stable")]
    kept = np.zeros(len(boxes), np.bool_)
    overlaps = _Overlaps(boxes.xywh[order], thresh, None)
    kept[order[_survivors(np.arange(len(order)), overlaps)]] = True
    objectness, probabilities = boxes.objectness.copy(), boxes.probabilities.copy()
    objectness[~kept] = 0
    probabilities[order[~kept[order]]] = 0
    rest = np.flatnonzero(boxes.objectness == 0)
    return Boxes(boxes.xywh, objectness, probabilities).take(np.concatenate((order, rest)))


def _by_class(boxes: Boxes, thresh: float, beta: float | None) -> Boxes:
    seen = boxes.objectness != 0
    order, rest = np.flatnonzero(seen), np.flatnonzero(~seen)
    before = boxes.probabilities
    rows = order[before[order].any(1)]
    place = np.zeros(len(boxes), np.intp)
    place[rows] = np.arange(len(rows))
    overlaps = _Overlaps(boxes.xywh[rows], thresh, beta)
    after = np.zeros_like(before)
    after[rest] = before[rest]
    for k in np.flatnonzero(before[rows].any(0)):
        values = before[order, k]
        by_value = np.argsort(-values, kind="stable")
        order, values = order[by_value], values[by_value]
        kept = rows[_survivors(place[order[values != 0]], overlaps)]
        after[kept, k] = before[kept, k]
    return Boxes(boxes.xywh, boxes.objectness, after).take(np.concatenate((order, rest)))


def _survivors(order: Rows, overlaps: _Overlaps) -> Rows:
    """Return those that no survivor before them covers.

    That a survivor covers boxes in front of it too changes nothing: those that it overlaps are
    covered already, or it would not survive.
    """
    covered = bytearray(overlaps.width)
    bits = np.frombuffer(covered, np.uint8)  # the same memory: one is faster to read, one to write
    kept = []
    for each in order.tolist():
        if not covered[each >> 3] >> (each & 7) & 1:
            kept.append(each)
            np.bitwise_or(bits, overlaps.row(each), out=bits)
    return np.array(kept, np.intp)


class _Overlaps:
    """Which boxes overlap by more than a threshold, as a row of bits for each.

    Where they are too many to keep all rows, a row is computed whenever it is asked for.
    """

    def __init__(self, xywh: F32, thresh: float, beta: float | None) -> None:
        self._xywh = xywh
        self._thresh = np.float32(thresh)
        self._beta = beta
        self.width = -(-len(xywh) // 8)
        self._rows: Bits | None = None
        if len(xywh) * self.width <= _MOST_BYTES:
            self._rows = np.empty((len(xywh), self.width), np.uint8)
            step = max(1, _TILE // max(1, len(xywh)))
            tiles = [slice(at, at + step) for at in range(0, len(xywh), step)]
            workers().run(self._fill, tiles)

    def row(self, index: int) -> Bits:
        """Return the bits (width,) of a box, the first in the lowest bit of a byte."""
        if self._rows is None:
            return self._compute(slice(index, index + 1))[0]
        return self._rows[index]

    def _fill(self, tile: slice) -> None:
        assert self._rows is not None
        self._rows[tile] = self._compute(tile)

    def _compute(self, tile: slice) -> Bits:
        a, b = self._xywh[tile, None], self._xywh[None]
        over = box_iou(a, b) > self._thresh
        if self._beta is not None:  # never larger than the IoU, so only these can pass
            i, j = np.nonzero(over)
            over[i, j] = box_diounms(a[i, 0], b[0, j], self._beta) > self._thresh
        return np.packbits(over, axis=1, bitorder="little")
