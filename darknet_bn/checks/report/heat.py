"""Which parts of a picture raise the score of what was found: LayerCAM, by our own backward pass.

The gradient is inference's: it goes back through the model with its batch norms folded in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.layers.passes import InferenceContext, TrainingContext
from darknet_bn.layers.shape import Shape
from darknet_bn.model.model import Model
from darknet_bn.model.network import Node
from darknet_bn.run.run import forward
from darknet_bn.transforms.fold import fold_batchnorm

_STEP = 0.05  # of what a head reads: float32 still gives two digits of the slope
_MOST = 1024  # values that a classifier's last layer may read: each is changed


@dataclass(frozen=True, eq=False)
class Heat:
    """A heat map of a score.

    Attributes
    ----------
    layer : int
        The layer whose values are weighted by the gradient.
    head : int
        The layer that gives the score.
    class_id : int
    score : float
    place : (float, float) or None
        Where the cell of the box is, relative to the input: down and across; None for a classifier.
    map : float64 array (h, w)
        From 0 to 1.
    """

    layer: int
    head: int
    class_id: int
    score: float
    place: tuple[float, float] | None
    map: F64


@dataclass(frozen=True, eq=False)
class _Score:
    """The score to explain: its head, its slope by all that the head reads, and its place."""

    head: int
    class_id: int
    score: float
    slope: F32
    place: tuple[float, float] | None


def heat_map(model: Model, x: F32) -> Heat | str:
    """Return what raises the best score of a picture, or why that cannot be said.

    Parameters
    ----------
    model : Model
    x : float32 array (1, c, h, w)

    Notes
    -----
    P. Jiang et al., LayerCAM (2021): the values of a layer, each times its own gradient if that is
    positive, summed over the channels.  The layer is the last with weights whose image is at least
    twice as fine as the head's: right before a head only the cell itself has a gradient.
    """
    folded = fold_batchnorm(model)
    if len(folded.network.nodes) != len(model.network.nodes) or model.network.recurrent:
        return "the folded model has different layers"
    outputs = {-1: x, **forward(folded, x, "all")}
    score = _of_boxes(folded, outputs) if folded.network.is_detector else _of_class(folded, outputs)
    if isinstance(score, str):
        return score
    layer = _layer(folded, score.head)
    if layer is None:
        return "no layer before the head has a finer image"
    gradient = _gradient(folded, outputs, score, layer)
    if gradient is None:
        return f"the gradient does not reach layer {layer}"
    values = (np.maximum(gradient, 0) * outputs[layer])[0].sum(0, dtype=np.float64)
    values = np.maximum(values, 0)
    if not np.isfinite(values).all() or not values.any():
        return f"nothing in layer {layer} raises the score"
    return Heat(layer, score.head, score.class_id, score.score, score.place, values / values.max())


def _of_boxes(model: Model, outputs: Mapping[int, F32]) -> _Score | str:
    """Return the best box: the largest product of objectness and class over all heads."""
    best: tuple[float, int, tuple[int, ...]] | None = None
    for index, head in model.network.heads.items():
        y = outputs[index][0]
        if y.ndim != 3:
            continue
        boxes = head.box_count(model.network.nodes[index].y) // (y.shape[1] * y.shape[2])
        if boxes * (5 + head.classes) != len(y) or head.tree is not None:
            continue
        rows = y.reshape(boxes, 5 + head.classes, *y.shape[1:])
        scores = rows[:, 4:5] * rows[:, 5:]
        at = tuple(int(each) for each in np.unravel_index(int(scores.argmax()), scores.shape))
        if best is None or scores[at] > best[0]:
            best = float(scores[at]), index, at
    if best is None:
        return "the head has no boxes with an objectness and classes"
    score, index, (box, class_id, row, column) = best
    node = model.network.nodes[index]
    per, z = 5 + model.network.heads[index].classes, outputs[node.sources[0]]
    slope = np.zeros_like(z)
    own = slice(box * per, (box + 1) * per)
    slope[0, own, row, column] = _slope(
        node,
        model,
        z[0, :, row : row + 1, column : column + 1],
        own,
        (box * per + 4, box * per + 5 + class_id),
    )
    h, w = z.shape[2:]
    return _Score(index, class_id, score, slope, ((row + 0.5) / h, (column + 0.5) / w))


def _slope(node: Node, model: Model, z: F32, own: slice, factors: tuple[int, ...]) -> F64:
    """Return how the logarithm of a score changes with each value that the last layer reads.

    Parameters
    ----------
    node : Node
    model : Model
    z : float32 array (c, h, w) or (c,)
        What the layer reads.
    own : slice
        Which of these values are changed, one after the other.
    factors : tuple of int
        The score is the product of these values of the output.
    """
    numbers = np.arange(own.start, own.stop)
    count, each = len(numbers), np.arange(len(numbers))
    tried = np.repeat(z.reshape(1, -1), 2 * count, 0)
    tried[each, numbers] += _STEP
    tried[count + each, numbers] -= _STEP
    shape = Shape.of(z[None])
    y = np.empty((2 * count, *node.layer.out_shape((shape,)).dims), np.float32)
    context = InferenceContext(model.dialect, exact=True)
    node.layer.infer((shape,), {}, context)([tried.reshape(2 * count, *z.shape)], y)
    with np.errstate(all="ignore"):
        scores = y.reshape(2 * count, -1)[:, list(factors)].astype(np.float64)
        logs = np.log(scores).sum(1)
        slopes: F64 = np.nan_to_num((logs[:count] - logs[count:]) / (2 * _STEP))
    return slopes


def _of_class(model: Model, outputs: Mapping[int, F32]) -> _Score | str:
    """Return the most probable class of a classifier."""
    nodes = model.network.nodes
    index = max((i for i, node in enumerate(nodes) if not node.layer.is_loss), default=-1)
    node = nodes[index]
    z, y = outputs[node.sources[0]], outputs[index]
    if not node.layer.is_end or z.size != y.size or z.size > _MOST:
        return "the model has neither boxes nor classes"
    class_id = int(y[0].argmax())
    slope = _slope(node, model, z[0], slice(0, z.size), (class_id,)).astype(np.float32)
    score = float(y.reshape(-1)[class_id])
    return _Score(index, class_id, score, slope.reshape(z.shape), None)


def _layer(model: Model, head: int) -> int | None:
    nodes = model.network.nodes
    source = nodes[nodes[head].sources[0]].y
    least = 2 * max(source.h, source.w) if not source.flat else 2
    fine = [
        index
        for index in model.network.ancestors([head])
        if nodes[index].params
        and not nodes[index].y.flat
        and max(nodes[index].y.h, nodes[index].y.w) >= least
    ]
    return max(fine, default=None)


def _gradient(model: Model, outputs: Mapping[int, F32], score: _Score, layer: int) -> F32 | None:
    """Take the slope of a score back to a layer."""
    nodes = model.network.nodes
    deltas: dict[int, F32] = {nodes[score.head].sources[0]: score.slope}
    for index in range(score.head - 1, layer, -1):
        delta = deltas.pop(index, None)
        if delta is None:
            continue
        node = nodes[index]
        given: tuple[F32 | None, ...]
        if node.layer.is_alias(node.xs):
            given = (delta.reshape(outputs[node.sources[0]].shape),)
        else:
            context = TrainingContext(
                dialect=model.dialect.sound,
                seed=(0,),
                net=model.network.input,
            )
            xs = [outputs[source] for source in node.sources]
            given = node.layer.train(xs, model.params[index], context).back(delta.copy()).deltas
        for source, part in zip(node.sources, given, strict=False):
            if part is not None:
                part = part.reshape(outputs[source].shape)
                deltas[source] = deltas[source] + part if source in deltas else part.copy()
    return deltas.get(layer)
