"""Which classes a detector confuses, and what it takes for background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.kernels.boxes.box import box_iou
from darknet_bn.predictions.average_precision import (
    DEFAULT_IOU,
    DEFAULT_THRESHOLD,
    require_options,
)
from darknet_bn.predictions.findings import Findings
from darknet_bn.predictions.pairs import truths_by_class
from darknet_bn.values import brief, counted


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often a box of each class was found as each class.

    Attributes
    ----------
    counts : int array (classes + 1, classes + 1)
        Rows are true classes, columns found ones.  The last row has boxes that are found where
        nothing is, the last column truths that are not found.
    threshold, iou_threshold : float
        As of `confusion`.
    """

    counts: npt.NDArray[np.intp]
    threshold: float
    iou_threshold: float

    def __repr__(self) -> str:
        """Return one line about it."""
        right, whole = int(np.trace(self.counts)), int(self.counts[:-1].sum())
        return brief(self, f"{right} right of {counted(whole, 'truth')}")


def confusion(
    findings: Findings,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    iou_threshold: float = DEFAULT_IOU,
) -> Confusion:
    """Count which classes are found as which.

    Parameters
    ----------
    findings : Findings
    threshold : float
        Boxes count whose most probable class is above this.
    iou_threshold : float
        A box and a truth, of whatever class, may belong together if their IoU is greater than this.

    Returns
    -------
    confusion : Confusion

    Raises
    ------
    DarknetError
        A threshold is not from 0 to 1.
    ShapeError
        A truth has a class that does not exist.

    Notes
    -----
    The most probable box takes the truth that it overlaps most, then the next box one of the
    others, and so on.  So an object is found as what its most probable box says, and the rows add
    up to the truths.  Average precision is stricter: there, a box belongs to a truth of its own
    class only.
    """
    require_options(iou_threshold, 0, threshold)
    truths_by_class(findings.found, findings.truths)
    background = findings.classes
    counts = np.zeros((background + 1, background + 1), np.intp)
    for boxes, truths in zip(findings.found, findings.truths, strict=True):
        best = boxes.probabilities.max(axis=1, initial=0)
        over = np.flatnonzero(best > np.float32(threshold))
        found = boxes.probabilities[over].argmax(axis=1)
        real = truths[:, 4].astype(np.intp)
        pairs = _together(boxes.xywh[over], best[over], truths[:, :4], iou_threshold)
        for box, kind in enumerate(found.tolist()):
            counts[real[pairs[box]] if box in pairs else background, kind] += 1
        for truth in set(range(len(real))) - set(pairs.values()):
            counts[real[truth], background] += 1
    return Confusion(counts, threshold, iou_threshold)


def _together(xywh: F32, best: F32, truths: F32, iou_threshold: float) -> dict[int, int]:
    """Return the truth that each box belongs to, if it has one."""
    iou = np.nan_to_num(box_iou(xywh[:, None], truths[None]))
    pairs: dict[int, int] = {}
    for box in np.argsort(-best, kind="stable").tolist():
        own = iou[box]
        if not (own > np.float32(iou_threshold)).any():
            continue
        truth = int(own.argmax())
        pairs[box] = truth
        iou[:, truth] = 0
    return pairs
