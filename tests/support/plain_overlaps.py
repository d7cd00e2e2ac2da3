"""Overlaps of two boxes, and the boxes of a truth, with nothing but plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Box = Sequence[float]


def true_boxes(rows: np.ndarray) -> list[list[float]]:
    """The boxes of one image."""
    boxes = []
    for row in rows:
        if row[0] == 0:
            break
        boxes.append([float(each) for each in row])
    return boxes


def sides(box: Box, axis: int) -> tuple[float, float]:
    return box[axis] - box[2 + axis] / 2, box[axis] + box[2 + axis] / 2


def common(a: Box, b: Box) -> float:
    area = 1.0
    for axis in (0, 1):
        (low_a, high_a), (low_b, high_b) = sides(a, axis), sides(b, axis)
        area *= max(0.0, min(high_a, high_b) - max(low_a, low_b))
    return area


def around(a: Box, b: Box, axis: int) -> float:
    (low_a, high_a), (low_b, high_b) = sides(a, axis), sides(b, axis)
    return max(high_a, high_b) - min(low_a, low_b)


def union(a: Box, b: Box) -> float:
    return a[2] * a[3] + b[2] * b[3] - common(a, b)


def iou(a: Box, b: Box) -> float:
    return common(a, b) / union(a, b)


def giou(a: Box, b: Box) -> float:
    c = around(a, b, 0) * around(a, b, 1)
    return iou(a, b) - (c - union(a, b)) / c


def far(a: Box, b: Box) -> float:
    """The square of the distance of the centres, over the square of the diagonal."""
    return ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (around(a, b, 0) ** 2 + around(a, b, 1) ** 2)


def diou(a: Box, b: Box) -> float:
    """AlexeyAB's, with its exponent."""
    return iou(a, b) - far(a, b) ** 0.6


def ciou(a: Box, b: Box) -> float:
    turn = math.atan(b[2] / b[3]) - math.atan(a[2] / a[3])
    ratio = 4 / math.pi**2 * turn**2
    return iou(a, b) - far(a, b) - ratio**2 / (1 - iou(a, b) + ratio + 1e-6)


OVERLAPS: dict[str, Callable[[Box, Box], float]] = {
    "iou": iou,
    "mse": iou,
    "giou": giou,
    "diou": diou,
    "ciou": ciou,
}
