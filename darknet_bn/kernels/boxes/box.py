"""Boxes, how much two of them overlap, and how to undo a letterbox.  C: ``src/box.c``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import ShapeError
from darknet_bn.kernels.floating import floating, require_floats
from darknet_bn.values import brief

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """What a detection head finds in one picture: boxes with a probability for each class.

    Attributes
    ----------
    xywh : float32 array (k, 4)
        Centre x and y, width and height: 1 is the whole picture, or the whole input of the network.
    objectness : float32 array (k,)
        How certain it is that the box contains any object.
    probabilities : float32 array (k, classes)
        Probability of each class, objectness included; 0 if not over the threshold, or suppressed.

    Raises
    ------
    ShapeError
        The arrays do not fit together, or do not hold floating-point numbers.
    """

    xywh: F32
    objectness: F32
    probabilities: F32

    def __repr__(self) -> str:
        """Return a one-line description."""
        return brief(self, f"{len(self)} of {self.probabilities.shape[1]} classes")

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, or do not hold floating-point numbers."""
        for name in ("xywh", "objectness", "probabilities"):
            require_floats("Boxes", name, getattr(self, name))
        shapes = (self.xywh.shape, self.objectness.shape, self.probabilities.shape)
        k = len(self.xywh) if self.xywh.ndim else -1
        if shapes[:2] != ((k, 4), (k,)) or len(shapes[2]) != 2 or shapes[2][0] != k:
            raise ShapeError(
                "the arrays do not describe boxes",
                expected="xywh (k, 4), objectness (k,), probabilities (k, classes)",
                found=", ".join(map(str, shapes)),
            )

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.xywh)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Boxes:
        """Return some of the boxes, in the order of ``rows``."""
        return Boxes(self.xywh[rows], self.objectness[rows], self.probabilities[rows])

    def with_class(self) -> Boxes:
        """Return the boxes that still have a class."""
        return self.take(np.flatnonzero(self.probabilities.any(1)))


