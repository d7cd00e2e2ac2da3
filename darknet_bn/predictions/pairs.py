"""Pairs: boxes with one of their classes each, and the truths that they agree with.

C: ``validate_detector_map`` in AlexeyAB's ``src/detector.c``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError
from darknet_bn.kernels.boxes.box import Boxes, box_iou
from darknet_bn.work import measured
from darknet_bn.work.cuts import fitting, pieces

Mask = npt.NDArray[np.bool_]
NONE = -1
"""The truth of a pair that agrees with no true box."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of all pictures, the most probable first.

    Attributes
    ----------
    probability, iou : float32 arrays (k,)
        The IoU is with the truth that the pair belongs to.
    class_id, truth : int arrays (k,)
        Truths are counted over all pictures; -1 for none.
    picture, box : int arrays (k,)
        The number of the picture, and of the box in it.
    right : bool array (k,)
        Whether it is the most probable pair of its truth.
    """

    probability: F32
    class_id: npt.NDArray[np.intp]
    truth: npt.NDArray[np.intp]
    iou: F32
    picture: npt.NDArray[np.intp]
    box: npt.NDArray[np.intp]
    right: Mask


def truths_by_class(found: Sequence[Boxes], truths: Sequence[F32]) -> npt.NDArray[np.intp]:
    """Return how many truths each class has; raise an error for what does not fit."""
    if not found or len(found) != len(truths):
        raise ShapeError(
            "the pictures and truths do not match",
            expected="as many truths as pictures, and at least one",
            found=f"{len(found)} pictures, {len(truths)} truths",
        )
    shapes = {boxes.probabilities.shape[1] for boxes in found}
    if len(shapes) != 1:
        raise ShapeError("the pictures have different classes", found=f"{sorted(shapes)}")
    (classes,) = shapes
    for number, rows in enumerate(truths):
        if rows.ndim != 2 or rows.shape[1] != 5:
            raise ShapeError(
                "these are not ground-truth boxes",
                expected="(k, 5) of each picture",
                found=f"{rows.shape}",
            )
        if len(rows) and not (rows[:, 4].min() >= 0 and rows[:, 4].max() < classes):
            raise ShapeError(
                f"a truth of picture {number} has a class that does not exist",
                expected=f"0 to {classes - 1}",
                found=f"{rows[:, 4].min():g} to {rows[:, 4].max():g}",
            )
    kinds = np.concatenate([rows[:, 4] for rows in truths]).astype(np.intp)
    return np.bincount(kinds, minlength=classes)


def all_pairs(found: Sequence[Boxes], truths: Sequence[F32], iou_threshold: float) -> Pairs:
    """Return the pairs of all pictures, each with the truth it overlaps most, if it has one."""
    parts, before = [], 0
    for number, (boxes, real) in enumerate(zip(found, truths, strict=True)):
        row, kind = np.nonzero(boxes.probabilities > 0)
        iou, truth = _best_truths(boxes.xywh, real, row, kind, iou_threshold)
        truth[truth != NONE] += before
        before += len(real)
        picture = np.full(len(row), number, np.intp)
        parts.append((boxes.probabilities[row, kind], kind, truth, iou, picture, row))
    probability, *rest = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(-probability, kind="stable")
    kinds, numbers, ious, pictures, rows = (each[order] for each in rest)
    right = _first_of_each(numbers)
    return Pairs(probability[order], kinds, numbers, ious, pictures, rows, right)


def _best_truths(
    xywh: F32,
    rows: F32,
    row: npt.NDArray[np.intp],
    kind: npt.NDArray[np.intp],
    iou_threshold: float,
) -> tuple[F32, npt.NDArray[np.intp]]:
    """Return the greatest IoU of each pair with a truth of its class, and the truth or -1."""
    if not len(rows):
        return np.zeros(len(row), np.float32), np.full(len(row), NONE)
    iou, truth = np.zeros(len(row), np.float32), np.full(len(row), NONE)
    for number in np.unique(rows[:, 4]):
        own, pairs = np.flatnonzero(rows[:, 4] == number), np.flatnonzero(kind == number)
        step = fitting(measured.TRUTH_PAIRS, len(own))
        for part in (pairs[some] for some in pieces(len(pairs), step)):
            overlap = box_iou(xywh[row[part], None], rows[None, own, :4])
            overlap = np.nan_to_num(overlap)  # NaN would hide the others from argmax
            best = overlap.argmax(axis=1)
            iou[part], truth[part] = overlap[np.arange(len(part)), best], own[best]
    truth[~(iou > np.float32(iou_threshold))] = NONE
    return iou, truth


def _first_of_each(truth: npt.NDArray[np.intp]) -> Mask:
    """Return which pairs are the first of their truth."""
    right = np.zeros(len(truth), np.bool_)
    numbers, first = np.unique(truth, return_index=True)
    right[first[numbers != NONE]] = True
    return right
