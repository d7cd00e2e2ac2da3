"""How ``[region]`` compares its output with boxes that are true.

C: ``forward_region_layer`` in ``src/region_layer.c``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.box import box_iou
from darknet_bn.kernels.yolo_loss import true_boxes
from darknet_bn.tree import Tree

_WARM_UP = 12800  # images, in which boxes are also pulled to the shapes of their anchors
_WARM_UP_SCALE = 0.01
_CLASS_ONLY = 100_000  # x and y over it: of the image only the class is known


@dataclass(frozen=True, kw_only=True)
class RegionLoss:
    """The comparison, with the options of the section under their names.

    Attributes
    ----------
    anchors : float64 array (num, 2)
        Width and height of the anchors, in cells.
    classes : int
    extended : bool
        Whether it is AlexeyAB's: x and y come raw, the slopes of what is squashed are in the
        deltas, and small boxes count no more than large ones.
    """

    anchors: F64
    classes: int
    extended: bool
    coords: int = 4
    thresh: float = 0.5
    coord_scale: float = 1.0
    object_scale: float = 1.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    rescore: bool = False
    bias_match: bool = False
    background: bool = False
    softmax: bool = False
    classfix: int = 0
    focal_loss: bool = False
    tree: Tree | None = None

    def __call__(self, values: F32, truth: F32, seen: int) -> tuple[F32, float]:
        """Compare.

        Parameters
        ----------
        values : float32 array (n, anchors, h, w, entries)
            The output of the head, ordered so: x, y, w, h, objectness and classes of each box.
        truth : float32 array (n, boxes, 5)
            x, y, w, h and class of each box; behind the last of an image, x is 0.
        seen : int
            Images the model has been trained with.

        Returns
        -------
        delta : float32 array like ``values``
            Of what the layer got; where not ``extended``, of what is squashed in it.
        loss : float
            The sum of the squared deltas, over all images.
        """
        delta = np.zeros_like(values)
        for image, image_delta, boxes in zip(values, delta, truth, strict=True):
            _Image(self, image, image_delta).compare(true_boxes(boxes), seen < _WARM_UP)
        return delta, float(np.sum(np.square(delta, dtype=np.float64)))


class _Image:
    """One image in comparison: its values and deltas (anchors, h, w, entries)."""

    def __init__(self, loss: RegionLoss, values: F32, delta: F32) -> None:
        self._loss, self._values, self._delta = loss, values, delta
        self._h, self._w = values.shape[1:3]
        self._at = loss.coords  # of the objectness
        self._boxes = self._predicted()

    def compare(self, truths: F64, warm_up: bool) -> None:
        """Fill the deltas."""
        if self._loss.tree is not None and self._compare_class_only(truths):
            return
        self._compare_predictions(truths)
        if warm_up:
            self._pull_to_anchors()
        for truth in truths:
            self._compare_truth(truth)

    def _squashed(self, xy: F64) -> F64:
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-xy)) if self._loss.extended else xy

    def _predicted(self) -> F64:
        """Return all predicted boxes, (anchors, h, w, 4)."""
        values = self._values[..., :4].astype(np.float64)
        corner = np.stack(np.meshgrid(np.arange(self._w), np.arange(self._h)), axis=-1)
        cells = np.array((self._w, self._h), np.float64)
        place = (self._squashed(values[..., :2]) + corner) / cells
        with np.errstate(over="ignore"):
            size = np.exp(values[..., 2:]) * self._loss.anchors[:, None, None] / cells
        return np.concatenate((place, size), axis=-1)

    def _slope(self, squashed: F32) -> F32:
        """Return the slope of the squashing, where the deltas are to have it in them."""
        return squashed * (1 - squashed) if self._loss.extended else np.ones_like(squashed)

    def _compare_predictions(self, truths: F64) -> None:
        """Find no object anywhere, but for where a box is good enough."""
        loss = self._loss
        objectness, target = self._values[..., self._at], self._delta[..., self._at]
        slope = self._slope(objectness)
        boxes = self._boxes[..., None, :].astype(np.float32)
        ious = box_iou(boxes, truths[:, :4].astype(np.float32))
        best = np.fmax.reduce(ious, axis=-1, initial=0)
        nothing = 1 if loss.background else 0
        np.copyto(target, loss.noobject_scale * (nothing - objectness) * slope)
        if loss.extended and loss.classfix == -1:
            np.copyto(target, loss.noobject_scale * (best - objectness) * slope)
            return
        good = best > loss.thresh
        target[good] = 0
        if loss.extended and loss.classfix > 0:
            for anchor, row, column in np.argwhere(good):
                kind = int(truths[int(np.nanargmax(ious[anchor, row, column])), 4])
                sure = float(objectness[anchor, row, column]) if loss.classfix == 2 else 1.0
                self._class_delta((int(anchor), int(row), int(column)), kind, sure)

    def _pull_to_anchors(self) -> None:
        values = self._values[..., :4].astype(np.float64)
        squashed = self._squashed(values[..., :2])
        pull = np.concatenate((0.5 - squashed, -values[..., 2:]), axis=-1)
        if self._loss.extended:
            pull[..., :2] *= squashed * (1 - squashed)
        np.copyto(self._delta[..., :4], _WARM_UP_SCALE * pull, casting="same_kind")

    def _compare_truth(self, truth: F64) -> None:
        """Make the box of the cell that has the most similar shape find a true one."""
        loss = self._loss
        column, row = int(truth[0] * self._w), int(truth[1] * self._h)
        if not (0 <= column < self._w and 0 <= row < self._h):
            return
        shapes = np.zeros((len(loss.anchors), 4), np.float32)
        shapes[:, 2:] = self._boxes[:, row, column, 2:]
        if loss.bias_match:
            shapes[:, 2:] = loss.anchors / (self._w, self._h)
        centred = np.array([0, 0, truth[2], truth[3]], np.float32)
        best = int(np.argmax(np.nan_to_num(box_iou(shapes, centred), nan=-1.0)))
        place = best, row, column
        box = self._boxes[place].astype(np.float32)
        iou = float(box_iou(box, truth[:4].astype(np.float32)))
        self._box_delta(place, truth)
        objectness = self._values[(*place, self._at)]
        aim = iou if loss.rescore else 1.0
        if loss.background:
            aim = 0.0
        slope = self._slope(np.asarray(objectness))
        self._delta[(*place, self._at)] = loss.object_scale * (aim - objectness) * slope
        self._class_delta(place, int(truth[4]), 1.0)

    def _box_delta(self, place: tuple[int, int, int], truth: F64) -> None:
        loss, (anchor, row, column) = self._loss, place
        values = self._values[place][:4].astype(np.float64)
        squashed = self._squashed(values[:2])
        cells = np.array((self._w, self._h), np.float64)
        with np.errstate(divide="ignore"):
            sizes = np.log(truth[2:4] * cells / loss.anchors[anchor]) - values[2:]
        pull = np.concatenate((truth[:2] * cells - (column, row) - squashed, sizes))
        scale = loss.coord_scale
        if loss.extended:
            pull[:2] *= squashed * (1 - squashed)
        else:
            scale *= 2 - truth[2] * truth[3]
        self._delta[place][:4] = scale * pull

    def _class_delta(self, place: tuple[int, int, int], kind: int, sure: float) -> None:
        """Raise the true class, and its parents, and lower the others."""
        loss, first = self._loss, self._at + 1
        scores, delta = self._values[place][first:], self._delta[place][first:]
        scale = loss.class_scale * sure
        if loss.tree is not None:
            self._tree_delta(scores, delta, kind, scale)
        elif delta[0] and not loss.softmax and not loss.extended:
            delta[kind] = scale * (1 - scores[kind])
        elif loss.focal_loss:
            share = float(scores[kind]) + 1e-15
            slope = -(1 - share) * (2 * share * math.log(share) + share - 1) if share > 0 else 0.0
            hot = np.arange(len(scores)) == kind
            np.copyto(delta, scale * 0.5 * slope * (hot - scores), casting="same_kind")
        else:
            hot = np.arange(len(scores)) == kind
            np.copyto(delta, scale * (hot - scores), casting="same_kind")

    def _tree_delta(self, scores: F32, delta: F32, kind: int, scale: float) -> None:
        tree = self._loss.tree
        while tree is not None and kind >= 0:
            group = next(each for each in tree.groups if each.start <= kind < each.stop)
            delta[group] = -scale * scores[group]
            delta[kind] = scale * (1 - scores[kind])
            kind = tree.parents[kind]

    def _compare_class_only(self, truths: F64) -> bool:
        """Teach the likeliest box the class of an image of which only that is known."""
        loss, tree = self._loss, self._loss.tree
        only = np.flatnonzero((truths[:, 0] > _CLASS_ONLY) & (truths[:, 1] > _CLASS_ONLY))
        if tree is None or not len(only):
            return False
        kind = int(truths[only[0], 4])
        objectness = self._values[..., self._at]
        slope = self._slope(objectness)
        np.copyto(self._delta[..., self._at], loss.noobject_scale * (0 - objectness) * slope)
        likely, each = objectness.astype(np.float64), kind
        while each >= 0:
            likely = likely * self._values[..., self._at + 1 + each]
            each = tree.parents[each]
        anchor, row, column = np.unravel_index(int(np.argmax(likely)), likely.shape)
        place = int(anchor), int(row), int(column)
        self._class_delta(place, kind, 1.0)
        self._delta[(*place, self._at)] = 0
        return True
