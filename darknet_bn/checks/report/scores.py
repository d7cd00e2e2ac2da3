"""The best score of a picture, and how it changes with what its head reads.

A score is a product of values of a head: of a box, its objectness, the share of its class, those of
all classes above it in a tree, and the certainty of a Gaussian one; of a classifier, one share, or
those down to a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.formats.tree import Tree
from darknet_bn.kernels.boxes.decode import HIER
from darknet_bn.kernels.boxes.tree import hierarchy_predictions, hierarchy_top_prediction
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.head import Head
from darknet_bn.model.model import Model

_STEP = 0.05  # of what a head reads: float32 still gives two digits of the slope
_MOST = 1024  # values of a classifier that are changed, the most probable ones
_TOGETHER = 1 << 21  # values that are changed at the same time

Log = Callable[[F32], F64]
"""From values of a head (n, values) to the logarithm of the score for each of n."""


@dataclass(frozen=True, eq=False)
class Score:
    """The score to explain.

    Attributes
    ----------
    head, class_id : int
    score : float
    slope : float32 array, shaped like what the head reads
        How the logarithm of the score changes with each value.
    place : (float, float) or None
        Where the cell of the box is, relative to the input: down and across.
    """

    head: int
    class_id: int
    score: float
    slope: F32
    place: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class _Best:
    """The best box of a head: what the logarithm of its score is of the values of its cell."""

    head: int
    class_id: int
    score: float
    row: int
    column: int
    numbers: npt.NDArray[np.intp]  # of the values that it depends on
    log: Log


def best_box(model: Model, outputs: Mapping[int, F32]) -> Score | str:
    """Return the box with the largest score over all heads, or why there is none."""
    found: _Best | None = None
    reason = "the model has no head that makes boxes"
    for index, head in model.network.heads.items():
        y = outputs[index][0]
        best = _in_grid(index, head, y) if head.grid else _in_planes(index, head, y, model)
        if isinstance(best, str):
            reason = best
        elif found is None or best.score > found.score:
            found = best
    if found is None:
        return reason
    z = outputs[model.network.nodes[found.head].sources[0]]
    grid = model.network.heads[found.head].grid
    slope = np.zeros_like(z)
    if grid:
        h = w = grid
        flat = slope.reshape(-1)
        flat[found.numbers] = _slope(model, found.head, z[0], found.numbers, found.log)
    else:
        h, w = z.shape[2:]
        at = np.s_[:, found.row : found.row + 1, found.column : found.column + 1]
        cell = _slope(model, found.head, z[0][at], found.numbers, found.log)
        slope[0, found.numbers, found.row, found.column] = cell
    place = ((found.row + 0.5) / h, (found.column + 0.5) / w)
    return Score(found.head, found.class_id, found.score, slope, place)


def _in_planes(index: int, head: Head, y: F32, model: Model) -> _Best | str:
    """Return the best box of a head with the same values for each anchor."""
    if y.ndim != 3 or not head.classes:
        return "the boxes of the head have no classes"
    places = head.box_values(model.dialect)
    if places is None:
        return "the head has no objectness, or more values for a box than usual"
    _, h, w = y.shape
    boxes = head.box_count(Shape(*y.shape)) // (h * w)
    if places.by_cell:
        y = np.ascontiguousarray(y.reshape(h * w, -1).T).reshape(y.shape)
    rows = y.reshape(boxes, -1, h, w)
    objectness, classes = rows[:, places.objectness], rows[:, places.classes :]
    if places.unsure:
        objectness = objectness * (1 - rows[:, places.unsure].mean(1))
    if head.tree is None:
        box, class_id, row, column = _largest(objectness[:, None] * classes)
        path = [class_id]
    else:
        box, row, column = _largest(objectness)
        class_id = hierarchy_top_prediction(classes[box, :, row, column].copy(), head.tree, HIER)
        path = _path(head.tree, class_id)
    per = rows.shape[1]
    own = box * per
    factors = [own + places.objectness, *(own + places.classes + each for each in path)]
    unsure = [own + each for each in places.unsure]

    def log(values: F32) -> F64:
        logs = _logs(values, factors)
        return logs + np.log(1 - values[:, unsure].mean(1)) if unsure else logs

    cell = np.ascontiguousarray(y[:, row, column])[None]
    score = float(np.exp(log(cell)[0]))
    return _Best(index, class_id, score, row, column, np.arange(own, own + per), log)


def _in_grid(index: int, head: Head, y: F32) -> _Best | str:
    """Return the best box of YOLOv1: the classes of all cells, then the objectness of all boxes."""
    cells, classes = (head.grid or 1) ** 2, head.classes
    if not classes:
        return "the boxes of the head have no classes"
    boxes = head.box_count(Shape(y.size, flat=True)) // cells
    shares = y[: cells * classes].reshape(cells, 1, classes)
    objectness = y[cells * classes : cells * (classes + boxes)].reshape(cells, boxes, 1)
    # The values of YOLOv1 may be negative, and the product of two such is not a score.
    cell, box, class_id = _largest(shares * np.maximum(objectness, 0))
    own = np.arange(cell * classes, (cell + 1) * classes)
    scale = cells * classes + cell * boxes + box
    factors = [int(own[class_id]), scale]
    score = float(shares[cell, 0, class_id] * objectness[cell, box, 0])
    row, column = divmod(cell, head.grid or 1)
    numbers = np.append(own, scale)
    return _Best(index, class_id, score, row, column, numbers, lambda each: _logs(each, factors))


def best_class(model: Model, outputs: Mapping[int, F32]) -> Score | str:
    """Return the most probable class of a classifier, or why there is none."""
    nodes = model.network.nodes
    index = max((i for i, node in enumerate(nodes) if not node.layer.is_loss), default=-1)
    if index < 0 or not nodes[index].layer.is_end:
        return "the model has neither boxes nor classes"
    z, y = outputs[nodes[index].sources[0]], outputs[index]
    if z.size != y.size:
        return "the model has neither boxes nor classes"
    shares = y.reshape(1, -1).copy()
    tree = nodes[index].layer.tree
    if tree is not None:
        leaves = model.dialect.classifies_leaves
        hierarchy_predictions(shares, tree, shares, only_leaves=leaves)
    class_id = int(shares[0].argmax())
    factors = [class_id] if tree is None else _path(tree, class_id)
    numbers = np.sort(np.argsort(-y.reshape(-1), kind="stable")[:_MOST])
    slope = np.zeros_like(z)
    slope.reshape(-1)[numbers] = _slope(
        model, index, z[0], numbers, lambda each: _logs(each, factors)
    )
    return Score(index, class_id, float(shares[0, class_id]), slope, None)


def _slope(model: Model, head: int, z: F32, numbers: npt.NDArray[np.intp], log: Log) -> F64:
    """Return how the logarithm of a score changes with some values that the head reads.

    Parameters
    ----------
    model : Model
    head : int
    z : float32 array (c, h, w) or (c,)
        What the head reads.
    numbers : array of int
        Which of these values are changed, one after the other.
    log : function
    """
    layer, shape = model.network.nodes[head].layer, Shape.of(z[None])
    step = layer.infer((shape,), {}, InferenceContext(model.dialect, exact=True))
    dims = layer.out_shape((shape,)).dims
    slopes = []
    for part in np.array_split(numbers, -(-2 * len(numbers) * z.size // _TOGETHER)):
        count, each = len(part), np.arange(len(part))
        tried = np.repeat(z.reshape(1, -1), 2 * count, 0)
        tried[each, part] += _STEP
        tried[count + each, part] -= _STEP
        y = np.empty((2 * count, *dims), np.float32)
        step([tried.reshape(2 * count, *z.shape)], y)
        with np.errstate(all="ignore"):
            logs = log(y.reshape(2 * count, -1))
            slopes.append(np.nan_to_num((logs[:count] - logs[count:]) / (2 * _STEP)))
    return np.concatenate(slopes)


def _logs(values: F32, factors: list[int]) -> F64:
    """Return the logarithm of the product of some columns."""
    with np.errstate(all="ignore"):
        logs: F64 = np.log(values[:, factors].astype(np.float64)).sum(1)
    return logs


def _largest(values: F32) -> tuple[int, ...]:
    return tuple(int(each) for each in np.unravel_index(int(values.argmax()), values.shape))


def _path(tree: Tree, class_id: int) -> list[int]:
    """Return a class and all above it."""
    path = [class_id]
    while tree.parents[path[-1]] >= 0:
        path.append(tree.parents[path[-1]])
    return path
