"""Compare each layer of an exported file with our layer, both on the file's own values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, silent
from darknet_bn.checks.proof import needed_for_a_proof
from darknet_bn.convert.onnx.export import Exported
from darknet_bn.engines.onnx_session import with_layers
from darknet_bn.engines.onnxruntime import engine_name, open_file
from darknet_bn.model.model import Model
from darknet_bn.run.differences import Difference, Report, compare_arrays
from darknet_bn.run.heads import run_from
from darknet_bn.run.rounding import FLOAT32


def compare_layers(
    model: Model,
    exported: Exported,
    inputs: Mapping[str, F32],
    changes: Mapping[int, float],
    *,
    tolerance: float | None = None,
    stage: Stage = silent,
) -> Report:
    """Run a file in ONNX Runtime, and each of its layers here on what the file gave it.

    What one layer changes does not reach the comparison of the next.  So this measures what a
    replacement does, and proves all other layers of a file that computes something else.

    Parameters
    ----------
    model : Model
    exported : Exported
    inputs : mapping from name to float32 array (n, c, h, w)
    changes : mapping from layer number to float
        How far a layer may be from ours by intention, relative to its largest value; 0 for the
        layers that are not named.
    tolerance : float, optional
        The difference to allow besides, relative to a layer's largest value; by default 1e-5.
    stage : function, optional
        Called when a part of the work begins, to show progress.

    Returns
    -------
    report : Report
        One difference for each input and each layer.

    Raises
    ------
    ProofError
        ONNX Runtime is not installed or rejects the file.
    """
    least = FLOAT32.least if tolerance is None else tolerance
    with needed_for_a_proof():
        program = engine_name()
        inner = {n: each for n, each in exported.values.items() if n not in exported.outputs}
        run = with_layers(exported.path, inner, open_file)
    rows = []
    for name, x in inputs.items():
        stage("proving: onnxruntime runs the file", None)
        with needed_for_a_proof():
            found = run(x)
        step = stage("proving: each layer runs here", len(exported.layers))
        given = {layer: found[value] for layer, value in exported.layers.items() if value in found}
        given[-1] = x
        for layer in exported.layers.keys() & given.keys():
            allowed = least + changes.get(layer, 0.0)
            rows.append(_compared(model, exported, given, layer, name, allowed))
            if step is not None:
                step()
    hashes = {name: hashlib.sha256(x.data).hexdigest() for name, x in inputs.items()}
    return Report(least, tuple(rows), {"program": program}, FLOAT32.name, hashes)


def _compared(
    model: Model,
    exported: Exported,
    given: Mapping[int, F32],
    layer: int,
    name: str,
    allowed: float,
) -> Difference:
    value = exported.layers[layer]
    before = {number: y for number, y in given.items() if number < layer}
    expected = run_from(model, before, [layer])[layer]
    return compare_arrays(
        value,
        expected,
        given[layer],
        allowed=allowed,
        layer=layer,
        section=model.network.nodes[layer].layer.names[0],
        on=name,
    )
