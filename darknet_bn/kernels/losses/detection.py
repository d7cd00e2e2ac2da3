"""How ``[detection]``, the head of YOLOv1, compares its output with the truth.

C: ``forward_detection_layer`` in ``src/detection_layer.c``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.boxes.box import box_iou
from darknet_bn.kernels.floating import floating

_RANDOM = 64_000  # images during which ``random`` lets any box of a cell learn
_FAR = 20.0  # the largest distance at which a box can still be the nearest
_SMALL = 0.1  # of the image: with ``forced``, the second box is for smaller objects


@dataclass(frozen=True, kw_only=True)
class DetectionLoss:
    """The loss function, with the options of the section as attributes."""

    side: int
    num: int
    classes: int
    coord_scale: float = 1.0
    object_scale: float = 1.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    rescore: bool = False
    sqrt: bool = False
    forced: bool = False
    random: bool = False

    @floating
    def __call__(
        self, y: F32, truth: F32, seen: int, rng: np.random.Generator
    ) -> tuple[F32, float]:
        """Compare.

        Parameters
        ----------
        y : float32 array (n, outputs)
            The classes of each cell, the objectness of each of its boxes, and their x, y, w, h.
        truth : float32 array (n, side * side, 1 + classes + 4)
            For each cell: whether it has an object, the class as 0s and 1s, and x, y, w, h.  x and
            y are relative to the cell, w and h to the image.
        seen : int
            Number of images that the model has been trained with.
        rng : Generator

        Returns
        -------
        delta : float32 array like ``y``
        loss : float
            The sum of the squared deltas, over all images.
        """
        n, cells = len(y), self.side**2
        ends = np.cumsum([cells * self.classes, cells * self.num])
        scores, sure, boxes = (part.reshape(n, cells, -1) for part in np.split(y, ends, axis=1))
        there = truth[:, :, 0].astype(np.intp) != 0
        true_scores, true_box = truth[:, :, 1 : 1 + self.classes], truth[:, :, 1 + self.classes :]
        of_sure = -self.noobject_scale * sure
        of_scores = np.where(there[..., None], self.class_scale * (true_scores - scores), 0)
        predicted = boxes.reshape(n, cells, self.num, 4).astype(np.float64)
        best, iou = self._responsible(predicted, true_box.astype(np.float64), seen, rng)
        image, cell = np.nonzero(there)
        which = best[image, cell]
        own = sure[image, cell, which]
        aim = iou[image, cell, which] if self.rescore else 1.0
        of_sure[image, cell, which] = self.object_scale * (aim - own)
        aims = true_box.astype(np.float64)
        if self.sqrt:
            aims[..., 2:] = np.sqrt(aims[..., 2:])
        of_boxes = np.zeros_like(predicted)
        of_boxes[image, cell, which] = self.coord_scale * (
            aims[image, cell] - predicted[image, cell, which]
        )
        parts = (of_scores, of_sure, of_boxes)
        delta = np.concatenate([part.reshape(n, -1) for part in parts], axis=1).astype(y.dtype)
        return delta, float(np.sum(np.square(delta, dtype=np.float64)))

    def _responsible(
        self, predicted: F64, true_box: F64, seen: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, F32]:
        """Return which box of each cell learns, (n, cells), and the overlap of each."""
        scale = np.array((self.side, self.side, 1, 1), np.float64)
        out = predicted / scale
        if self.sqrt:
            out[..., 2:] **= 2
        true = (true_box / scale)[:, :, None]
        iou = np.nan_to_num(box_iou(out.astype(np.float32), true.astype(np.float32)))
        apart = np.sqrt(np.square(out - true).sum(axis=-1))
        apart = np.where(apart < _FAR, apart, np.inf)
        best = np.where((iou > 0).any(axis=-1), iou.argmax(axis=-1), apart.argmin(axis=-1))
        if self.forced:
            small = true_box[..., 2] * true_box[..., 3] < _SMALL
            best = np.minimum(small, self.num - 1).astype(np.intp)  # C uses the next cell's box
        if self.random and seen < _RANDOM:
            best = rng.integers(self.num, size=best.shape)
        return best, iou
