"""Compare the boxes that come out of an exported file with the model's boxes.

All boxes of a detector are compared one by one.  The boxes that non-maximum suppression leaves are
compared as a set: boxes with nearly equal scores may come in either order, and a box may appear or
disappear if its score is at the threshold, or its overlap at the limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.convert.heads import Form
from darknet_bn.kernels.boxes.box import Boxes, join_boxes
from darknet_bn.layers.shape import Shape
from darknet_bn.model.model import Model
from darknet_bn.predictions.boxes import heads_of
from darknet_bn.run.differences import distances
from darknet_bn.work import measured

Rows: TypeAlias = npt.NDArray[np.intp]


def all_boxes(model: Model, outputs: Mapping[int, F32]) -> list[Boxes]:
    """Return the boxes of all heads for each image, whatever their scores.

    Parameters
    ----------
    model : Model
    outputs : mapping from layer number to float32 array
        The heads' outputs at least.
    """
    heads, net = heads_of(model.network), model.network.input
    count = len(outputs[next(iter(heads))])
    return [
        join_boxes(
            [
                head.boxes(outputs[i][image], net, -np.inf, model.dialect)
                for i, head in heads.items()
            ]
        )
        for image in range(count)
    ]


def of_model(head: Form, images: Sequence[Boxes], net: Shape) -> dict[str, F32]:
    """Return boxes and scores as `of_file` returns them."""
    xywh = np.stack([boxes.xywh for boxes in images])
    scores = np.stack([boxes.probabilities for boxes in images])
    if head == "decoded":
        return {"boxes": _corners(xywh), "confs": scores}
    return {"boxes": xywh * np.array((net.w, net.h) * 2, np.float32), "confs": scores}


def of_file(head: Form, found: Mapping[str, F32]) -> dict[str, F32]:
    """Return boxes and scores from a file's outputs, with the objectness in the scores."""
    if head == "decoded":
        return dict(found)
    rows = found["output0"]
    if head == "yolov5":
        return {"boxes": rows[:, :, :4], "confs": rows[:, :, 4:5] * rows[:, :, 5:]}
    return {"boxes": rows[:, :4].transpose(0, 2, 1), "confs": rows[:, 4:].transpose(0, 2, 1)}


