"""How ``[yolo]`` compares its output with true boxes.

C: ``forward_yolo_layer`` in ``src/yolo_layer.c``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Floats
from darknet_bn.kernels.boxes.box import OVERLAPS, Size, box_iou
from darknet_bn.kernels.boxes.gradient import IouKind, dx_box_iou
from darknet_bn.kernels.floating import floating
from darknet_bn.kernels.losses.common import (
    MOST,
    Flags,
    Rows,
    TrueBoxes,
    best_overlaps,
    finite,
    first_largest,
    focal_slope,
    nearest,
    rounds,
)

_SURE = 0.25  # a box with a class score over it may be left alone


class Found(NamedTuple):
    """Predictions, all different, that are to find one true box each, with their values.

    Attributes
    ----------
    values, delta : float64 arrays (k, planes)
        What was predicted, and how it should change; the latter is filled in.
    corner : float64 array (k, 2)
        Column and row of the cell.
    anchor : float64 array (k, 2)
        Width and height of the anchor.
    box, true : float64 arrays (k, 4)
        The predicted box and the true one.
    kind : int array (k,)
        The class.
    """

    values: F64
    delta: F64
    corner: F64
    anchor: F64
    box: F64
    true: F64
    kind: Rows


@dataclass(frozen=True, kw_only=True)
class YoloLoss:
    """The loss function, with the options of the section as attributes.

    Attributes
    ----------
    anchors : float64 array (num, 2)
        Width and height of all anchors, in pixels of the network's input.
    masks : sequence of int
        Indices of the head's own anchors.
    classes : int
    net : (height, width)
        Size of the network's input.
    extended : bool
        Whether the loss is AlexeyAB's: box deltas add up if several boxes meet in a cell, and a box
        is left alone only if it is sure of a class.
    details : bool
        Whether the loss of the overlap is reported instead of its squared deltas (AlexeyAB).
    """

    before: ClassVar[int] = 4  # planes before the objectness
    means: ClassVar[slice] = slice(0, 4)  # the planes of x, y, w and h
    smooth_gives_class: ClassVar[bool] = False  # whether objectness_smooth also applies to classes

    anchors: F64
    masks: Sequence[int]
    classes: int
    net: Size
    ignore_thresh: float = 0.5
    truth_thresh: float = 1.0
    extended: bool = False
    details: bool = False
    iou_loss: str = "mse"
    iou_thresh: float = 1.0
    iou_thresh_kind: str = "iou"
    iou_normalizer: float = 1.0
    obj_normalizer: float = 1.0
    cls_normalizer: float = 1.0
    max_delta: float = MOST
    label_smooth_eps: float = 0.0
    objectness_smooth: bool = False
    focal_loss: bool = False
    new_coords: bool = False
    counters_per_class: tuple[int, ...] | None = None

    @floating
    def __call__(self, y: F32, truth: F32) -> tuple[F32, float]:
        """Compare.

        Parameters
        ----------
        y : float32 array (n, c, h, w)
            The output of the head; for each anchor x, y, w, h, objectness, and the classes.
        truth : float32 array (n, boxes, 5)
            x, y, w, h and class of each box; x is 0 after the last box of an image.

        Returns
        -------
        delta : float32 array like ``y``
            Delta of the layer's input as the program computes it, without the slope of the sigmoid.
        loss : float
            As the program reports it: the sum of the squared deltas over all images.

        Notes
        -----
        If C's delta would be infinite or NaN, it is 0.  If the centre of a box is outside the
        image, C writes outside the head's memory; here such a box is ignored.
        """
        n, _, h, w = y.shape
        values = y.reshape(n, len(self.masks), -1, h, w)
        delta = np.zeros_like(values)
        touched, lost = _Batch(self, values, delta, TrueBoxes.read(truth)).compare()
        boxes, _, classes = np.split(np.square(touched), (self.before, self.before + 1), axis=1)
        squares = np.square(delta[:, :, self.before], dtype=np.float64).sum() + classes.sum()
        if self.details and self.iou_loss != "mse":
            mean = lost.sum() / max(1, len(lost))
            loss = self.iou_normalizer * mean + self.obj_normalizer * squares
        else:
            loss = squares + boxes.sum()
        return delta.reshape(y.shape), float(loss)

    def multipliers(self, kind: Rows) -> F64:
        """Return the weight of each class, which is larger for rarer classes."""
        if self.counters_per_class is None:
            return np.ones(len(kind))
        counts = np.maximum(1, self.counters_per_class)
        more: F64 = np.minimum(counts.max() / counts, self.max_delta)[kind]
        return more

    # -- what other heads do differently ------------------------------------------------------

    def boxes(self, raw: Floats, corner: Floats, anchor: Floats, grid: Floats) -> Floats:
        """Return boxes (..., 4) from predicted x, y, w, h; ``grid`` is columns and rows."""
        with np.errstate(over="ignore"):
            size = 4 * raw[..., 2:] ** 2 if self.new_coords else np.exp(raw[..., 2:])
            size = size * anchor / np.array(self.net[::-1], raw.dtype)
        return np.concatenate(((raw[..., :2] + corner) / grid, size), axis=-1)

    def cells(self, true: TrueBoxes, h: int, w: int) -> tuple[Rows, Rows, Flags]:
        """Return row and column (m,) of the cells that should find true boxes, if they exist."""
        return true.cells(h, w)

    def smoothed(self, found: Found, best: F64) -> F64:
        """Return the delta (k,) of the objectness of predictions that are good enough.

        Used with ``objectness_smooth``; ``best`` (k,) is the overlap of each with a true box.
        """
        raised = self.obj_normalizer * (best - found.values[:, self.before])
        return np.maximum(found.delta[:, self.before], raised)

    def objectness_delta(self, found: Found) -> F64:
        """Return the delta (k,) of the objectness of predictions that find a box."""
        now, weight = found.delta[:, self.before], self.multipliers(found.kind)
        full = weight * self.obj_normalizer * (1 - found.values[:, self.before])
        return np.where(now != 0, now, full) if self.objectness_smooth else full

    def has_class(self, delta: F64, kind: Rows) -> Flags:
        """Return whether other boxes of the same prediction have already set their class (k,)."""
        given: Flags = delta[np.arange(len(kind)), kind if self.extended else 0] != 0
        return given

    def is_averaged(self, delta: F64) -> Flags:
        """Return whether box deltas are divided by the number of true classes (k,)."""
        here = delta[:, self.before] != 0
        return here if self.extended and self.iou_thresh < 1 else np.zeros_like(here)

    def box_delta(self, found: Found, grid: F64) -> F64:
        """Return the direction in which the box planes should move, (k, before)."""
        normalizer = self.iou_normalizer * self.multipliers(found.kind)[:, None]
        if self.iou_loss != "mse":
            return finite(self.slopes(found) * normalizer, self.max_delta)
        pull = self.aims(found, grid) - found.values[:, self.means]
        small = 2 - np.prod(found.true[:, 2:], axis=1, keepdims=True)
        return finite(pull * small * normalizer)

    # -- parts of it -----------------------------------------------------------------------------

    def aims(self, found: Found, grid: F64) -> F64:
        """Return the targets for x, y, w and h (k, 4)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = found.true[:, 2:] * self.net[::-1] / found.anchor
            size = np.sqrt(ratio / 4) if self.new_coords else np.log(ratio)
        return np.concatenate((found.true[:, :2] * grid - found.corner, size), axis=1)

    def slopes(self, found: Found) -> F64:
        """Return the slopes of the overlap with respect to the predicted x, y, w and h, (k, 4)."""
        slopes = self.box_slopes(found)
        if not self.new_coords:
            with np.errstate(over="ignore", invalid="ignore"):
                slopes[:, 2:] *= np.exp(found.values[:, self.means][:, 2:])
        return slopes

    def box_slopes(self, found: Found) -> F64:
        """Return the slopes of the overlap with respect to x, y, w and h of the box, (k, 4)."""
        kind: IouKind = self.iou_loss  # type: ignore[assignment]  # the option has no other values
        return dx_box_iou(found.box, found.true, kind)

    def class_delta(self, found: Found) -> F64:
        """Return the deltas of the classes (k, classes): the true one goes up, the others go down.

        Other classes that are also true keep their delta.
        """
        weight = self.multipliers(found.kind)
        first, rows = self.before + 1, np.arange(len(found.kind))
        scores, now = found.values[:, first:], found.delta[:, first:]
        hot = (np.arange(scores.shape[1]) == found.kind[:, None]).astype(np.float64)
        aims = hot * (1 - self.label_smooth_eps) + 0.5 * self.label_smooth_eps
        if self.focal_loss:
            full = focal_slope(scores[rows, found.kind])[:, None] * (hot - scores)
        else:
            full = aims - scores
            if self.counters_per_class is not None:
                full[rows, found.kind] *= weight * self.cls_normalizer
        more = now.copy()
        more[rows, found.kind] = (weight[:, None] * (aims - scores))[rows, found.kind]
        return np.where(self.has_class(now, found.kind)[:, None], more, full)


