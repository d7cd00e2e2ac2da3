"""Probabilities in a tree of classes.  C: ``src/tree.c``."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.formats.tree import Tree
from darknet_bn.kernels.floating import floating


@floating
def hierarchy_predictions(
    predictions: F32, tree: Tree, out: F32, *, only_leaves: bool = False
) -> None:
    """Multiply the probability of each class in its group by its parent's, down from the root.

    Parameters
    ----------
    predictions : float32 array (..., classes)
        The result of a softmax over each group.
    tree : Tree
    out : float32 array of the same shape
        Receives the result; may be ``predictions``.
    only_leaves : bool
        Whether classes with children become 0.

    Notes
    -----
    C: ``hierarchy_predictions`` in ``src/tree.c``.
    """
    parents = np.array(tree.parents)
    if out is not predictions:
        np.copyto(out, predictions)
    for generation in tree.generations[1:]:
        out[..., generation] *= out[..., parents[generation]]
    if only_leaves:
        out[..., parents[parents >= 0]] = 0


@floating
def hierarchy_top_prediction(predictions: F32, tree: Tree, thresh: float) -> int:
    """Follow the likeliest class down from the root, as long as it is likely enough.

    Parameters
    ----------
    predictions : float32 array (classes,)
        The result of a softmax over each group.
    tree : Tree
    thresh : float
        The probability of the path so far must exceed it.

    Returns
    -------
    best : int
        The class; if not even the first step is likely enough, the likeliest class without a
        parent.

    Notes
    -----
    C: ``hierarchy_top_prediction`` in pjreddie's ``src/tree.c``.  AlexeyAB's version does not know
    the children of a class.
    """
    share, group = np.float32(1), 0
    while True:
        first = tree.offsets[group]
        best = first + int(np.argmax(predictions[tree.groups[group]]))
        share = share * predictions[best]
        if not share > np.float32(thresh):
            return best if group == 0 else tree.parents[first]
        if best not in tree.children:
            return best
        group = tree.children[best]
