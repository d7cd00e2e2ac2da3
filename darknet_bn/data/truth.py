"""Truths: what a network should give for a picture, as the layers with a loss compare it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.data.labels import MOST_BOXES
from darknet_bn.dialect import Dialect
from darknet_bn.formats.tree import Tree
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.head import Head
from darknet_bn.model.network import Network
from darknet_bn.values import brief_fields

_SOMEWHERE = 999999  # x, y, w and h of a class that is somewhere in the picture
_UNKNOWN = -1234  # for classes of a tree that nothing is known about


@dataclass(frozen=True)
class BoxTruth:
    """The truth of a detection head.

    Attributes
    ----------
    head : Head
    dialect : Dialect
    """

    head: Head
    dialect: Dialect

    __repr__ = brief_fields

    @property
    def room(self) -> int | None:
        """How many boxes of a picture count; None for heads with one box per cell."""
        return min(MOST_BOXES, self.head.max_boxes) if self.head.grid is None else None

    def __call__(self, boxes: F32, shape: Shape) -> F32:
        """Return the truth of a picture.

        Parameters
        ----------
        boxes : float32 array (boxes, 5)
            The boxes after they were moved with the picture.  Boxes that are too small are left
            out.
        shape : Shape
            The shape of the network's input.
        """
        if self.head.grid is not None:
            boxes = _at_least(boxes, self.dialect.smallest_grid_box, self.dialect.smallest_grid_box)
            return fill_truth_region(boxes, self.head.grid, self.head.classes)
        pixels = (1 / shape.w, 1 / shape.h) if self.dialect.drops_subpixel_boxes else (0.0, 0.0)
        width, height = (max(self.dialect.smallest_box, pixel) for pixel in pixels)
        return fill_truth_detection(_at_least(boxes, width, height), self.room or 0)


@dataclass(frozen=True)
class ClassTruth:
    """The truth of a classifier.

    Attributes
    ----------
    classes : int
    smooth : float
        As in `fill_truth`.
    tree : Tree or None
    """

    classes: int
    smooth: float = 0.0
    tree: Tree | None = None

    @classmethod
    def of(cls, network: Network, *, train: bool) -> ClassTruth:
        """Return the truth of a network; without ``label_smooth_eps`` if nothing is trained."""
        others = (node for at, node in enumerate(network.nodes) if at not in network.heads)
        trees = [node.layer.tree for node in others]
        smooth = network.net.label_smooth_eps if train else 0.0
        return cls(network.nodes[-1].y.size, smooth, next(filter(None, trees), None))

    def __call__(self, number: int | None) -> F32:
        """Return the truth of a picture of a class."""
        return fill_truth(number, self.classes, self.smooth, self.tree)


@dataclass(frozen=True)
class Move:
    """Where the points of a picture have gone, relative to its old and its new size.

    A point x moves to ``x * scale - shift``, and to one minus that if the picture was mirrored.

    Attributes
    ----------
    scale, shift : (x, y)
    flip : bool
        Whether left and right were exchanged.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    flip: bool = False

    @classmethod
    def letterbox(cls, width: int, height: int, shape: Shape) -> Move:
        """Return the move of a picture between bars, as `letterbox_image` makes it."""
        if np.float32(shape.w) / np.float32(width) < np.float32(shape.h) / np.float32(height):
            w, h = shape.w, height * shape.w // width
        else:
            w, h = width * shape.h // height, shape.h
        left, top = (shape.w - w) // 2, (shape.h - h) // 2
        return cls((w / shape.w, h / shape.h), (-left / shape.w, -top / shape.h))


