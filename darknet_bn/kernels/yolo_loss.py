"""How ``[yolo]`` and ``[Gaussian_yolo]`` compare their output with boxes that are true.

C: ``forward_yolo_layer`` in ``src/yolo_layer.c``, and ``forward_gaussian_yolo_layer`` in AlexeyAB's
``src/gaussian_yolo_layer.c``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.box import OVERLAPS, Size, box_iou
from darknet_bn.kernels.box_gradient import IouKind, dx_box_iou

_SURE = 0.25  # a class score over it makes a box one that may be left alone
_MOST = float(np.finfo(np.float32).max)
_SIGMA = 0.3  # added to the spread of a Gaussian box


class Place(NamedTuple):
    """Where a prediction is: which of the head's anchors, row and column of the cell."""

    anchor: int
    row: int
    column: int


@dataclass(frozen=True, kw_only=True)
class YoloLoss:
    """The comparison, with the options of the section under their names.

    Attributes
    ----------
    anchors : float64 array (num, 2)
        Width and height of all anchors, in pixels of the network's input.
    masks : sequence of int
        Which of them are the head's own.
    classes : int
    net : (height, width)
        Of the network's input.
    adds : bool
        Whether box deltas add up where several boxes meet in a cell (AlexeyAB), or the last counts.
    needs_class : bool
        Whether a box is left alone only if it is sure of some class (AlexeyAB).
    gaussian : bool
        Whether each of x, y, w, h has its uncertainty behind it.
    averages : bool
        Whether box deltas are divided by the number of classes that are true in the box.
    details : bool
        Whether the loss of an overlap is reported instead of its squared deltas (AlexeyAB).
    """

    anchors: F64
    masks: Sequence[int]
    classes: int
    net: Size
    ignore_thresh: float = 0.5
    truth_thresh: float = 1.0
    adds: bool = False
    needs_class: bool = False
    gaussian: bool = False
    averages: bool = False
    details: bool = False
    iou_loss: str = "mse"
    iou_thresh: float = 1.0
    iou_thresh_kind: str = "iou"
    iou_normalizer: float = 1.0
    uc_normalizer: float = 1.0
    obj_normalizer: float = 1.0
    cls_normalizer: float = 1.0
    max_delta: float = _MOST
    label_smooth_eps: float = 0.0
    objectness_smooth: bool = False
    focal_loss: bool = False
    new_coords: bool = False
    point: float = 0.0
    counters_per_class: tuple[int, ...] | None = None

    def __call__(self, y: F32, truth: F32) -> tuple[F32, float]:
        """Compare.

        Parameters
        ----------
        y : float32 array (n, c, h, w)
            The output of the head: of each anchor x, y, w, h, objectness, and the classes.
        truth : float32 array (n, boxes, 5)
            x, y, w, h and class of each box; behind the last of an image, x is 0.

        Returns
        -------
        delta : float32 array like ``y``
            Of what the layer got, as the program has it: no slope of the squashing is in it.
        loss : float
            As the program reports it: the sum of the squared deltas, over all images.
        """
        n, _, h, w = y.shape
        values = y.reshape(n, len(self.masks), -1, h, w)
        delta = np.zeros_like(values)
        overlaps: list[float] = []
        for image in range(n):
            _Image(self, values[image], delta[image], overlaps).compare(true_boxes(truth[image]))
        squares = float(np.sum(np.square(delta, dtype=np.float64)))
        if self.details and self.iou_loss != "mse":
            rest = delta.copy()
            rest[:, :, self.box_planes] = 0
            squares = self.obj_normalizer * float(np.sum(np.square(rest, dtype=np.float64)))
            mean = float(np.mean(overlaps)) if overlaps else 0.0
            squares += self.iou_normalizer * mean
        return delta.reshape(y.shape), squares

    @property
    def objectness(self) -> int:
        """The plane of the objectness; the classes are behind it."""
        return 8 if self.gaussian else 4

    @property
    def box_planes(self) -> slice:
        """The planes of the box."""
        return slice(0, self.objectness)

    @property
    def means(self) -> slice:
        """The planes of x, y, w and h themselves."""
        return slice(0, self.objectness, 2 if self.gaussian else 1)

    def multiplier(self, kind: int) -> float:
        """How much more a class counts than others, as it is rarer."""
        if self.counters_per_class is None:
            return 1.0
        counts = self.counters_per_class
        return float(min(max(counts) / max(1, counts[kind]), self.max_delta))


def true_boxes(truth: F32) -> F64:
    """Return the boxes (boxes, 5) of an image in front of the first whose x is 0."""
    ends = np.flatnonzero(truth[:, 0] == 0)
    return truth[: ends[0] if len(ends) else len(truth)].astype(np.float64)