# -- what suppression leaves -----------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """The limits of suppression, and how near to them a decision may go either way.

    Attributes
    ----------
    threshold, nms : float
        The score that a box must exceed; how much boxes of a class may overlap.
    score, edge : float
        The allowed difference of scores, and of left, top, right and bottom.
    """

    threshold: float
    nms: float
    score: float
    edge: float


@dataclass
class Pairing:
    """Which of the model's boxes match the boxes of a file.

    Attributes
    ----------
    expected : float32 array (m, 7)
        For each row of the file, the model's box; NaN if it has none.
    problems : list of str
        Differences that rounding does not explain.
    """

    expected: F32
    problems: list[str] = field(default_factory=list)


def over_threshold(images: Sequence[Boxes], judged: Sequence[Boxes], threshold: float) -> F32:
    """Return left, top, right, bottom and score where ``judged`` exceeds a threshold: (k, 5).

    Both are boxes of the same images, computed in different ways.
    """
    parts = [np.empty((0, 5), np.float32)]
    for boxes, judge in zip(images, judged, strict=True):
        box, kind = np.nonzero(judge.probabilities > threshold)
        scores = boxes.probabilities[box, kind]
        parts.append(np.concatenate((_corners(boxes.xywh[box]), scores[:, None]), axis=1))
    return np.concatenate(parts)


def pair(images: Sequence[Boxes], rows: F32, limits: Limits) -> Pairing:
    """Find the boxes that a file keeps, and judge whether suppression may keep just these.

    It may if each is a box of the model over the threshold, no two of them overlap too much, and
    each box that is not kept overlaps a better one that is.  With no allowance for rounding, this
    is true of one set only: the boxes that suppression leaves.

    Parameters
    ----------
    images : sequence of Boxes
        All boxes of the model, with all their scores.
    rows : float32 array (m, 7)
        The file's rows: image number, left, top, right, bottom, score and class.
    limits : Limits

    Returns
    -------
    pairing : Pairing
    """
    result = Pairing(np.full(rows.shape, np.nan, np.float32))
    classes = images[0].probabilities.shape[1]
    known = np.isin(rows[:, 0], np.arange(len(images))) & np.isin(rows[:, 6], np.arange(classes))
    for image, kind, *_ in rows[~known][:1, [0, 6]]:
        result.problems.append(
            f"a box names image {image:g} and class {kind:g}, which do not exist"
        )
    low = ~(rows[:, 5] > np.float32(limits.threshold))
    for row in rows[low][:1]:
        result.problems.append(f"{_named(row)} is not above the threshold")
    for image, boxes in enumerate(images):
        over = boxes.probabilities > limits.threshold - limits.score
        kinds = np.union1d(np.flatnonzero(over.any(0)), rows[rows[:, 0] == image, 6])
        for kind in np.intersect1d(kinds, np.arange(classes)).astype(int):
            mine = np.flatnonzero((rows[:, 0] == image) & (rows[:, 6] == kind))
            box = np.flatnonzero(over[:, kind])
            columns = np.empty((len(box), 7), np.float32)
            columns[:, 0], columns[:, 6] = image, kind
            columns[:, 1:5] = _corners(boxes.xywh[box])
            columns[:, 5] = boxes.probabilities[box, kind]
            _pair_class(columns, rows, mine, limits, result)
    return result


def _pair_class(candidates: F32, rows: F32, mine: Rows, limits: Limits, result: Pairing) -> None:
    """Pair the rows ``mine`` of an image and a class with candidates, and look for problems."""
    kept = _nearest(candidates, rows[mine])
    for row in rows[mine[kept < 0]]:
        result.problems.append(f"{_named(row)} is not one of the model's boxes")
    mine, kept = mine[kept >= 0], kept[kept >= 0]
    result.expected[mine] = candidates[kept]
    chosen = candidates[kept]
    for part in _parts(np.arange(len(chosen)), len(chosen)):
        least, _ = _overlaps(chosen[part, None], chosen[None], limits.edge)
        both = (least > limits.nms) & (part[:, None] < np.arange(len(chosen)))
        for one, other in np.argwhere(both):
            pair_of = f"{_named(chosen[part[one]])} and {_named(chosen[other])}"
            result.problems.append(f"{pair_of} are both present although they overlap")
    gone = np.ones(len(candidates), np.bool_)
    gone[kept] = False
    gone &= candidates[:, 5] > limits.threshold + limits.score
    for part in _parts(np.flatnonzero(gone), len(chosen)):
        each = candidates[part, None]
        _, most = _overlaps(each, chosen[None], limits.edge)
        better = chosen[None, :, 5] >= each[:, :, 5] - 2 * limits.score
        for at in part[~((most > limits.nms) & better).any(axis=1)]:
            result.problems.append(f"{_named(candidates[at])} is missing")


def _parts(rows: Rows, columns: int) -> Sequence[Rows]:
    """Cut rows into parts that make tables of limited size with that many columns."""
    count = -(-len(rows) * columns // measured.PROOF_PAIRS)
    return np.array_split(rows, max(1, count))


def _nearest(candidates: F32, rows: F32) -> Rows:
    """Return each row's candidate, the nearest first and each used once; -1 if none is left."""
    nearest = np.full(len(rows), np.inf)
    for part in _parts(np.arange(len(rows)), len(candidates)):
        distances = _distances(rows[part, None], candidates[None])
        nearest[part] = distances.min(axis=1, initial=np.inf)
    free = np.ones(len(candidates), np.bool_)
    chosen = np.full(len(rows), -1, np.intp)
    for at in np.argsort(nearest, kind="stable"):
        if free.any():
            distance = _distances(rows[at], candidates)
            chosen[at] = np.argmin(np.where(free, distance, np.inf))
            free[chosen[at]] = False
    return chosen


def _distances(rows: F32, candidates: F32) -> F64:
    """Return how far boxes and scores (..., 7) are from each other, broadcast."""
    largest = np.zeros(np.broadcast_shapes(rows.shape, candidates.shape)[:-1])
    for column in range(1, 6):
        mine, theirs = rows[..., column], candidates[..., column]
        np.maximum(largest, distances(theirs, mine), out=largest)
    return largest


def _overlaps(one: F32, other: F32, edge: float) -> tuple[F64, F64]:
    """Return the least and the most that boxes (..., 7) may overlap, if edges are off by ``edge``.

    A NaN overlap may be anything: its bounds are 0 and infinity.
    """
    a, b = one[..., 1:5].astype(np.float64), other[..., 1:5].astype(np.float64)
    bounds = []
    with np.errstate(all="ignore"):
        for room in (-2 * edge, 2 * edge):
            inner = _area(
                np.minimum(a[..., 2:], b[..., 2:]), np.maximum(a[..., :2], b[..., :2]), room
            )
            areas = (_area(each[..., 2:], each[..., :2], -room) for each in (a, b))
            overlap = inner / np.maximum(sum(areas) - inner, 0)
            bounds.append(np.where(inner == 0, 0, overlap))
    least, most = bounds
    least[np.isnan(least)] = 0
    most[np.isnan(most)] = np.inf
    return least, most


def _area(last: F64, first: F64, room: float) -> F64:
    """Return the area of boxes whose sides are longer by ``room``."""
    sides = np.maximum(last - first + room, 0)
    return sides[..., 0] * sides[..., 1]


def _named(row: F32) -> str:
    _, left, top, right, bottom, score, kind = row.tolist()
    place = f"{left:.3g}, {top:.3g} to {right:.3g}, {bottom:.3g}"
    return f"the box of class {kind:g} with score {score:.3g} at {place}"


def _corners(xywh: F32) -> F32:
    half = xywh[..., 2:] * np.float32(0.5)
    centre = xywh[..., :2]
    with np.errstate(invalid="ignore"):  # for sizes that are infinite
        return np.concatenate((centre - half, centre + half), axis=-1)
