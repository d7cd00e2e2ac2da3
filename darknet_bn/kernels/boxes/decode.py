"""From the output of a detection head to boxes.

C: ``src/yolo_layer.c``, ``src/gaussian_yolo_layer.c``, ``src/region_layer.c`` and
``src/detection_layer.c``.  All boxes belong to one picture, and are relative to the network's
input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.formats.tree import Tree
from darknet_bn.kernels.activations import ACTIVATIONS, activate_tile
from darknet_bn.kernels.boxes.box import Boxes, Size
from darknet_bn.kernels.boxes.tree import hierarchy_predictions, hierarchy_top_prediction
from darknet_bn.kernels.floating import floating

Anchors = Sequence[tuple[float, float]]
Rows = npt.NDArray[np.intp]
Point = Literal["center", "left_top", "right_bottom"]
HIER = 0.5  # probability needed to go down to a class in a tree: the programs' default


@floating
def get_yolo_detections(
    y: F32,
    anchors: Anchors,
    net: Size,
    thresh: float,
    *,
    new_coords: bool = False,
    by_anchor: bool = False,
) -> Boxes:
    """Return the boxes of ``[yolo]`` whose objectness is over the threshold.

    Parameters
    ----------
    y : float32 array (c, h, w)
        For each anchor: x, y, w, h, objectness, and the classes.
    anchors : sequence of (width, height)
        Sizes in pixels of the network's input.
    net : (height, width)
        Size of the network's input.
    thresh : float
        Threshold for the objectness, and for the product of objectness and class.
    new_coords : bool
        Whether the size follows the square of ``w`` and ``h`` instead of the exponential.
    by_anchor : bool
        Whether the boxes are listed anchor by anchor (hank-ai), or cell by cell.

    Returns
    -------
    boxes : Boxes
        If no product is over the threshold, all classes are 0.

    Notes
    -----
    C: ``get_yolo_detections`` and ``get_yolo_box`` in ``src/yolo_layer.c``.
    """
    values, anchor, cell = _over(y, len(anchors), 4, thresh, by_anchor)
    x, centre = values[:, 2:4].astype(np.float64), _centres(values[:, :2], cell, y.shape)
    with np.errstate(over="ignore"):
        size = x * x * 4 if new_coords else np.exp(x)
        xywh = _boxes(centre, size * _pairs(anchors)[anchor] / net[::-1])
    return Boxes(xywh, values[:, 4].copy(), _products(values[:, 4], values[:, 5:], thresh))


@floating
def get_gaussian_yolo_detections(
    y: F32,
    anchors: Anchors,
    net: Size,
    thresh: float,
    *,
    yolo_point: Point = "center",
) -> Boxes:
    """Return the boxes of ``[Gaussian_yolo]`` whose objectness is over the threshold.

    Parameters
    ----------
    y : float32 array (c, h, w)
        For each anchor: x, y, w, h, each followed by its uncertainty, objectness, and the classes.
    anchors : sequence of (width, height)
        Sizes in pixels of the network's input.
    net : (height, width)
        Size of the network's input.
    thresh : float
        Threshold for the objectness, and for the product of objectness, class and certainty.
    yolo_point : "center", "left_top" or "right_bottom"
        The point that x and y give.

    Returns
    -------
    boxes : Boxes

    Notes
    -----
    C: ``get_gaussian_yolo_detections`` in AlexeyAB's ``src/gaussian_yolo_layer.c``.
    """
    values, anchor, cell = _over(y, len(anchors), 8, thresh, by_anchor=False)
    point = _centres(values[:, 0:4:2], cell, y.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.exp(values[:, 4:8:2].astype(np.float64)) * _pairs(anchors)[anchor] / net[::-1]
        half = {"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}[yolo_point]
        xywh = _boxes((point + half * size).astype(np.float32) if half else point, size)
    certain = 1 - values[:, 1:8:2].mean(1)
    classes = values[:, 9:] * certain[:, None]
    return Boxes(xywh, values[:, 8].copy(), _products(values[:, 8], classes, thresh))


@floating
def get_region_detections(
    y: F32,
    anchors: Anchors,
    thresh: float,
    *,
    coords: int = 4,
    background: bool = False,
    tree: Tree | None = None,
) -> Boxes:
    """Return the boxes of pjreddie's ``[region]`` whose objectness is over the threshold.

    Parameters
    ----------
    y : float32 array (c, h, w)
        Planes for each anchor: x, y, w, h, any further ``coords``, objectness, and the classes.
    anchors : sequence of (width, height)
        Sizes in cells.
    thresh : float
        Threshold for the objectness, and for the product of objectness and class.
    coords : int
        Number of planes before the objectness.
    background : bool
        Whether a background class takes the place of the objectness, which is then 1.
    tree : Tree, optional
        Tree of the classes.  Each box gets the class reached from the root by always going to the
        likeliest child, as long as it is likelier than ``HIER``; its probability is the objectness.

    Returns
    -------
    boxes : Boxes

    Notes
    -----
    C: ``get_region_detections`` in pjreddie's ``src/region_layer.c``, which also returns the boxes
    under the threshold, with objectness 0; they are never used.
    """
    num, (_, h, w) = len(anchors), y.shape
    rows = y.reshape(num, -1, h * w).transpose(0, 2, 1).reshape(num * h * w, -1)
    objectness = np.ones_like(rows[:, 0]) if background else rows[:, coords]
    over = np.flatnonzero(objectness > np.float32(thresh))
    anchor, cell = np.divmod(over, h * w)
    values, objectness = rows[over], objectness[over]
    centre = _centres(values[:, :2], cell, y.shape)
    xywh = _boxes(centre, _size_in_cells(values, anchors, anchor, y.shape))
    classes = values[:, coords + (not background) :][:, : rows.shape[1] - coords - 1]
    if tree is None:
        return Boxes(xywh, objectness, _products(objectness, classes, thresh))
    probabilities = np.zeros(classes.shape, np.float32)
    for row, shares in enumerate(classes):
        probabilities[row, hierarchy_top_prediction(shares, tree, HIER)] = objectness[row]
    return Boxes(xywh, objectness, probabilities)


@floating
def get_region_boxes(
    y: F32,
    anchors: Anchors,
    classes: int,
    thresh: float,
    *,
    classfix: int = 0,
    tree: Tree | None = None,
) -> Boxes:
    """Return all boxes of AlexeyAB's ``[region]``, each with objectness 1.

    Parameters
    ----------
    y : float32 array (c, h, w)
        Stored cell by cell; for each anchor x, y, w, h, objectness, and the classes, one after the
        other.  x and y have not gone through a sigmoid yet.
    anchors : sequence of (width, height)
        Sizes in cells.
    classes : int
    thresh : float
        Threshold for the product of objectness and class.
    classfix : int
        If -1, an objectness below 0.5 counts as 0.
    tree : Tree, optional
        Tree of the classes.  Each box gets the last class that is likelier than ``HIER``, all its
        parents included, with that probability, if the objectness is over the threshold.

    Returns
    -------
    boxes : Boxes

    Notes
    -----
    C: ``get_region_boxes`` in ``src/region_layer.c`` and ``custom_get_region_detections`` in
    ``src/network.c`` of AlexeyAB's Darknet.
    """
    num, (_, h, w) = len(anchors), y.shape
    values = y.reshape(h * w * num, -1)
    cell, anchor = np.divmod(np.arange(h * w * num), num)
    offset = values[:, :2].copy()
    activate_tile(offset, ACTIVATIONS["logistic"])
    size = _size_in_cells(values, anchors, anchor, y.shape)
    scale = values[:, 4]
    if classfix == -1:
        scale = np.where(scale < np.float32(0.5), np.float32(0), scale)
    shares = values[:, 5 : 5 + classes]
    if tree is None:
        probabilities = _products(scale, shares, thresh)
    else:
        probabilities = _last_likely(shares, tree)
        probabilities[~(scale > np.float32(thresh))] = 0
    xywh = _boxes(_centres(offset, cell, y.shape), size)
    return Boxes(xywh, np.ones_like(scale), probabilities)


@floating
def get_detection_detections(
    y: F32,
    side: int,
    num: int,
    classes: int,
    thresh: float,
    *,
    sqrt: bool = False,
) -> Boxes:
    """Return all boxes of ``[detection]``, the head of YOLOv1.

    Parameters
    ----------
    y : float32 array (outputs,)
        The classes of each cell, the objectness of each of its boxes, and their x, y, w, h.
    side : int
        Number of rows and columns of cells.
    num, classes : int
        Number of boxes in a cell, and number of classes.
    thresh : float
        Threshold for the product of objectness and class; not applied to the objectness alone.
    sqrt : bool
        Whether w and h are the square roots of the size.

    Returns
    -------
    boxes : Boxes

    Notes
    -----
    C: ``get_detection_detections`` in ``src/detection_layer.c``.  There the boxes are in pixels of
    the picture, and no program undoes a letterbox.
    """
    cells = side * side
    shares = y[: cells * classes].reshape(cells, 1, classes)
    objectness = y[cells * classes : cells * (classes + num)]
    values = y[cells * (classes + num) :].reshape(cells * num, 4)
    cell = np.repeat(np.arange(cells), num)
    centre = _centres(values[:, :2], cell, (1, side, side))
    xywh = _boxes(centre, values[:, 2:].astype(np.float64) ** (2 if sqrt else 1))
    each = np.broadcast_to(shares, (cells, num, classes)).reshape(cells * num, classes)
    return Boxes(xywh, objectness.copy(), _products(objectness, each, thresh))


def _last_likely(shares: F32, tree: Tree) -> F32:
    """Keep, in each row (k, classes), the last class that is likelier than ``HIER``."""
    likely = shares.copy()
    hierarchy_predictions(likely, tree, likely)
    over = likely > np.float32(HIER)
    last = over.shape[1] - 1 - np.argmax(over[:, ::-1], axis=1)
    rows = np.flatnonzero(over.any(1))
    kept = np.zeros_like(likely)
    kept[rows, last[rows]] = likely[rows, last[rows]]
    return kept


def _over(y: F32, num: int, plane: int, thresh: float, by_anchor: bool) -> tuple[F32, Rows, Rows]:
    """Return the values (k, planes) of the boxes with an objectness over the threshold.

    Also return their anchor (k,) and cell (k,); ``plane`` is the plane of the objectness.
    """
    _, h, w = y.shape
    planes = y.reshape(num, -1, h * w)
    over = planes[:, plane] > np.float32(thresh)
    if by_anchor:
        anchor, cell = np.nonzero(over)
    else:
        cell, anchor = np.nonzero(over.T)
    return planes[anchor, :, cell], anchor, cell


def _centres(offset: F32, cell: Rows, shape: tuple[int, ...]) -> F32:
    """Return x and y (k, 2) from offsets inside cells; ``shape`` is (c, h, w)."""
    _, h, w = shape
    row, column = np.divmod(cell, w)
    centres = np.stack((column, row), 1).astype(np.float32)
    centres += offset
    centres /= np.array((w, h), np.float32)
    return centres


def _size_in_cells(values: F32, anchors: Anchors, anchor: Rows, shape: tuple[int, ...]) -> F64:
    """Return width and height (k, 2) of the boxes of ``[region]``; ``shape`` is (c, h, w)."""
    _, h, w = shape
    with np.errstate(over="ignore"):
        size: F64 = np.exp(values[:, 2:4].astype(np.float64)) * _pairs(anchors)[anchor] / (w, h)
    return size


def _pairs(anchors: Anchors) -> F64:
    """Return the anchors (num, 2), rounded to float32 as in C."""
    return np.array(anchors, np.float32).astype(np.float64)


def _boxes(centre: F32, size: F64) -> F32:
    with np.errstate(over="ignore"):  # sizes may be infinite, as in C
        return np.concatenate((centre, size.astype(np.float32)), 1)


def _products(objectness: F32, classes: F32, thresh: float) -> F32:
    """Return the probabilities (k, classes): 0 for products that are not over the threshold."""
    products = objectness[:, None] * classes
    products[~(products > np.float32(thresh))] = 0  # NaN is not over it either
    return products
