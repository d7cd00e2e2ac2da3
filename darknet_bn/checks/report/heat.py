"""Which parts of a picture raise the score of what was found: LayerCAM, by our own backward pass.

The gradient is inference's: it goes back through the model with its batch norms folded in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.checks.report.scores import Score, best_box, best_class
from darknet_bn.errors import DarknetError
from darknet_bn.layers.passes import TrainingContext
from darknet_bn.model.model import Model
from darknet_bn.run.run import forward
from darknet_bn.transforms.fold import fold_batchnorm, numbers_after


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


def heat_map(model: Model, x: F32, folded: Model | None = None) -> Heat | str:
    """Return what raises the best score of a picture, or why that cannot be said.

    Parameters
    ----------
    model : Model
    x : float32 array (1, c, h, w)
    folded : Model, optional
        The model with its batch norms folded, if it is known already.

    Notes
    -----
    P. Jiang et al., LayerCAM (2021): the values of a layer, each times its own gradient if that is
    positive, summed over the channels.  The layer is the last with weights whose image is at least
    twice as fine as the head's: right before a head only the cell itself has a gradient.
    """
    if model.network.recurrent:
        return "the net reads sequences, so its scores come from more than one picture"
    if folded is None:
        folded = fold_batchnorm(model)
    if any(node.layer.norm.batch_norm for node in folded.network.nodes):
        return "a batch norm cannot be folded, and the gradient is the folded model's"
    outputs = {-1: x, **forward(folded, x, "all")}
    score = (best_box if folded.network.is_detector else best_class)(folded, outputs)
    if isinstance(score, str):
        return score
    if not 0 < score.score < np.inf:
        return "no score is a number over 0"
    layer = _layer(folded, score.head)
    if layer is None:
        return "no layer before the head has a finer image"
    try:
        gradient = _gradient(folded, outputs, score, layer)
    except DarknetError as error:
        return f"no gradient passes: {error.problem}"
    numbers = {new: old for old, new in numbers_after(model).items()}
    if gradient is None:
        return f"the gradient does not reach layer {numbers[layer]}"
    with np.errstate(all="ignore"):
        values = (np.maximum(gradient, 0) * outputs[layer])[0].sum(0, dtype=np.float64)
    values = np.maximum(values, 0)
    if not np.isfinite(values).all() or not values.any():
        return f"nothing in layer {numbers[layer]} raises the score"
    head = numbers[score.head]
    heat = values / values.max()
    return Heat(numbers[layer], head, score.class_id, score.score, score.place, heat)


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


def _gradient(model: Model, outputs: Mapping[int, F32], score: Score, layer: int) -> F32 | None:
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