class _Image:
    """One image in comparison: its values and deltas (anchors, planes, h, w)."""

    def __init__(self, loss: YoloLoss, values: F32, delta: F32, overlaps: list[float]) -> None:
        self._loss, self._values, self._delta = loss, values, delta
        self._overlaps = overlaps
        self._h, self._w = values.shape[2:]
        self._net = np.array(loss.net[::-1], np.float64)
        self._own = loss.anchors[list(loss.masks)]
        self._boxes = self._predicted()

    def compare(self, truths: F64) -> None:
        """Fill the deltas."""
        self._compare_predictions(truths)
        for truth in truths:
            self._compare_truth(truth)
        if self._loss.averages:
            self._average()

    def _predicted(self) -> F64:
        """Return all predicted boxes, (anchors, h, w, 4)."""
        values = np.moveaxis(self._values[:, self._loss.means].astype(np.float64), 1, -1)
        corner = np.stack(np.meshgrid(np.arange(self._w), np.arange(self._h)), axis=-1)
        place = (values[..., :2] + corner) / (self._w, self._h)
        with np.errstate(over="ignore"):
            size = 4 * values[..., 2:] ** 2 if self._loss.new_coords else np.exp(values[..., 2:])
        size = size * self._own[:, None, None] / self._net
        return np.concatenate((place + self._loss.point * size, size), axis=-1)

    def _compare_predictions(self, truths: F64) -> None:
        """Find no object anywhere, but for where a box is good enough."""
        loss, at = self._loss, self._loss.objectness
        objectness, target = self._values[:, at], self._delta[:, at]
        np.copyto(target, loss.obj_normalizer * (0 - objectness))
        if not len(truths):
            return
        ious = box_iou(
            self._boxes[..., None, :].astype(np.float32), truths[:, :4].astype(np.float32)
        )
        best = np.fmax.reduce(ious, axis=-1, initial=0)
        matching = best
        if loss.needs_class:
            sure = (self._values[:, at + 1 :] > _SURE).any(axis=1)
            matching = np.where(sure, best, np.float32(0))
        good = matching > loss.ignore_thresh
        if loss.objectness_smooth:
            raised = loss.obj_normalizer * (matching - objectness)
            np.copyto(target, np.where(good, np.maximum(target, raised), target))
        else:
            target[good] = 0
        for anchor, row, column in np.argwhere(best > loss.truth_thresh):
            place = Place(int(anchor), int(row), int(column))
            number = int(np.nanargmax(ious[anchor, row, column]))
            self._accept(place, truths[number], float(best[anchor, row, column]))

    def _accept(self, place: Place, truth: F64, iou: float) -> None:
        """Take a prediction for true that fits a box better than ``truth_thresh``."""
        loss, kind = self._loss, int(truth[4])
        anchor, row, column = place
        at, weight = loss.objectness, loss.multiplier(kind)
        aim = iou * iou if loss.objectness_smooth else 1.0
        values, delta = self._values[anchor, :, row, column], self._delta[anchor, :, row, column]
        delta[at] = loss.obj_normalizer * (aim - values[at])
        self._class_delta(place, kind)
        if loss.objectness_smooth:
            delta[at + 1 + kind] = weight * (aim - values[at + 1 + kind])
        self._box_delta(place, truth, self._own[anchor], weight)

    def _compare_truth(self, truth: F64) -> None:
        """Make the anchor of the most similar shape find a box, if it is of this head."""
        loss = self._loss
        column, row = int(truth[0] * self._w), int(truth[1] * self._h)
        if not (0 <= column < self._w and 0 <= row < self._h):
            return
        shapes = np.zeros((len(loss.anchors), 4), np.float32)
        shapes[:, 2:] = loss.anchors / self._net
        centred = np.array([0, 0, truth[2], truth[3]], np.float32)
        best = int(np.argmax(np.nan_to_num(box_iou(shapes, centred), nan=-1.0)))
        masks = list(loss.masks)
        if best in masks:
            self._find(Place(masks.index(best), row, column), truth, best)
        if loss.iou_thresh < 1:
            similar = OVERLAPS[loss.iou_thresh_kind](shapes, centred)
            for number in range(len(loss.anchors)):
                if number != best and number in masks and similar[number] > loss.iou_thresh:
                    self._find(Place(masks.index(number), row, column), truth, number)

    def _find(self, place: Place, truth: F64, number: int) -> None:
        """Make a prediction find a box."""
        loss, kind, at = self._loss, int(truth[4]), self._loss.objectness
        anchor, row, column = place
        weight = loss.multiplier(kind)
        iou = self._box_delta(place, truth, loss.anchors[number], weight)
        self._overlaps.append(1 - iou)
        delta = self._delta[anchor, :, row, column]
        if not (loss.objectness_smooth and delta[at] != 0):
            delta[at] = weight * loss.obj_normalizer * (1 - self._values[anchor, at, row, column])
        self._class_delta(place, kind)

    def _class_delta(self, place: Place, kind: int) -> None:
        """Raise the true class and lower the others; only raise it where others are true too."""
        loss, (anchor, row, column) = self._loss, place
        first = loss.objectness + 1
        scores = self._values[anchor, first:, row, column]
        delta = self._delta[anchor, first:, row, column]
        aims = np.zeros_like(scores)
        aims[kind] = 1
        if loss.label_smooth_eps:
            aims = aims * (1 - loss.label_smooth_eps) + 0.5 * loss.label_smooth_eps
        weight = loss.multiplier(kind)
        seen = delta[kind] if loss.needs_class and not loss.gaussian else delta[0]
        if seen:
            delta[kind] = weight * (aims[kind] - scores[kind])
            return
        if loss.focal_loss:
            sure = float(scores[kind]) + 1e-15
            slope = -(1 - sure) * (2 * sure * math.log(sure) + sure - 1) if sure > 0 else 0.0
            hot = np.arange(len(scores)) == kind
            np.copyto(delta, (hot - scores) * (0.5 * slope), casting="same_kind")
            return
        np.copyto(delta, aims - scores)
        if loss.counters_per_class is not None:
            delta[kind] *= weight * loss.cls_normalizer

    def _box_delta(self, place: Place, truth: F64, anchor: F64, weight: float) -> float:
        """Pull a box to a true one; return how much they overlap."""
        loss, (number, row, column) = self._loss, place
        values = self._values[number, :, row, column].astype(np.float64)[loss.means]
        box = self._box(values, place, anchor)
        measure = OVERLAPS["giou" if loss.iou_loss == "giou" and loss.adds else "iou"]
        iou = float(measure(box.astype(np.float32), truth[:4].astype(np.float32)))
        pull = self._pull(values, box, place, truth, anchor)
        target = self._delta[number, loss.box_planes, row, column]
        spread: F64 | None = None
        if loss.gaussian:
            sigma = self._values[number, loss.box_planes, row, column].astype(np.float64)[1::2]
            pull, spread = self._gaussian(values, sigma, pull, place, truth, anchor)
        elif loss.iou_loss == "mse":
            pull = pull * (2 - truth[2] * truth[3])
        for slots, parts, normalizer in (
            (loss.means, pull, loss.iou_normalizer),
            (slice(1, None, 2), spread, loss.uc_normalizer),
        ):
            if parts is None:
                continue
            change = _finite(parts * (normalizer * weight), loss.max_delta)
            if not loss.adds:
                target[slots] = change
            else:
                target[slots] += change.astype(target.dtype)
        return iou

    def _box(self, values: F64, place: Place, anchor: F64) -> F64:
        with np.errstate(over="ignore"):
            size = 4 * values[2:] ** 2 if self._loss.new_coords else np.exp(values[2:])
        size = size * anchor / self._net
        corner = np.array((place.column, place.row))
        centre = (values[:2] + corner) / (self._w, self._h)
        return np.concatenate((centre + self._loss.point * size, size))

    def _pull(self, values: F64, box: F64, place: Place, truth: F64, anchor: F64) -> F64:
        """Return in which direction x, y, w and h should go."""
        loss = self._loss
        if loss.iou_loss != "mse":
            kind: IouKind = loss.iou_loss  # type: ignore[assignment]  # the option has no others
            slopes = dx_box_iou(box, truth[:4], kind)
            if not loss.new_coords:
                with np.errstate(over="ignore", invalid="ignore"):
                    slopes[2:] *= np.exp(values[2:])
            return slopes
        centre = truth[:2] - loss.point * truth[2:4]
        aims = centre * (self._w, self._h) - (place.column, place.row)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = truth[2:4] * self._net / anchor
            sizes = np.sqrt(ratio / 4) if loss.new_coords else np.log(ratio)
        return np.concatenate((aims, sizes)) - values

    def _gaussian(
        self, values: F64, sigma: F64, pull: F64, place: Place, truth: F64, anchor: F64
    ) -> tuple[F64, F64]:
        """Weigh the pull by how sure the box is, and return what the uncertainties should do."""
        loss = self._loss
        away = pull
        if loss.iou_loss != "mse":
            centre = truth[:2] - loss.point * truth[2:4]
            aims = centre * (self._w, self._h) - (place.column, place.row)
            away = np.concatenate((aims, np.log(truth[2:4] * self._net / anchor))) - values
        with np.errstate(all="ignore"):
            e = away / sigma
            density = np.exp(-e * e / 2) / (math.sqrt(2 * math.pi) * (sigma + _SIGMA))
            share = 0.5 * density / (density + 1e-9) * (2 - truth[2] * truth[3])
            mean = share * e / sigma if loss.iou_loss == "mse" else pull
            return mean, share * (e * e / sigma - 1 / (sigma + _SIGMA))

    def _average(self) -> None:
        """Divide the box deltas by the number of classes that are true in the box."""
        at = self._loss.objectness
        counts = (self._delta[:, at + 1 :] > 0).sum(axis=1)
        divide = (self._delta[:, at] != 0) & (counts > 0)
        planes = self._delta[:, self._loss.box_planes]
        planes /= np.where(divide, counts, 1)[:, None].astype(planes.dtype)


def _finite(values: F64, largest: float) -> npt.NDArray[np.float64]:
    """Return 0 for what is no number or infinite, and hold the rest to a largest value."""
    known = np.where(np.isfinite(values), values, 0.0)
    return np.clip(known, -largest, largest)
