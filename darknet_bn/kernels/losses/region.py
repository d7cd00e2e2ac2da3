"""How ``[region]`` compares its output with true boxes.

C: ``forward_region_layer`` in ``src/region_layer.c``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.dialect import Floats
from darknet_bn.formats.tree import Tree
from darknet_bn.kernels.boxes.box import box_iou
from darknet_bn.kernels.floating import floating
from darknet_bn.kernels.losses.common import (
    Rows,
    TrueBoxes,
    best_overlaps,
    finite,
    first_largest,
    focal_slope,
    nearest,
    rounds,
)

At = tuple[Rows, ...]

_WARM_UP = 12800  # images during which boxes are also pulled to the shapes of their anchors
_WARM_UP_SCALE = 0.01
_CLASS_ONLY = 100_000  # if x and y are larger, only the class of the image is known


@dataclass(frozen=True, kw_only=True)
class RegionLoss:
    """The loss function, with the options of the section as attributes.

    Attributes
    ----------
    anchors : float64 array (num, 2)
        Width and height of the anchors, in cells.
    classes : int
    extended : bool
        Whether the loss is AlexeyAB's: x and y are raw, the deltas include the slopes of the
        sigmoid, and small boxes do not count more than large ones.
    """

    anchors: F64
    classes: int
    extended: bool
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

    @floating
    def __call__(self, values: F32, truth: F32, seen: int) -> tuple[F32, float]:
        """Compare.

        Parameters
        ----------
        values : float32 array (n, anchors, h, w, entries)
            The output of the head, in the order x, y, w, h, objectness and classes of each box.
        truth : float32 array (n, boxes, 5)
            x, y, w, h and class of each box; x is 0 after the last box of an image.
        seen : int
            Number of images that the model has been trained with.

        Returns
        -------
        delta : float32 array like ``values``
            Delta of the layer's input; if not ``extended``, of its output after the sigmoid.
        loss : float
            The sum of the squared deltas, over all images.

        Notes
        -----
        If C's delta would be infinite or NaN, it is 0.  If the centre of a box is outside the
        image, C writes outside the head's memory; here such a box is ignored.
        """
        delta = np.zeros_like(values)
        batch = _Batch(self, values, delta)
        true = TrueBoxes.read(truth)
        only = np.zeros(0, np.intp)
        if self.tree is not None:
            only = batch.compare_class_only(true, self.tree)
            true = true.take(~np.isin(true.image, only))
        for image in np.setdiff1d(np.arange(len(values)), only):
            batch.compare_predictions(int(image), true.of(int(image)))
            if seen < _WARM_UP:
                batch.pull_to_anchors(int(image))
        batch.compare_boxes(true)
        return delta, float(np.sum(np.square(delta, dtype=np.float64)))


class _Batch:
    """A batch under comparison: its values and deltas (n, anchors, h, w, entries)."""

    def __init__(self, loss: RegionLoss, values: F32, delta: F32) -> None:
        self._loss, self._values, self._delta = loss, values, delta
        self._grid = np.array(values.shape[3:1:-1], values.dtype)  # columns, rows
        h, w = values.shape[2:4]
        corner = np.stack(np.meshgrid(np.arange(w), np.arange(h)), axis=-1).astype(values.dtype)
        self._anchors = loss.anchors.astype(values.dtype)
        centre = (self._squashed(values[..., :2]) + corner) / self._grid
        with np.errstate(over="ignore"):
            size = np.exp(values[..., 2:4]) * self._anchors[:, None, None] / self._grid
        self._boxes = np.concatenate((centre, size), axis=-1)

    def compare_predictions(self, image: int, true: TrueBoxes) -> None:
        """Lower the objectness everywhere, unless a box is good enough."""
        loss = self._loss
        objectness, target = self._values[image, ..., 4], self._delta[image, ..., 4]
        boxes = np.ascontiguousarray(np.moveaxis(self._boxes[image], -1, 0)).reshape(4, -1)
        best = best_overlaps(boxes, true.xywh).reshape(objectness.shape)
        nothing: F32 | int = 1 if loss.background else 0
        if loss.extended and loss.classfix == -1:
            nothing = best
        slope = self._slope(objectness)
        np.copyto(target, loss.noobject_scale * (nothing - objectness) * slope)
        if loss.extended and loss.classfix == -1:
            return
        good = np.nonzero(best > loss.thresh)
        target[good] = 0
        if loss.extended and loss.classfix > 0 and len(good[0]):
            at = (np.full_like(good[0], image), *good)
            kind = true.kind[nearest(self._boxes[at], np.full_like(good[0], image), true)]
            sure = objectness[good].astype(np.float64)
            self._give_class(at, kind, sure if loss.classfix == 2 else np.ones_like(sure))

    def pull_to_anchors(self, image: int) -> None:
        """Pull all boxes of an image to the middle of their cells and the size of their anchors."""
        values = self._values[image, ..., :4]
        squashed = self._squashed(values[..., :2])
        pull = np.concatenate((0.5 - squashed, -values[..., 2:]), axis=-1)
        pull[..., :2] *= self._slope(squashed)
        np.copyto(self._delta[image, ..., :4], _WARM_UP_SCALE * pull)

    def compare_boxes(self, true: TrueBoxes) -> None:
        """In each cell, make the box with the most similar shape find a true box."""
        row, column, inside = true.cells(*self._values.shape[2:4])
        true, row, column = true.take(inside), row[inside], column[inside]
        shapes = self._boxes[true.image, :, row, column].copy()
        if self._loss.bias_match:
            shapes[..., 2:] = self._anchors / self._grid
        shapes[..., :2] = 0
        centred = true.xywh.copy()[:, None]
        centred[..., :2] = 0
        at = (true.image, first_largest(box_iou(shapes, centred)), row, column)
        for rows in rounds(np.ravel_multi_index(at, self._values.shape[:-1])):
            self._find(tuple(each[rows] for each in at), true.take(rows))

    def compare_class_only(self, true: TrueBoxes, tree: Tree) -> Rows:
        """Teach the likeliest box the class of images (k,) for which only the class is known."""
        loss = self._loss
        known = true.take(np.flatnonzero(np.all(true.xywh[:, :2] > _CLASS_ONLY, axis=1)))
        images, first = np.unique(known.image, return_index=True)
        for image, kind in zip(images, known.kind[first], strict=True):
            objectness = self._values[image, ..., 4]
            line = [5 + each for each in _line(tree, int(kind))]
            likely = objectness * np.prod(self._values[image][..., line], axis=-1)
            best = np.unravel_index(np.argmax(likely), likely.shape)
            if not loss.extended:
                target = self._delta[image, ..., 4]
                np.copyto(target, loss.noobject_scale * (0 - objectness))
                target[best] = 0
            at = tuple(np.array([each], np.intp) for each in (image, *best))
            self._give_class(at, np.array([kind]), np.ones(1))
        return images

    def _squashed(self, xy: Floats) -> Floats:
        if not self._loss.extended:
            return xy
        with np.errstate(over="ignore"):
            squashed: Floats = np.divide(1, 1 + np.exp(-xy), dtype=xy.dtype)
        return squashed

    def _slope(self, squashed: Floats) -> Floats:
        """Return the slope of the sigmoid, if the deltas are to include it."""
        slope: Floats = squashed * (1 - squashed) if self._loss.extended else np.ones_like(squashed)
        return slope

    def _find(self, at: At, true: TrueBoxes) -> None:
        """Make predictions (k,), all different, find true boxes."""
        loss = self._loss
        self._delta[..., :4][at] = self._box_delta(at, true.xywh.astype(np.float64))
        objectness = self._values[..., 4][at]
        aim = np.ones_like(objectness)
        if loss.rescore:
            aim = box_iou(self._boxes[at], true.xywh.astype(objectness.dtype))
        if loss.background:
            aim = np.zeros_like(objectness)
        slope = self._slope(objectness)
        self._delta[..., 4][at] = loss.object_scale * (aim - objectness) * slope
        self._give_class(at, true.kind, np.ones(len(true.kind)))

    def _box_delta(self, at: At, true: F64) -> F64:
        """Return the direction in which x, y, w and h should move, (k, 4)."""
        loss = self._loss
        values = self._values[..., :4][at].astype(np.float64)
        squashed = self._squashed(values[:, :2])
        corner = np.stack(at[:1:-1], axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.log(true[:, 2:] * self._grid / loss.anchors[at[1]]) - values[:, 2:]
        centre = (true[:, :2] * self._grid - corner - squashed) * self._slope(squashed)
        pull = loss.coord_scale * np.concatenate((centre, size), axis=1)
        if not loss.extended:
            pull *= 2 - np.prod(true[:, 2:], axis=1, keepdims=True)
        return finite(pull)

    def _give_class(self, at: At, kind: Rows, sure: F64) -> None:
        """Raise the true class of predictions (k,), and its parents, and lower the others."""
        loss, rows = self._loss, np.arange(len(kind))
        scores = self._values[..., 5:][at].astype(np.float64)
        now = self._delta[..., 5:][at].astype(np.float64)
        scale = loss.class_scale * sure[:, None]
        if loss.tree is not None:
            delta = now
            for row, each in enumerate(kind):
                _go_up(delta[row], scores[row], loss.tree, int(each), float(scale[row, 0]))
        else:
            hot = (np.arange(loss.classes) == kind[:, None]).astype(np.float64)
            delta = scale * (hot - scores)
            if loss.focal_loss:
                delta *= focal_slope(scores[rows, kind])[:, None]
            if not loss.softmax and not loss.extended:  # other true classes keep their value
                more = np.where(hot == 1, delta, now)
                delta = np.where(now[:, :1] != 0, more, delta)
        self._delta[..., 5:][at] = delta.astype(self._delta.dtype)


def _go_up(delta: F64, scores: F64, tree: Tree, kind: int, scale: float) -> None:
    """Raise a class of a tree and its parents in their groups; arrays (classes,)."""
    for each in _line(tree, kind):
        group = next(part for part in tree.groups if part.start <= each < part.stop)
        delta[group] = -scale * scores[group]
        delta[each] = scale * (1 - scores[each])


def _line(tree: Tree, kind: int) -> list[int]:
    """Return a class, its parent, and so on."""
    line = []
    while kind >= 0:
        line.append(kind)
        kind = tree.parents[kind]
    return line
