"""Non-maximum suppression: keep the best of overlapping boxes.  C: ``src/box.c``.

The programs compare each box with all better boxes, once for each class.  Here the overlapping
pairs are found once, and resolved for all classes at the same time: a box that is not the worse one
of any pair stays; the worse one of a pair with a box that stays is removed, together with its other
pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.kernels.boxes.box import Boxes, box_diounms, box_iou
from darknet_bn.work import measured
from darknet_bn.work.cuts import fitting

DEFAULT_OVERLAP = 0.45
"""How much boxes may overlap: ``nms`` in ``detector.c``, for the programs' ``detector test``."""

_DIOU = 0.6

Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Pairs = tuple[Rows, Rows]


def do_nms_sort(boxes: Boxes, thresh: float) -> Boxes:
    """Suppress, class by class, boxes that overlap a more probable box of the same class.

    Parameters
    ----------
    boxes : Boxes
    thresh : float
        Boxes with a larger IoU are suppressed.

    Returns
    -------
    boxes : Boxes
        Probabilities are 0 if suppressed; the order is the one that results from sorting by each
        class in turn.  Boxes with objectness 0 are neither changed nor compared, and come last.

    Notes
    -----
    C: ``do_nms_sort`` in ``src/box.c``.  C does not define the order of two equally probable boxes;
    here they keep their order.  A box that contains NaN suppresses nothing.
    """
    return _by_class(boxes, thresh, None)


def diounms_sort(boxes: Boxes, thresh: float, nms_kind: str, beta1: float = 0.6) -> Boxes:
    """Suppress boxes as `do_nms_sort` does, by the measure that ``nms_kind`` names.

    Parameters
    ----------
    boxes : Boxes
    thresh : float
    nms_kind : "greedynms", "diounms", "cornersnms" or "default"
        Selects `box_diou`, `box_diounms`, or for the last two `box_iou`.
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
    """Suppress boxes that overlap a box of higher objectness, whatever the class.

    Parameters
    ----------
    boxes : Boxes
    thresh : float
        Boxes with a larger IoU are suppressed.

    Returns
    -------
    boxes : Boxes
        Sorted by objectness; if suppressed, the objectness and all classes are 0.

    Notes
    -----
    C: ``do_nms_obj`` in ``src/box.c``.
    """
    seen, rest = _by_objectness(boxes)
    order = seen[np.argsort(-boxes.objectness[seen], kind="stable")]
    live = np.ones((1, len(order)), np.bool_)
    rank = np.arange(len(order))[None]
    goes = order[~_survivors(boxes.xywh[order], live, rank, thresh, None)[0]]
    objectness, probabilities = boxes.objectness.copy(), boxes.probabilities.copy()
    objectness[goes] = 0
    probabilities[goes] = 0
    return Boxes(boxes.xywh, objectness, probabilities).take(np.concatenate((order, rest)))


def _by_class(boxes: Boxes, thresh: float, beta: float | None) -> Boxes:
    order, rest = _by_objectness(boxes)
    probabilities = boxes.probabilities.copy()
    rows = order[probabilities[order].any(1)]
    columns = np.flatnonzero(probabilities[rows].any(0))
    rank = np.empty((len(columns), len(rows)), np.intp)
    place = np.empty(len(boxes), np.intp)
    for k, column in enumerate(columns):
        order = order[np.argsort(-probabilities[order, column], kind="stable")]
        place[order] = np.arange(len(order))
        rank[k] = place[rows]
    here = np.ix_(rows, columns)
    live = (probabilities[here] != 0).T.copy()
    stays = _survivors(boxes.xywh[rows], live, rank, thresh, beta)
    probabilities[here] = np.where(stays.T, probabilities[here], np.float32(0))
    return Boxes(boxes.xywh, boxes.objectness, probabilities).take(np.concatenate((order, rest)))


def _by_objectness(boxes: Boxes) -> tuple[Rows, Rows]:
    """Return the rows with an objectness, and the rows without."""
    seen = boxes.objectness != 0
    return np.flatnonzero(seen), np.flatnonzero(~seen)


def _survivors(xywh: F32, live: Mask, rank: Rows, thresh: float, beta: float | None) -> Mask:
    """Return which boxes stay in each class.

    Parameters
    ----------
    xywh : float32 array (k, 4)
    live : bool array (classes, k)
        Which boxes take part.
    rank : int array (classes, k)
        Position of each box; the lowest is the best.
    thresh : float
    beta : float or None
        The exponent of `box_diounms`; None for `box_iou`.

    Returns
    -------
    stays : bool array (classes, k)
    """
    stays = live.copy()
    pairs = _overlapping(xywh, thresh, beta)
    if pairs is None:
        for one, its_rank in zip(stays, rank, strict=True):
            _settle_in_turn(one, its_rank, xywh, thresh, beta)
        return stays
    step = fitting(measured.NMS_OVERLAPS, len(pairs[0]))
    for at in range(0, len(stays), step):
        _settle(stays[at : at + step], rank[at : at + step], pairs)
    return stays


def _overlapping(xywh: F32, thresh: float, beta: float | None) -> Pairs | None:
    """Return all pairs of boxes that overlap too much; None if there are too many pairs."""
    found: list[Pairs] = []
    count = at = 0
    while at < len(xywh):
        step = fitting(measured.NMS_PAIRS, len(xywh) - at)
        i, j = _over(xywh[at : at + step], xywh[at:], thresh, beta)
        each_once = i < j
        found.append((at + i[each_once], at + j[each_once]))
        count += len(found[-1][0])
        if count > measured.NMS_OVERLAPS:
            return None
        at += step
    if not found:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])


def _over(a: F32, b: F32, thresh: float, beta: float | None) -> Pairs:
    """Return which boxes of ``a`` (m, 4) and ``b`` (n, 4) overlap too much."""
    limit = np.float32(thresh)
    i, j = np.nonzero(box_iou(a[:, None], b[None]) > limit)
    if beta is not None:  # never more than the IoU, so only these can be over the threshold
        over = box_diounms(a[i], b[j], beta) > limit
        i, j = i[over], j[over]
    return i, j


def _settle(stays: Mask, rank: Rows, pairs: Pairs) -> None:
    """Remove suppressed boxes from ``stays`` (classes, k), in all classes at once."""
    k = stays.shape[1]
    group, pair = np.nonzero(stays[:, pairs[0]] & stays[:, pairs[1]])
    one, other = group * k + pairs[0][pair], group * k + pairs[1][pair]
    ranks = rank.reshape(-1)
    first = ranks[one] < ranks[other]
    better, worse = np.where(first, one, other), np.where(first, other, one)
    left: Mask = stays.reshape(-1)
    contested = np.zeros_like(left)
    while len(better):
        contested[worse] = True
        left[worse[~contested[better]]] = False
        contested[worse] = False
        open_ = left[better] & left[worse]
        better, worse = better[open_], worse[open_]


def _settle_in_turn(stays: Mask, rank: Rows, xywh: F32, thresh: float, beta: float | None) -> None:
    """Remove suppressed boxes from ``stays`` (k,), best box first: slower, but without pairs."""
    order = np.flatnonzero(stays)
    order = order[np.argsort(rank[order])]
    while len(order):
        best, order = order[:1], order[1:]
        _, goes = _over(xywh[best], xywh[order], thresh, beta)
        stays[order[goes]] = False
        order = np.delete(order, goes)
