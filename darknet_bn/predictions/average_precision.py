"""Average precision of a detector: how well its boxes agree with the true boxes.

A *pair* is a box and one of its classes.  C: ``validate_detector_map`` in AlexeyAB's
``src/detector.c``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import DarknetError
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.predictions.pairs import Mask, all_pairs, truths_by_class
from darknet_bn.values import brief, brief_fields, counted

DEFAULT_IOU, DEFAULT_THRESHOLD = 0.5, 0.25
"""The defaults of ``detector map`` in AlexeyAB's program: ``-iou_thresh`` and ``-thresh``."""


@dataclass(frozen=True)
class ClassPrecision:
    """How well a detector finds one class.

    Attributes
    ----------
    class_id : int
    average_precision : float
        From 0 to 1; 0 if there is no truth.
    truths : int
        The number of true boxes.
    true_positives, false_positives : int
        Pairs above the probability threshold that are right, and wrong.
    """

    class_id: int
    average_precision: float
    truths: int
    true_positives: int
    false_positives: int

    __repr__ = brief_fields


@dataclass(frozen=True)
class AveragePrecision:
    """How well a detector finds what is in the pictures.

    Attributes
    ----------
    mean : float
        The mean of the average precision of all classes: mAP.
    mean_of_present : float
        The same mean over the classes that have a truth.
    pictures, pairs, truths : int
        How many there are.
    precision, recall, f1 : float
        The share of the pairs more probable than ``threshold`` that are right, the share of the
        truths that these pairs find, and the harmonic mean of both; 0 if there are none.
    average_iou : float
        The mean IoU of these pairs with their truths; wrong pairs count as 0.
    true_positives, false_positives, false_negatives : int
        Pairs over the threshold that are right, and wrong, and truths that were not found.
    iou_threshold, threshold, points : float, float, int
        As in `average_precision`.
    classes : tuple of ClassPrecision
        One for each class, in order.
    failed : int
        Pictures that could not be read or used; nothing counts as found in them.
    """

    mean: float
    mean_of_present: float
    pictures: int
    pairs: int
    truths: int
    precision: float
    recall: float
    f1: float
    average_iou: float
    true_positives: int
    false_positives: int
    false_negatives: int
    iou_threshold: float
    threshold: float
    points: int
    classes: tuple[ClassPrecision, ...]
    failed: int = 0

    def __repr__(self) -> str:
        """Return one line about it."""
        classes = counted(len(self.classes), "class", "classes")
        size = f"{counted(self.truths, 'truth')} in {counted(self.pictures, 'picture')}"
        return brief(self, f"mAP {self.mean:.2%} at IoU {self.iou_threshold:g}, {classes}, {size}")


def average_precision(
    found: Sequence[Boxes],
    truths: Sequence[F32],
    *,
    iou_threshold: float = DEFAULT_IOU,
    points: int = 0,
    threshold: float = DEFAULT_THRESHOLD,
) -> AveragePrecision:
    """Compare the boxes found in pictures with the true boxes.

    Parameters
    ----------
    found : sequence of Boxes
        The boxes of each picture, after suppression.
    truths : sequence of float32 arrays (k, 5)
        The true boxes of each picture: centre x and y, width, height and class, relative to the
        picture like the boxes in ``found``.
    iou_threshold : float
        A pair is right if its IoU with a truth of its class is greater than this.
    points : int
        0 for the area under the curve of precision over recall; 11 or 101 for the mean of the
        precision at that many recalls from 0 to 1, as in PASCAL VOC 2007 and COCO.
    threshold : float
        The probability above which pairs count in ``precision``, ``recall`` and the like.

    Returns
    -------
    report : AveragePrecision

    Raises
    ------
    DarknetError
        ``points`` is 1, or a threshold is not from 0 to 1.
    ShapeError
        The numbers of truths and pictures differ, or there are no pictures; the pictures have
        different classes, or a truth has a class that does not exist.

    Notes
    -----
    C: ``validate_detector_map`` in AlexeyAB's ``src/detector.c``.  A pair belongs to the truth it
    overlaps most.  The most probable pair of a truth is right, all its other pairs are wrong.  The
    program does the same for the average precision; for the pairs over the threshold it takes the
    first in the order of its boxes.  Equally probable pairs keep their order here, which C leaves
    open.  There is no list of ``difficult`` boxes.
    """
    require_options(iou_threshold, points, threshold)
    counts = truths_by_class(found, truths)
    pairs = all_pairs(found, truths, iou_threshold)
    right = pairs.right
    seen = pairs.probability > np.float32(threshold)
    classes = []
    for number, count in enumerate(counts.tolist()):
        own = pairs.class_id == number
        over = right[own & seen]
        classes.append(
            ClassPrecision(
                class_id=number,
                average_precision=area(right[own], count, points),
                truths=count,
                true_positives=int(over.sum()),
                false_positives=int((~over).sum()),
            )
        )
    areas = [each.average_precision for each in classes]
    present = [each.average_precision for each in classes if each.truths]
    hits, wrong, total = int((right & seen).sum()), int((~right & seen).sum()), int(counts.sum())
    precision, recall = _part(hits, hits + wrong), _part(hits, total)
    return AveragePrecision(
        mean=_part(math.fsum(areas), len(areas)),
        mean_of_present=_part(math.fsum(present), len(present)),
        pictures=len(found),
        pairs=len(right),
        truths=total,
        precision=precision,
        recall=recall,
        f1=_part(2 * precision * recall, precision + recall),
        average_iou=_part(float(pairs.iou[right & seen].sum(dtype=np.float64)), hits + wrong),
        true_positives=hits,
        false_positives=wrong,
        false_negatives=total - hits,
        iou_threshold=iou_threshold,
        threshold=threshold,
        points=points,
        classes=tuple(classes),
    )


def require_options(iou_threshold: float, points: int, threshold: float) -> None:
    """Refuse meaningless options of `average_precision` with a DarknetError."""
    if points == 1 or points < 0:
        raise DarknetError(
            "a precision curve needs more points", expected="0, or at least 2", found=f"{points}"
        )
    for what, value in (("IoU", iou_threshold), ("probability", threshold)):
        if not 0 <= value <= 1:
            raise DarknetError(
                f"the threshold of the {what} is out of range", expected="0 to 1", found=f"{value}"
            )


def area(right: Mask, truths: int, points: int) -> float:
    """Return the average precision of a class, given its pairs, the most probable first."""
    if not truths or not len(right):
        return 0.0
    hits = right.cumsum(dtype=np.float64)
    recall: F64 = hits / truths
    precision = hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
    if not points:
        return float((np.diff(recall, prepend=0.0) * best).sum())
    at = recall.searchsorted(np.arange(points) / (points - 1))
    return float(best[at[at < len(best)]].sum() / points)


def _part(some: float, of: float) -> float:
    return some / of if of else 0.0
