"""Compare what a model computes here with what something else does, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

import numpy.typing as npt

from darknet_bn.differences import Report, compare_layer
from darknet_bn.engines.base import Session
from darknet_bn.errors import DarknetError, ShapeError
from darknet_bn.model import Model
from darknet_bn.run import as_input, forward


def compare(
    model: Model,
    other: Session | Model,
    x: npt.ArrayLike,
    *,
    tolerance: float = 1e-4,
    after_layer: Callable[[], None] | None = None,
) -> Report:
    """Run two on the same input, and compare every layer that both show.

    Parameters
    ----------
    model : Model
        Computed here, in Darknet's order of operations.
    other : Session or Model
        The same model in another program, or another model of as many layers.
    x : float32 array (n, c, h, w), or (n, inputs)
    tolerance : float
        The difference to allow, as a part of the layer's largest absolute value.
    after_layer : function, optional
        As in `forward`.

    Returns
    -------
    report : Report
        Its ``first_wrong`` is the layer where the two part.

    Raises
    ------
    ShapeError
        The input does not fit, or the other model has other layers.
    DarknetError
        The other program fails, or shows no layer.
    """
    array = as_input(model.network, x)
    if isinstance(other, Session):
        theirs, who = other.forward(array, "all"), other.engine
    else:
        _require_alike(model, other)
        theirs = forward(other, array, "all", exact=True)
        who = f"darknet-bn, dialect {other.dialect.name}"
    if not theirs:
        raise DarknetError(f"{who} shows the output of no layer")
    ours = forward(model, array, sorted(theirs), exact=True, after_layer=after_layer)
    nodes = model.network.nodes
    rows = (
        compare_layer(index, nodes[index].layer.names[0], y, theirs[index], tolerance)
        for index, y in ours.items()
    )
    return Report(tolerance, tuple(rows), {"program": who})


def _require_alike(model: Model, other: Model) -> None:
    if model.network.input != other.network.input:
        raise ShapeError(
            "the two models have inputs of different shapes",
            expected=f"{model.network.input}",
            found=f"{other.network.input}",
        )
    ours, theirs = ([node.layer.names[0] for node in m.network.nodes] for m in (model, other))
    for index, (a, b) in enumerate(zip_longest(ours, theirs)):
        if a != b:
            raise ShapeError(
                f"the two models are of different layers from layer {index} on",
                expected=f"[{a}]" if a else "none",
                found=f"[{b}]" if b else "none",
            )
