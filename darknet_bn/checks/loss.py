"""What a model loses in a program that computes it less exactly: accuracy, mAP, or agreement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data import Dataset
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.pictures.prepare import Fit
from darknet_bn.predictions.average_precision import (
    DEFAULT_THRESHOLD,
    AveragePrecision,
    average_precision,
)
from darknet_bn.predictions.boxes import heads_of, network_boxes, nms
from darknet_bn.predictions.classification import classify
from darknet_bn.predictions.evaluation import Accuracy, evaluate
from darknet_bn.run.outputs import compute_outputs
from darknet_bn.run.session import Session
from darknet_bn.transforms.calibrate import Inputs
from darknet_bn.values import brief, counted

AGREEMENT = "agreement"
_CURVE = 0.005  # the least probability of boxes, as in `evaluate`


@dataclass(frozen=True)
class Loss:
    """How good a model is before and after.

    Attributes
    ----------
    measure : str
        What was measured: ``top 1`` or ``mAP@0.50`` of labelled pictures; without labels,
        ``agreement`` with what the model itself finds.
    before, after : float
        From 0 to 1.
    images : int
        The number of images.
    boxes, found, added : int or None
        For the agreement of a detector: the number of its boxes over 0.25, how many of them were
        found again, and how many boxes over 0.25 were found besides.
    """

    measure: str
    before: float
    after: float
    images: int
    boxes: int | None = None
    found: int | None = None
    added: int | None = None

    @property
    def points(self) -> float:
        """What was lost, in percentage points."""
        return 100 * (self.before - self.after)

    def __repr__(self) -> str:
        """Return one line about it."""
        parts = f"{self.measure} {self.before:.2%} -> {self.after:.2%}"
        return brief(self, f"{parts}, {counted(self.images, 'image')}")

    def json(self) -> dict[str, Any]:
        """Return the fields of the JSON form; ``docs/json.md`` describes it."""
        return {
            "measure": self.measure,
            "before": self.before,
            "after": self.after,
            "points": self.points,
            "images": self.images,
            "boxes": self.boxes,
            "found": self.found,
            "added": self.added,
        }


class Meter(ABC):
    """Measures what a model loses; what the model itself finds is only computed once."""

    @abstractmethod
    def measure(self, session: Session) -> Loss:
        """Measure what is lost in a session."""


def meter(model: Model, batches: Inputs, dataset: Dataset | None, fit: Fit | None = None) -> Meter:
    """Return what measures the loss of a model.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
        Images without labels.
    dataset : Dataset or None
        Labelled images, which are used instead if there are any.
    fit : "letterbox", "stretch" or "crop", optional
        As in `evaluate`, for the labelled images.
    """
    if dataset is not None:
        return _Labelled(model, dataset, fit)
    return (_Boxes if model.network.is_detector else _Classes)(model, batches)


@dataclass(frozen=True)
class _Labelled(Meter):
    """The accuracy of a classifier; the mAP of a detector, over the classes that have a truth."""

    model: Model
    dataset: Dataset
    fit: Fit | None

    @cached_property
    def _before(self) -> Accuracy | AveragePrecision:
        return evaluate(self.model, self.dataset, fit=self.fit)

    def measure(self, session: Session) -> Loss:
        after = evaluate(self.model, self.dataset, fit=self.fit, session=session)
        name = f"mAP@{after.iou_threshold:.2f}" if isinstance(after, AveragePrecision) else "top 1"
        return Loss(name, _part(self._before), _part(after), len(self.dataset))


def _part(report: Accuracy | AveragePrecision) -> float:
    return report.mean_of_present if isinstance(report, AveragePrecision) else report.top_1


@dataclass(frozen=True)
class _Classes(Meter):
    """How often the most probable class is the model's own."""

    model: Model
    batches: Inputs

    @cached_property
    def _before(self) -> list[int]:
        return self._best(None)

    def _best(self, session: Session | None) -> list[int]:
        return [
            best.class_id
            for number in range(len(self.batches))
            for (best,) in classify(self.model, self.batches[number], top=1, session=session)
        ]

    def measure(self, session: Session) -> Loss:
        pairs = list(zip(self._before, self._best(session), strict=True))
        return Loss(AGREEMENT, 1.0, sum(a == b for a, b in pairs) / len(pairs), len(pairs))


@dataclass(frozen=True)
class _Boxes(Meter):
    """The mAP of a detector, if what the model itself finds over the threshold is the truth."""

    model: Model
    batches: Inputs

    @cached_property
    def _before(self) -> list[F32]:
        return [_as_truth(each) for each in self._found(None)]

    def _found(self, session: Session | None) -> Iterator[Boxes]:
        heads = heads_of(self.model.network)
        kind, beta = list(heads.values())[-1].suppression
        for number in range(len(self.batches)):
            x = self.batches[number]
            outputs = compute_outputs(self.model, x, tuple(heads), session=session)
            for boxes in _all_boxes(self.model, outputs):
                yield nms(boxes, DEFAULT_OVERLAP, kind=kind, beta=beta)

    def measure(self, session: Session) -> Loss:
        report = average_precision(list(self._found(session)), self._before)
        return Loss(
            measure=AGREEMENT,
            before=1.0,
            after=report.mean_of_present if report.truths else 1.0,
            images=len(self._before),
            boxes=report.truths,
            found=report.true_positives,
            added=report.false_positives,
        )


def _all_boxes(model: Model, outputs: Mapping[int, F32]) -> list[Boxes]:
    """Return the boxes of each picture, relative to the input."""
    return network_boxes(model, outputs, threshold=_CURVE, letterbox=False)


def _as_truth(boxes: Boxes) -> F32:
    """Return the boxes over the threshold as rows of x, y, w, h and class."""
    rows, classes = np.nonzero(boxes.probabilities > DEFAULT_THRESHOLD)
    return np.column_stack([boxes.xywh[rows], classes]).astype(np.float32)