class _Batch:
    """A batch under comparison: its values and deltas (n, anchors, planes, h, w).

    The number of a prediction is the index of its place in (n, anchors, h, w).
    """

    def __init__(self, loss: YoloLoss, values: F32, delta: F32, true: TrueBoxes) -> None:
        self._loss, self._true = loss, true
        self._values, self._delta = (np.moveaxis(each, 2, -1) for each in (values, delta))
        self._grid = np.array(values.shape[:2:-1], np.float64)  # columns, rows
        self._own = loss.anchors[list(loss.masks)]

    def compare(self) -> tuple[F64, F64]:
        """Fill the deltas.

        Returns
        -------
        touched : float64 array (k, planes)
            The deltas of all predictions that have deltas other than the objectness.
        lost : float64 array (found,)
            How much the overlap of each true box and its prediction falls short of 1.
        """
        accepted = self._compare_predictions()
        places, number = self._matches()
        lost = np.zeros(len(places))
        for rows in rounds(places):
            found = self._found(places[rows], number[rows])
            lost[rows] = 1 - self._find(found)
            self._store(places[rows], found.delta)
        touched = np.unique(np.concatenate((accepted, places)))
        delta = self._delta[self._at(touched)].astype(np.float64)
        self._average(delta)
        self._store(touched, delta)
        return delta, lost

    def _at(self, places: Rows) -> tuple[Rows, ...]:
        at: tuple[Rows, ...] = np.unravel_index(places, self._values.shape[:-1])
        return at

    def _found(self, places: Rows, number: Rows) -> Found:
        """Return predictions (k,) that should find the true boxes (k,) with the given numbers."""
        at, true = self._at(places), self._true.take(number)
        return Found(
            values=self._values[at].astype(np.float64),
            delta=self._delta[at].astype(np.float64),
            corner=np.stack(at[:1:-1], axis=-1).astype(np.float64),
            anchor=self._own[at[1]],
            box=self._boxes(at),
            true=true.xywh.astype(np.float64),
            kind=true.kind,
        )

    def _nearest(self, places: Rows) -> Found:
        """Return predictions (k,) with the true boxes that they overlap most."""
        at = self._at(places)
        boxes = self._boxes(at).astype(self._values.dtype)
        return self._found(places, nearest(boxes, at[0], self._true))

    def _boxes(self, at: tuple[Rows, ...]) -> F64:
        raw = self._values[at][:, self._loss.means].astype(np.float64)
        corner = np.stack(at[:1:-1], axis=-1).astype(np.float64)
        return self._loss.boxes(raw, corner, self._own[at[1]], self._grid)

    def _store(self, places: Rows, delta: F64) -> None:
        self._delta[self._at(places)] = delta.astype(self._delta.dtype)

    def _compare_predictions(self) -> Rows:
        """Lower the objectness everywhere, unless a box is good enough.

        Returns
        -------
        places : int array (k,)
            Places of the predictions that were already accepted as boxes.
        """
        loss, at = self._loss, self._loss.before
        objectness, target = self._values[..., at], self._delta[..., at]
        np.copyto(target, loss.obj_normalizer * (0 - objectness))
        best = self._overlaps().ravel()
        good = np.flatnonzero(best > loss.ignore_thresh)
        if loss.extended:
            sure = self._values[self._at(good)][:, at + 1 :] > _SURE
            good = good[sure.any(axis=1)]
        accepted = np.flatnonzero(best > loss.truth_thresh)
        if not loss.objectness_smooth:
            target[self._at(good)] = 0
        elif len(good):
            self._smooth(good, best[good].astype(np.float64))
        if len(accepted):
            self._accept(accepted, best[accepted].astype(np.float64))
        return np.concatenate((good, accepted)) if loss.smooth_gives_class else accepted

    def _overlaps(self) -> F32:
        """Return the overlap of each prediction with its nearest true box, (n, anchors, h, w)."""
        loss = self._loss
        n, own, h, w, _ = self._values.shape
        dtype = self._values.dtype
        best = np.zeros((n, own, h, w), dtype)
        corner = np.stack(np.meshgrid(np.arange(w), np.arange(h)), axis=-1).astype(dtype)
        anchor = self._own[:, None, None].astype(dtype)
        for image in np.unique(self._true.image):
            raw = self._values[image][..., loss.means]
            boxes = loss.boxes(raw, corner, anchor, self._grid.astype(dtype))
            flat = np.ascontiguousarray(np.moveaxis(boxes, -1, 0)).reshape(4, -1)
            best[image] = best_overlaps(flat, self._true.of(image).xywh).reshape(own, h, w)
        return best

    def _smooth(self, good: Rows, best: F64) -> None:
        """Raise the objectness of predictions (k,) that are good enough: objectness_smooth."""
        loss = self._loss
        found = self._nearest(good)
        if loss.smooth_gives_class:
            found.delta[:, loss.before + 1 :] = loss.class_delta(found)
        found.delta[:, loss.before] = loss.smoothed(found, best)
        self._store(good, found.delta)

    def _accept(self, places: Rows, iou: F64) -> None:
        """Accept predictions (k,) as true if they fit a box better than ``truth_thresh``."""
        loss, found = self._loss, self._nearest(places)
        weight, at = loss.multipliers(found.kind), loss.before
        aim = iou * iou if loss.objectness_smooth else np.ones_like(iou)
        found.delta[:, at] = loss.obj_normalizer * (aim - found.values[:, at])
        found.delta[:, at + 1 :] = loss.class_delta(found)
        if loss.objectness_smooth:
            own = np.arange(len(places)), at + 1 + found.kind
            found.delta[own] = weight * (aim - found.values[own])
        self._pull(found)
        self._store(places, found.delta)

    def _matches(self) -> tuple[Rows, Rows]:
        """Return places (k,) of predictions that should find true boxes (k,), and box numbers.

        The anchor with the most similar shape finds a box if it belongs to this head; with
        ``iou_thresh``, other anchors that are similar enough do as well.
        """
        loss, true = self._loss, self._true
        _, own, h, w, _ = self._values.shape
        row, column, inside = loss.cells(true, h, w)
        shapes = np.zeros((len(loss.anchors), 4), np.float32)
        shapes[:, 2:] = loss.anchors / loss.net[::-1]
        centred = true.xywh.astype(np.float32)[:, None]
        centred[..., :2] = 0
        best = first_largest(box_iou(shapes, centred))
        finds = np.arange(len(shapes)) == best[:, None]
        if loss.iou_thresh < 1:
            finds |= OVERLAPS[loss.iou_thresh_kind](shapes, centred) > loss.iou_thresh
        finds = finds[:, list(loss.masks)] & inside[:, None]
        for mask in range(1, own):  # if an anchor occurs twice, the first one finds boxes
            if loss.masks[mask] in loss.masks[:mask]:
                finds[:, mask] = False
        number, anchor = np.nonzero(finds)
        place = (true.image[number], anchor, row[number], column[number])
        places: Rows = np.ravel_multi_index(place, self._values.shape[:-1])
        return places, number

    def _find(self, found: Found) -> F64:
        """Make predictions find their boxes; return their overlaps, (k,)."""
        loss, at = self._loss, self._loss.before
        iou = self._pull(found)
        found.delta[:, at] = loss.objectness_delta(found)
        found.delta[:, at + 1 :] = loss.class_delta(found)
        return iou

    def _pull(self, found: Found) -> F64:
        """Pull boxes to true boxes; return their overlaps, (k,)."""
        loss, delta = self._loss, found.delta[:, : self._loss.before]
        np.add(delta if loss.extended else 0, loss.box_delta(found, self._grid), out=delta)
        measure = OVERLAPS["giou" if loss.iou_loss == "giou" else "iou"]
        iou = measure(found.box.astype(np.float32), found.true.astype(np.float32))
        return iou.astype(np.float64)

    def _average(self, delta: F64) -> None:
        """Divide the box deltas (k, planes) by the number of true classes of each box."""
        count = (delta[:, self._loss.before + 1 :] > 0).sum(axis=1)
        count = np.where(self._loss.is_averaged(delta), count, 1)
        delta[:, : self._loss.before] /= np.maximum(1, count)[:, None]