def join_boxes(parts: Sequence[Boxes]) -> Boxes:
    """Concatenate the boxes of several heads.

    Raises
    ------
    ShapeError
        The heads do not have the same classes.
    """
    classes = [part.probabilities.shape[1] for part in parts]
    if len(set(classes)) != 1:
        raise ShapeError(
            "boxes with different numbers of classes cannot be combined",
            expected=f"{classes[:1]} classes",
            found=f"{classes}",
        )
    return Boxes(
        np.concatenate([part.xywh for part in parts]),
        np.concatenate([part.objectness for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
    )


# -- overlap -------------------------------------------------------------------------------------


@floating
def box_iou(a: F32, b: F32) -> F32:
    """Return the area that two boxes share, divided by the area that they cover together.

    Parameters
    ----------
    a, b : float32 arrays (..., 4)
        Centre x and y, width and height; their other axes are broadcast.

    Returns
    -------
    iou : float32 array (...)
        0 if they do not overlap; NaN if both are empty, or if sizes are NaN.

    Notes
    -----
    C: ``box_iou`` in ``src/box.c``.  The version in the forks gives 0 for empty boxes; neither 0
    nor NaN suppresses anything.
    """
    with np.errstate(invalid="ignore", over="ignore", under="ignore", divide="ignore"):
        common = _overlap(a, b, 0) * _overlap(a, b, 1)
        iou: F32 = common / (a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - common)
    return iou


@floating
def box_diou(a: F32, b: F32) -> F32:
    """Return `box_diounms` with an exponent of 0.6, which ``nms_kind=greedynms`` uses.

    Parameters
    ----------
    a, b : float32 arrays (..., 4)

    Returns
    -------
    diou : float32 array (...)

    Notes
    -----
    C: ``box_diou`` in AlexeyAB's ``src/box.c``; in the paper the exponent is 1.
    """
    return box_diounms(a, b, 0.6)


@floating
def box_diounms(a: F32, b: F32, beta1: float) -> F32:
    """Return the IoU, reduced for boxes whose centres are far apart.

    Parameters
    ----------
    a, b : float32 arrays (..., 4)
        Centre x and y, width and height; their other axes are broadcast.
    beta1 : float
        The exponent: ``beta_nms`` in the cfg.

    Returns
    -------
    diou : float32 array (...)
        ``iou - (d / c) ** beta1``: d is the squared distance between the centres, c the squared
        diagonal of the smallest box around both.

    Notes
    -----
    C: ``box_diounms`` in AlexeyAB's ``src/box.c``.
    """
    iou = box_iou(a, b)
    with np.errstate(invalid="ignore", over="ignore", under="ignore", divide="ignore"):
        c = _around(a, b, 0) ** 2 + _around(a, b, 1) ** 2
        d = (a[..., 0] - b[..., 0]) ** 2 + (a[..., 1] - b[..., 1]) ** 2
        away = np.float_power(d / c, np.float32(beta1)).astype(np.float32)  # a double in C
        return np.where(c == 0, iou, iou - away)


@floating
def box_giou(a: F32, b: F32) -> F32:
    """Return the IoU, minus the empty share of the smallest box around both.

    Parameters
    ----------
    a, b : float32 arrays (..., 4)

    Returns
    -------
    giou : float32 array (...)

    Notes
    -----
    C: ``box_giou`` in AlexeyAB's ``src/box.c``.
    """
    iou = box_iou(a, b)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        c = _around(a, b, 0) * _around(a, b, 1)
        common = _overlap(a, b, 0) * _overlap(a, b, 1)
        union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - common
        return np.where(c == 0, iou, iou - (c - union) / c)


@floating
def box_ciou(a: F32, b: F32) -> F32:
    """Return the IoU, reduced for centres that are far apart and for different aspect ratios.

    Parameters
    ----------
    a, b : float32 arrays (..., 4)

    Returns
    -------
    ciou : float32 array (...)

    Notes
    -----
    C: ``box_ciou`` in AlexeyAB's ``src/box.c``.
    """
    iou = box_iou(a, b)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        c = _around(a, b, 0) ** 2 + _around(a, b, 1) ** 2
        d = (a[..., 0] - b[..., 0]) ** 2 + (a[..., 1] - b[..., 1]) ** 2
        turn = np.arctan(b[..., 2] / b[..., 3]) - np.arctan(a[..., 2] / a[..., 3])
        ratio = np.float32(4 / math.pi**2) * turn * turn
        alpha = ratio / (1 - iou + ratio + np.float32(1e-6))
        return np.where(c == 0, iou, iou - (d / c + alpha * ratio))


OVERLAPS = {"iou": box_iou, "mse": box_iou, "giou": box_giou, "diou": box_diou, "ciou": box_ciou}
"""The values of the options ``iou_loss`` and ``iou_thresh_kind``."""


def _overlap(a: F32, b: F32, axis: int) -> F32:
    """Return how far two boxes overlap along x (0) or y (1)."""
    (low_a, high_a), (low_b, high_b) = _sides(a, axis), _sides(b, axis)
    overlap: F32 = np.minimum(high_a, high_b) - np.maximum(low_a, low_b)
    return np.maximum(overlap, np.float32(0))


def _around(a: F32, b: F32, axis: int) -> F32:
    """Return the width (0) or height (1) of the smallest box around two."""
    (low_a, high_a), (low_b, high_b) = _sides(a, axis), _sides(b, axis)
    around: F32 = np.fmax(high_a, high_b) - np.fmin(low_a, low_b)
    return around


def _sides(box: F32, axis: int) -> tuple[F32, F32]:
    half = box[..., 2 + axis] * np.float32(0.5)
    return box[..., axis] - half, box[..., axis] + half


# -- letterbox -----------------------------------------------------------------------------------


def letterbox_size(size: Size, net: Size) -> Size:
    """Return the height and width of a picture inside a letterbox.

    Parameters
    ----------
    size, net : (height, width)
        The sizes of the picture and of the input of the network.

    Notes
    -----
    C: ``letterbox_image`` in ``src/image.c``, with its integer divisions.
    """
    (h, w), (net_h, net_w) = size, net
    if np.float32(net_w) / np.float32(w) < np.float32(net_h) / np.float32(h):
        return h * net_w // w, net_w
    return net_h, w * net_h // h


@floating
def correct_yolo_boxes(xywh: F32, size: Size, net: Size) -> F32:
    """Convert boxes relative to a letterbox into boxes relative to the picture inside it.

    Parameters
    ----------
    xywh : float32 array (k, 4)
    size, net : (height, width)
        The sizes of the picture and of the input of the network.

    Returns
    -------
    xywh : float32 array (k, 4)

    Raises
    ------
    ShapeError
        The picture is so narrow that nothing of it remains in the letterbox.

    Notes
    -----
    C: ``correct_yolo_boxes`` in ``src/yolo_layer.c`` with ``relative`` and, in AlexeyAB's version,
    ``letter`` set.  The border is half of the remaining space, while `letterbox_image` rounds that
    down to whole pixels.
    """
    inside = letterbox_size(size, net)
    if 0 in inside:
        raise ShapeError(
            "the letterboxed picture would have no pixels",
            expected="a less elongated picture",
            found=f"{size[1]} x {size[0]} pixels in {net[1]} x {net[0]}",
        )
    new_wh: F64 = np.array(inside[::-1], np.float64)
    net_wh: F64 = np.array(net[::-1], np.float64)
    part = (new_wh / net_wh).astype(np.float32)
    corrected = np.empty_like(xywh)
    with np.errstate(over="ignore", invalid="ignore"):
        corrected[:, :2] = (xywh[:, :2] - (net_wh - new_wh) / 2 / net_wh) / part
        corrected[:, 2:] = xywh[:, 2:] * (net_wh / new_wh).astype(np.float32)
    return corrected
