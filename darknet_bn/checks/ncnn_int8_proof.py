"""Prove files that compute in int8, and say what that loses.

Rounded to 255 steps, outputs no longer agree with those of the model to a few digits: so there are
two questions.  Do the files compute what was meant?  Each layer is computed here as well, in the
same steps, from what the other program has in front of it, and has to agree as in float32.  And
what does it lose?  That is measured, layer by layer, against the model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, silent
from darknet_bn.checks.fixture import member_name
from darknet_bn.checks.proof import needed_for_a_proof
from darknet_bn.convert.ncnn.export import NcnnModel
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.model.model import Model
from darknet_bn.run.differences import Difference, Report, compare_arrays
from darknet_bn.run.rounding import FLOAT32
from darknet_bn.run.run import forward
from darknet_bn.run.session import Session

PRECISION = "int8"


def prove_int8(
    model: Model,
    made: NcnnModel,
    session: Session,
    inputs: Mapping[str, F32],
    *,
    tolerance: float | None = None,
    stage: Stage = silent,
) -> Report:
    """Compare every layer with the same steps here, from the outputs that are in front of it.

    Parameters
    ----------
    model : Model
    made : NcnnModel
        What the files were written from.
    session : Session
        The files, in the other program.
    inputs : mapping from name to float32 array (n, c, h, w)
    tolerance : float, optional
        The difference to allow, as a part of a layer's largest absolute value; by default 1e-5.
    stage : function, optional
        Called when a part of the work begins, to show progress.

    Returns
    -------
    report : Report
        One difference for each input and each layer.

    Raises
    ------
    ProofError
        The other program fails: nothing can be proven.
    """
    rows: list[Difference] = []
    allowed = FLOAT32.least if tolerance is None else tolerance
    for name, x in inputs.items():
        stage(f"proving: {session.engine.partition(' ')[0]} runs the file", None)
        with needed_for_a_proof():
            found = session.forward(x, "all")
        stage("proving: each layer is computed here, in int8", None)
        for layer, y in _expected(made, x, found).items():
            rows.append(_row(model, layer, y, found[layer], name, allowed))
    return Report(allowed, tuple(rows), {"program": session.engine}, PRECISION)


def _expected(made: NcnnModel, x: F32, found: Mapping[int, F32]) -> dict[int, F32]:
    """Return what each layer gives from the outputs in front of it."""
    network, params = made.folded.network, made.folded.params
    shown = dict(zip(network.ancestors(network.outputs), sorted(made.layers), strict=True))
    context = InferenceContext(made.folded.dialect, exact=True)
    expected: dict[int, F32] = {}
    for index, layer in shown.items():
        node, p = network.nodes[index], params[index]
        xs = [x if source < 0 else found[shown[source]] for source in node.sources]
        int8 = made.quantized.get(layer)
        if int8 is not None:
            first, *others = xs
            xs = [int8.seen(first), *others]
            weights = int8.restored().reshape(p["weights"].shape)
            p = {**p, "weights": weights}
        y = np.empty((len(x), *node.y.dims), np.float32)
        node.layer.infer(node.xs, p, context)(xs, y)
        expected[layer] = y
    return expected


def measure_loss(
    model: Model,
    session: Session,
    inputs: Mapping[str, F32],
    *,
    most: float | None = None,
    stage: Stage = silent,
) -> Report:
    """Compare every layer with what the model computes in float32.

    Parameters
    ----------
    model : Model
    session : Session
    inputs : mapping from name to float32 array (n, c, h, w)
        Images like those that will come.
    most : float, optional
        The loss to allow, as a part of a layer's largest absolute value; by default all of it.
    stage : function, optional
        Called when a part of the work begins, to show progress.

    Returns
    -------
    report : Report
        One difference for each input and each layer.
    """
    rows: list[Difference] = []
    allowed = 1.0 if most is None else most
    for name, x in inputs.items():
        stage("measuring the loss", None)
        with needed_for_a_proof():
            found = session.forward(x, "all")
        for layer, y in forward(model, x, sorted(found), exact=True).items():
            rows.append(_row(model, layer, y, found[layer], name, allowed))
    return Report(allowed, tuple(rows), {"program": session.engine}, PRECISION)


def _row(
    model: Model, layer: int, expected: F32, found: F32, name: str, allowed: float
) -> Difference:
    section = model.network.nodes[layer].layer.names[0]
    return compare_arrays(
        member_name(layer), expected, found, allowed=allowed, layer=layer, section=section, on=name
    )