def correct_boxes(boxes: F32, move: Move, inside: Sequence[float] = (0, 0, 1, 1)) -> F32:
    """Move boxes with their picture, and cut off what is outside it.

    Parameters
    ----------
    boxes : float32 array (boxes, 5)
        x, y, w, h and class.
    move : Move
    inside : (left, top, right, bottom)
        The part of the moved picture that remains.

    Returns
    -------
    moved : float32 array (boxes, 5)
        Boxes that are outside entirely have no width or no height.  A box at 0 0, which means that
        the class is somewhere, gets x, y, w and h of 999999.

    Notes
    -----
    C: ``correct_boxes`` in ``src/data.c``.
    """
    edges: F64 = boxes[:, :4].astype(np.float64)
    middle, half = edges[:, :2], edges[:, 2:] / 2
    first = (middle - half) * move.scale - move.shift
    last = (middle + half) * move.scale - move.shift
    if move.flip:
        first[:, 0], last[:, 0] = 1 - last[:, 0], 1 - first[:, 0]
    first = np.clip(first, inside[:2], inside[2:])
    last = np.clip(last, inside[:2], inside[2:])
    moved = boxes.copy()
    moved[:, :2] = (first + last) / 2
    moved[:, 2:4] = last - first
    moved[(boxes[:, :2] == 0).all(axis=1), :4] = _SOMEWHERE
    return moved


def _at_least(boxes: F32, width: float, height: float) -> F32:
    """Return the boxes (boxes, 5) of at least this width and height."""
    smallest = np.array((width, height), np.float32)
    return boxes[(boxes[:, 2:4] >= smallest).all(axis=1)]


def fill_truth_detection(boxes: F32, room: int) -> F32:
    """Return the truth of a detector for one picture.

    Parameters
    ----------
    boxes : float32 array (boxes, 5)
    room : int
        The number of boxes to return; further boxes are left out.

    Returns
    -------
    truth : float32 array (room, 5)
        x, y, w, h and class of each box; zeros after the last.

    Notes
    -----
    C: ``fill_truth_detection`` in ``src/data.c``.
    """
    truth = np.zeros((room, 5), np.float32)
    some = boxes[:room]
    truth[: len(some)] = some
    return truth


def fill_truth_region(boxes: F32, side: int, classes: int) -> F32:
    """Return the truth of ``[detection]`` for one picture.

    Parameters
    ----------
    boxes : float32 array (boxes, 5)
    side : int
        The rows and columns of the grid.
    classes : int

    Returns
    -------
    truth : float32 array (side * side * (5 + classes),)
        For each cell: 1 if the centre of a box is in it; 1 for its class among ``classes``; x and y
        within the cell, w and h.  If there are several boxes, the first counts.

    Notes
    -----
    C: ``fill_truth_region`` in ``src/data.c``, where a centre at the right or lower edge is in a
    cell of the next row, or in none.
    """
    truth = np.zeros((side, side, 5 + classes), np.float32)
    for box in boxes:
        place = box[:2] * np.float32(side)
        column, row = np.clip(place.astype(int), 0, side - 1).tolist()
        cell = truth[row, column]
        if cell[0]:
            continue
        cell[0] = cell[1 + int(box[4])] = 1
        cell[-4:-2] = place - (column, row)
        cell[-2:] = box[2:4]
    return truth.ravel()


def fill_truth(
    number: int | None, classes: int, smooth: float = 0.0, tree: Tree | None = None
) -> F32:
    """Return the truth of a classifier for one picture.

    Parameters
    ----------
    number : int or None
        The class; None for none.
    classes : int
    smooth : float
        The share of the 1 that goes to the other classes.
    tree : Tree, optional
        The tree of the classes.

    Returns
    -------
    truth : float32 array (classes,)
        1 for the class and, in a tree, for the classes above it; else 0, but -1234 in groups of a
        tree in which nothing is true.

    Notes
    -----
    C: ``fill_truth``, ``fill_hierarchy`` in ``src/data.c``; ``fill_truth_smooth`` in AlexeyAB's.
    """
    truth = np.full(classes, smooth / (classes - 1) if classes > 1 else 0.0, np.float32)
    if number is None:
        return truth
    truth[number] = 1 - smooth
    if tree is None:
        return truth
    line = {number}
    while (number := tree.parents[number]) >= 0:
        line.add(number)
        truth[number] = 1
    for group in tree.groups:
        if line.isdisjoint(range(group.start, group.stop)):
            truth[group] = _UNKNOWN
    return truth
