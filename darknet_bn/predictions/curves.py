"""Precision and recall of a detector, by class and by threshold: what its plots show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F64
from darknet_bn.predictions.average_precision import area
from darknet_bn.predictions.findings import Findings
from darknet_bn.predictions.pairs import all_pairs, truths_by_class

RECALLS = np.arange(101) / 100
"""Where curves are read: recalls, and thresholds."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The precision of a class at 101 recalls.

    Attributes
    ----------
    class_id : int
    average_precision : float
        The area under the whole curve.
    precision : float64 array (101,)
        The greatest precision at a recall of 0.00, 0.01 ... 1.00 or more; 0 if none is as great.
    """

    class_id: int
    average_precision: float
    precision: F64


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision and recall of a detector.

    Attributes
    ----------
    classes : tuple of Curve
        One for each class that has a truth, in order.
    precision, recall, f1 : float64 arrays (101,)
        Of all classes together, for pairs more probable than 0.00, 0.01 ... 1.00.
    """

    classes: tuple[Curve, ...]
    precision: F64
    recall: F64
    f1: F64

    @property
    def mean(self) -> F64:
        """The mean of the curves of all classes (101,)."""
        rows = [each.precision for each in self.classes]
        mean: F64 = np.mean(rows, axis=0) if rows else np.zeros(len(RECALLS))
        return mean

    @property
    def best(self) -> int:
        """The index of the greatest F1, and of the lowest threshold that has it."""
        return int(self.f1.argmax())


def curves(findings: Findings, iou_threshold: float) -> Curves:
    """Return precision and recall of what was found.

    Parameters
    ----------
    findings : Findings
    iou_threshold : float
        As of `average_precision`.

    Raises
    ------
    ShapeError
        A truth has a class that does not exist.
    """
    counts = truths_by_class(findings.found, findings.truths)
    pairs = all_pairs(findings.found, findings.truths, iou_threshold)
    classes = []
    for number in np.flatnonzero(counts).tolist():
        right = pairs.right[pairs.class_id == number]
        hits = right.cumsum(dtype=np.float64)
        precision = hits / np.arange(1, len(right) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        at = (hits / counts[number]).searchsorted(RECALLS)
        read = np.append(best, 0.0)[np.minimum(at, len(best))]
        classes.append(Curve(number, area(right, int(counts[number]), 0), read))
    found = (-pairs.probability).searchsorted(-RECALLS.astype(np.float32))  # those above
    hits = np.append(0.0, pairs.right.cumsum(dtype=np.float64))[found]
    recall = hits / max(int(counts.sum()), 1)
    precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return Curves(tuple(classes), precision, recall, f1)
