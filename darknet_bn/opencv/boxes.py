"""From the output of a head to the rows that OpenCV's Region layer gives, and its suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.head import Head

_THRESHOLD = 0.2  # for heads that OpenCV does not have
_REGION_OVERLAP = 0.4


def overlap_of(head: Head) -> float:
    """Return the overlap above which OpenCV's head suppresses boxes; 0 if it does not."""
    if _is_region(head):
        return _REGION_OVERLAP
    return float(head.value("nms_threshold")) if _is_yolo(head) else 0.0


def _is_yolo(head: Head) -> bool:
    return head.names[0] == "yolo"


def _is_region(head: Head) -> bool:
    return head.names[0] == "region"


def rows_of(head: Head, y: F32, net: Shape, dialect: Dialect, overlap: float) -> F32:
    """Return the boxes of one image in OpenCV's order: cell by cell, then anchor by anchor.

    Parameters
    ----------
    head : Head
    y : float32 array (c, h, w)
        The head's output.
    net : Shape
        The shape of the network's input.
    dialect : Dialect
        The dialect that the output was computed with.
    overlap : float
        The overlap above which the less probable of two boxes of a class gets 0; 0 keeps all.

    Returns
    -------
    rows : float32 array (boxes, 5 + classes)
        Centre x and y, width and height relative to the image, objectness, and the probability of
        each class; 0 if it is not over the threshold.
    """
    threshold = _THRESHOLD
    if _is_yolo(head) or _is_region(head):
        threshold = head.value("thresh")
    if _is_yolo(head) or (_is_region(head) and _is_plain(head, dialect)):
        rows, scale = _decoded(head, y, net)
        rows[:, 5:] *= scale[:, None]
    else:
        boxes = head.boxes(y, net, -np.inf, dialect)
        parts = (boxes.xywh, boxes.objectness[:, None], boxes.probabilities)
        rows = np.concatenate(parts, axis=1)
    shares = rows[:, 5:]
    shares[~(shares > np.float32(threshold))] = 0
    if overlap > 0:
        boxes_at = rows[:, :4].copy()
        boxes_at[:, :2] -= boxes_at[:, 2:] / 2
        for column in shares.T:
            kept = suppressed(boxes_at, column, threshold, overlap)
            scores = column[kept]
            column[:] = 0
            column[kept] = scores
    return rows


def _is_plain(region: Head, dialect: Dialect) -> bool:
    return region.tree is None and region.value("coords") == 4 and not dialect.region_by_cell


def _decoded(head: Head, y: F32, net: Shape) -> tuple[F32, F32]:
    """Return the rows with the classes' shares, and what to multiply these by."""
    _, h, w = y.shape
    count = len(head.anchor_sizes)
    rows = y.reshape(count, -1, h * w).transpose(2, 0, 1).copy()
    row, column = np.divmod(np.arange(h * w), w)
    rows[:, :, 0] += column[:, None]
    rows[:, :, 1] += row[:, None]
    rows[:, :, :2] /= np.array([w, h], np.float32)
    sizes = rows[:, :, 2:4]
    relative = (w, h) if _is_region(head) else (net.w, net.h)
    with np.errstate(all="ignore"):  # in OpenCV, too, a size may be infinite
        if _is_yolo(head) and head.value("new_coords"):
            np.multiply(4 * sizes, sizes, out=sizes)
        else:
            np.exp(sizes, out=sizes)
        sizes *= np.array(head.anchor_sizes, np.float32)
        sizes /= np.array(relative, np.float32)
    flat = rows.reshape(-1, rows.shape[2])
    scale = flat[:, 4]
    if _is_region(head) and head.value("classfix") == -1:
        scale = np.where(scale < np.float32(0.5), np.float32(0), scale)
    return flat, scale


def suppressed(
    boxes: npt.NDArray[Any], scores: F32, threshold: float, overlap: float
) -> npt.NDArray[np.intp]:
    """Return the indices of the boxes that ``cv2.dnn.NMSBoxes`` keeps, the most probable first.

    Parameters
    ----------
    boxes : array (k, 4) of float32, or of integers
        Left, top, width, height.
    scores : float32 array (k,)
    threshold : float
        Boxes whose score is not above it are ignored.
    overlap : float
        The IoU above which the less probable of two boxes is removed.
    """
    places = np.flatnonzero(scores > np.float32(threshold))
    places = places[np.argsort(-scores[places], kind="stable")]
    left, top, width, height = boxes[places].T
    right, bottom = left + width, top + height
    areas = (width * height).astype(np.float64)
    smallest = np.finfo(boxes.dtype).eps if boxes.dtype.kind == "f" else 0
    kept: list[int] = []
    waiting = np.arange(len(places))
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(places[best])
        w = np.minimum(right[best], right[waiting]) - np.maximum(left[best], left[waiting])
        h = np.minimum(bottom[best], bottom[waiting]) - np.maximum(top[best], top[waiting])
        common = np.where((w > 0) & (h > 0), w * h, 0).astype(np.float64)
        both = areas[best] + areas[waiting]
        with np.errstate(all="ignore"):
            apart = np.where(both <= smallest, 0, 1 - common / (both - common))
        waiting = waiting[1 - apart.astype(np.float32) <= np.float32(overlap)]
    return np.array(kept, np.intp)
