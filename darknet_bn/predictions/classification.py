"""Classifiers: the most probable classes of pictures, and how Darknet prints them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from darknet_bn.dialect import Dialect
from darknet_bn.errors import DarknetError
from darknet_bn.formats.names import require_names
from darknet_bn.kernels.boxes.tree import hierarchy_predictions
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.predictions.records import ClassScore
from darknet_bn.run.outputs import compute_outputs
from darknet_bn.run.session import Session

DEFAULT_TOP = 5
"""How many classes to return by default: five, as in the usual results on ImageNet."""


def classify(
    model: Model,
    x: npt.ArrayLike | Mapping[int, npt.ArrayLike],
    *,
    top: int = DEFAULT_TOP,
    names: Sequence[str] | None = None,
    exact: bool = False,
    session: Session | None = None,
) -> list[list[ClassScore]]:
    """Find the most probable classes of pictures.

    Parameters
    ----------
    model : Model
    x : float32 array (n, c, h, w), or mapping from layer number to array
        The pictures, as `prepare` makes them; or outputs of layers, from which the rest is computed
        as in `run_heads`.
    top : int
        How many classes to return; all of them if the net has fewer.
    names : sequence of str, optional
        Class names; without them, the numbers of the classes are used.
    exact : bool
        As in `forward`.
    session : Session, optional
        What runs the model, as `open_session` gives it; by default `forward`.

    Returns
    -------
    scores : list of lists of ClassScore
        For each picture, the most probable class first; of equal ones, the lowest number first.

    Raises
    ------
    DarknetError
        The network is not a classifier, ``top`` is below 1, or there are fewer names than classes.
    ShapeError
        The input does not fit.

    Warns
    -----
    DarknetWarning
        There are more names than classes.

    Notes
    -----
    C: ``predict_classifier`` in ``examples/classifier.c`` (pjreddie) and ``src/classifier.c``
    (AlexeyAB), ``top_k`` in ``src/utils.c``.
    """
    layer = class_layer(model.network)
    classes = model.network.nodes[layer].y.size
    if top < 1:
        raise DarknetError("the number of classes to return is out of range", found=f"{top}")
    if names is not None:
        require_names(names, classes)
    outputs = compute_outputs(model, x, [layer], session=session, exact=exact)[layer]
    tree = model.network.nodes[layer].layer.tree
    if tree is not None:
        leaves = model.dialect.classifies_leaves
        hierarchy_predictions(outputs, tree, outputs, only_leaves=leaves)
    found = []
    for scores in outputs.reshape(len(outputs), classes):
        best = np.argsort(-scores, kind="stable")[:top].tolist()
        found.append(
            [
                ClassScore(each, str(each) if names is None else names[each], float(scores[each]))
                for each in best
            ]
        )
    return found


def class_layer(network: Network) -> int:
    """Return the number of the layer whose values are the probabilities of the classes.

    Raises
    ------
    DarknetError
        The network is a detector.

    Notes
    -----
    C: ``get_network_output`` in ``src/network.c``: the last layer that is not ``[cost]``.
    """
    if network.is_detector:
        raise DarknetError(
            "the network is a detector, not a classifier", hint="use darknet-bn detect"
        )
    others = (index for index, node in enumerate(network.nodes) if not node.layer.is_loss)
    return max(others, default=0)


def classification_lines(scores: Iterable[ClassScore], dialect: Dialect) -> list[str]:
    """Return what Darknet prints for the classes of a picture.

    Parameters
    ----------
    scores : iterable of ClassScore
        The scores of one picture.
    dialect : Dialect
        The program that prints: ``56.25%: dog`` in pjreddie's, ``dog: 0.562500`` in AlexeyAB's.

    Returns
    -------
    lines : list of str

    Notes
    -----
    C: ``predict_classifier``, as in `classify`.
    """
    if not dialect.prints_class_percent:
        return [f"{score.label}: {score.probability:f}" for score in scores]
    lines = []
    for score in scores:
        percent = float(np.float32(score.probability) * np.float32(100))
        lines.append(f"{percent:5.2f}%: {score.label}")
    return lines
