"""How ``[Gaussian_yolo]`` compares its output with true boxes.

C: ``forward_gaussian_yolo_layer`` in AlexeyAB's ``src/gaussian_yolo_layer.c``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F64
from darknet_bn.dialect import Floats
from darknet_bn.kernels.losses.common import Flags, Rows, TrueBoxes, finite
from darknet_bn.kernels.losses.yolo import Found, YoloLoss

_SIGMA = 0.3  # added to the spread of a box
_EPS = 1e-9  # added to the density at a true box


@dataclass(frozen=True, kw_only=True)
class GaussianYoloLoss(YoloLoss):
    """The comparison for boxes in which each of x, y, w, h is followed by its spread.

    Attributes
    ----------
    uc_normalizer : float
        Factor for the deltas of the spreads.
    point : float
        Offset of the centre from the point that x and y give, in widths and heights: 0.5 if the
        point is the left top corner, -0.5 if it is the right bottom corner.
    """

    before: ClassVar[int] = 8
    means: ClassVar[slice] = slice(0, 8, 2)
    smooth_gives_class: ClassVar[bool] = True

    uc_normalizer: float = 1.0
    point: float = 0.0

    def boxes(self, raw: Floats, corner: Floats, anchor: Floats, grid: Floats) -> Floats:
        """Return boxes (..., 4) from predicted x, y, w, h; ``grid`` is columns and rows."""
        boxes = super().boxes(raw, corner, anchor, grid)
        with np.errstate(over="ignore", invalid="ignore"):
            boxes[..., :2] += self.point * boxes[..., 2:]
        return boxes

    def cells(self, true: TrueBoxes, h: int, w: int) -> tuple[Rows, Rows, Flags]:
        """Return the cells (m,) of the points of true boxes; points outside go to the edge."""
        if not self.point:
            return true.cells(h, w)
        places = self._points(true.xywh) * np.array((w, h), true.xywh.dtype)
        column, row = np.clip(places, 0, (w - 1, h - 1)).astype(np.intp).T
        return row, column, np.ones(len(row), np.bool_)

    def smoothed(self, found: Found, best: F64) -> F64:
        """Return the delta (k,) of the objectness of predictions that are good enough."""
        return self.obj_normalizer * (best * best - found.values[:, self.before])

    def objectness_delta(self, found: Found) -> F64:
        """Return the delta (k,) of the objectness of predictions that find a box."""
        weight = self.multipliers(found.kind)
        return weight * self.obj_normalizer * (1 - found.values[:, self.before])

    def has_class(self, delta: F64, kind: Rows) -> Flags:
        """Return whether other boxes of the same prediction have already set their class (k,)."""
        given: Flags = delta[:, 0] != 0
        return given

    def is_averaged(self, delta: F64) -> Flags:
        """Return whether box deltas are divided by the number of true classes (k,)."""
        return np.ones(len(delta), np.bool_)

    def aims(self, found: Found, grid: F64) -> F64:
        """Return the targets for x, y, w and h (k, 4)."""
        aims = super().aims(found, grid)
        aims[:, :2] = self._points(found.true) * grid - found.corner
        return aims

    def box_slopes(self, found: Found) -> F64:
        """Return the slopes of the overlap with respect to x, y, w and h of the box, (k, 4)."""
        slopes = super().box_slopes(found)
        slopes[:, :2] -= self.point * slopes[:, 2:]
        return slopes

    def box_delta(self, found: Found, grid: F64) -> F64:
        """Return the deltas of x, y, w, h and of their spreads, (k, 8)."""
        sigma = found.values[:, 1:8:2]
        small = 2 - np.prod(found.true[:, 2:], axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            e = (self.aims(found, grid) - found.values[:, self.means]) / sigma
            density = np.exp(-e * e / 2) / (math.sqrt(2 * math.pi) * (sigma + _SIGMA))
            share = 0.5 * density / (density + _EPS) * small
            spread = share * (e * e / sigma - 1 / (sigma + _SIGMA))
            mean = share * e / sigma if self.iou_loss == "mse" else self.slopes(found)
        delta = np.empty((len(sigma), 8))
        weight = self.multipliers(found.kind)[:, None]
        delta[:, 0::2] = mean * (self.iou_normalizer * weight)
        delta[:, 1::2] = spread * self.uc_normalizer
        return finite(delta, self.max_delta)

    def _points(self, true: Floats) -> Floats:
        return true[:, :2] - self.point * true[:, 2:]
