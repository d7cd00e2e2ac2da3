"""How a box has to change to overlap more with another.  C: AlexeyAB's ``src/box.c``."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from darknet_bn.arrays import F64
from darknet_bn.kernels.floating import floating

IouKind = Literal["iou", "giou", "diou", "ciou"]
_EPS = 1e-6  # used in the weight of the aspect ratio


@floating
def dx_box_iou(pred: F64, truth: F64, kind: IouKind) -> F64:
    """Return the slopes of the overlap between boxes and others.

    Parameters
    ----------
    pred, truth : float64 arrays (..., 4)
        Centre x and y, width and height; their other axes are broadcast.
    kind : "iou", "giou", "diou" or "ciou"

    Returns
    -------
    slopes : float64 array (..., 4)
        With respect to x, y, w and h of ``pred``, as the program computes them: the slopes of the
        overlap by w and h are twice the derivative, and the distance of the centres counts the
        smallest box around both with the wrong sign.

    Notes
    -----
    C: ``dx_box_iou``.  A width or height of 0 counts as 1.
    """
    pred = np.where((pred == 0) & (np.arange(4) >= 2), 1.0, pred)
    pred, truth = np.broadcast_arrays(pred, truth)
    with np.errstate(all="ignore"):  # if sizes are infinite, slopes may be infinite or NaN
        return _box_slopes(pred, truth, kind)


def _box_slopes(pred: F64, truth: F64, kind: IouKind) -> F64:
    (p_low, p_high), (t_low, t_high) = _edges(pred), _edges(truth)
    p_size = p_high - p_low
    common = np.minimum(p_high, t_high) - np.maximum(p_low, t_low)  # may be below 0
    inner = common[..., 0] * common[..., 1]
    union = p_size[..., 0] * p_size[..., 1] + np.prod(t_high - t_low, axis=-1) - inner
    low = _slopes(inner, union, -common[..., ::-1] * (p_low > t_low), -p_size[..., ::-1])
    high = _slopes(inner, union, common[..., ::-1] * (p_high < t_high), p_size[..., ::-1])
    apart = (common <= 0).any(axis=-1, keepdims=True)
    if kind == "giou":
        around = np.maximum(p_high, t_high) - np.minimum(p_low, t_low)
        more_low = _around_slopes(union, around, -around[..., ::-1] * (p_low < t_low), low[1])
        more_high = _around_slopes(union, around, around[..., ::-1] * (p_high > t_high), high[1])
        low = (np.where(apart, more_low, low[0] + more_low), low[1])
        high = (np.where(apart, more_high, high[0] + more_high), high[1])
    slopes: F64 = np.concatenate((low[0] + high[0], high[0] - low[0]), axis=-1)
    if kind in ("diou", "ciou"):
        pull = _centre_slopes(pred, truth, inner / union, ratio=kind == "ciou")
        slopes = np.where(apart, pull, slopes + pull)
    return slopes


def _edges(boxes: F64) -> tuple[F64, F64]:
    """Return the lower and upper x and y, (..., 2) each."""
    half = boxes[..., 2:] / 2
    return boxes[..., :2] - half, boxes[..., :2] + half


def _slopes(inner: F64, union: F64, of_inner: F64, of_box: F64) -> tuple[F64, F64]:
    """Return the slopes of ``inner/union`` by two edges, (..., 2), and the slopes of the union."""
    of_union = of_box - of_inner
    u, i = union[..., None], inner[..., None]
    return np.where(u > 0, (u * of_inner - i * of_union) / (u * u), 0), of_union


def _around_slopes(union: F64, around: F64, of_around: F64, of_union: F64) -> F64:
    """Return the slopes of ``union/area`` of the smallest box around both, by two edges."""
    area, u = np.prod(around, axis=-1)[..., None], union[..., None]
    slopes: F64 = np.where(area > 0, (area * of_union - u * of_around) / (area * area), 0)
    return slopes


def _centre_slopes(pred: F64, truth: F64, iou: F64, *, ratio: bool) -> F64:
    """Return the slopes by x, y, w and h of the terms that diou and ciou add."""
    (p_low, p_high), (t_low, t_high) = _edges(pred), _edges(truth)
    around = np.maximum(p_high, t_high) - np.minimum(p_low, t_low)
    diagonal = (around * around).sum(axis=-1)[..., None]
    between = truth[..., :2] - pred[..., :2]
    distance = (between * between).sum(axis=-1)[..., None]
    above, below = (p_high > t_high).astype(float), (p_low < t_low).astype(float)
    place = 2 * between * diagonal - 2 * around * (above - below) * distance
    size = 2 * around * 0.5 * (above + below) * distance
    slopes: F64 = np.concatenate((place, size), axis=-1) / (diagonal * diagonal)
    if ratio:
        turn = np.arctan(truth[..., 2] / truth[..., 3]) - np.arctan(pred[..., 2] / pred[..., 3])
        loss = 4 / math.pi**2 * turn * turn
        pull = loss / (1 - iou + loss + _EPS) * 8 / math.pi**2 * turn
        slopes[..., 2] += pull * pred[..., 3]
        slopes[..., 3] -= pull * pred[..., 2]
    return np.where(diagonal > 0, slopes, 0.0)
