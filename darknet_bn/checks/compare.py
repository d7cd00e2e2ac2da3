"""Compare what a model computes here with what another program or model does, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest

import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.checks.fixture import member_name
from darknet_bn.errors import DarknetError, ShapeError
from darknet_bn.model.model import Model
from darknet_bn.run.differences import Difference, Report, compare_arrays
from darknet_bn.run.rounding import FLOAT32, rounding, two_other_ways
from darknet_bn.run.run import as_input, forward
from darknet_bn.run.session import Session

_PRECISION = replace(FLOAT32, least=1e-4)  # other programs may round worse than ONNX Runtime does


def compare(
    model: Model,
    other: Session | Model,
    x: npt.ArrayLike,
    *,
    tolerance: float | None = None,
    after_layer: Callable[[], None] | None = None,
) -> Report:
    """Run two models on the same input, and compare every layer that both show.

    Parameters
    ----------
    model : Model
        Computed here, in Darknet's order of operations.
    other : Session or Model
        The same model in another program, or a different model with the same number of layers.
    x : float32 array (n, c, h, w), or (n, inputs)
    tolerance : float, optional
        The difference to allow, relative to the layer's largest absolute value.  By default 1e-4,
        or four times what rounding alone makes if that is more; but never more than 1e-3.
    after_layer : function, optional
        As in `forward`.

    Returns
    -------
    report : Report
        Its ``first_wrong`` is the first layer where the two differ.

    Raises
    ------
    ShapeError
        The input does not fit, or the other model has different layers.
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
        raise DarknetError(f"{who} does not show the output of any layer")
    ours = forward(model, array, sorted(theirs), exact=True, after_layer=after_layer)
    least = _PRECISION.least if tolerance is None else tolerance
    rows = {index: _difference(model, index, y, theirs[index], least) for index, y in ours.items()}
    unlike = [index for index, row in rows.items() if not row.ok and row.shape == ours[index].shape]
    if tolerance is None and unlike:
        ways = two_other_ways(model, array, unlike)
        for index in unlike:
            y, others = ours[index], [way[index] for way in ways]
            part = rounding(y, others, rows[index].largest or 1.0)
            allowed = _PRECISION.allowance(part)
            again = _difference(model, index, y, theirs[index], allowed)
            rows[index] = replace(again, rounding=part)
    return Report(least, tuple(rows.values()), {"program": who})


def _difference(model: Model, index: int, ours: F32, theirs: F32, allowed: float) -> Difference:
    section = model.network.nodes[index].layer.names[0]
    return compare_arrays(
        member_name(index), ours, theirs, allowed=allowed, layer=index, section=section
    )


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
                f"the layers of the two models differ from layer {index} on",
                expected=f"[{a}]" if a else "none",
                found=f"[{b}]" if b else "none",
            )
