"""Write a model as the two files of ncnn, once that has computed the same with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, silent
from darknet_bn.checks.proven import write_proven
from darknet_bn.convert.ncnn.export import NcnnHead, prepare_ncnn
from darknet_bn.convert.prepared import ExportedFiles
from darknet_bn.engines.ncnn import NcnnFile, engine_name
from darknet_bn.errors import DarknetError, ProofError
from darknet_bn.formats.writing import require_suffix, require_writable
from darknet_bn.model.model import Model
from darknet_bn.run.rounding import FLOAT16, FLOAT32


def export_ncnn(
    model: Model,
    path: str | os.PathLike[str],
    *,
    half: bool = False,
    head: NcnnHead = "raw",
    prove: bool = True,
    inputs: Mapping[str, F32] | None = None,
    tolerance: float | None = None,
    proof: str | os.PathLike[str] | None = None,
    force: bool = False,
    stage: Stage = silent,
) -> ExportedFiles:
    """Write a model as ``.param`` and ``.bin``, if ncnn computes the same; both or nothing.

    Before the files have their names, ncnn runs them and the model runs here, on a random image;
    if the output of any layer differs by more than the tolerance, nothing is written.

    The input is the blob ``input``, RGB planes from 0 to 1 as `prepare` makes them; that of layer
    NNN is ``layer_NNN``.  Batch norm is folded into the weights.  Where images make sequences, the
    blobs of each time step have its number behind an underscore.

    Parameters
    ----------
    model : Model
    path : path
        The ``.param`` to write; the ``.bin`` is beside it under the same name.
    half : bool
        Whether weights are stored as float16.  What ncnn computes in, its options say.
    head : "raw" or "decoded"
        What comes out of a detector.  ``raw``: ``layer_NNN``, what Darknet stores of each output
        layer.  ``decoded``: ``boxes`` (k, 4), left, top, right and bottom as parts of the input,
        and ``confs`` (k, classes), objectness times class, of all k boxes in Darknet's order, made
        by elementary layers: those that ncnn has for YOLO give other scores.
    prove : bool
        Whether the files have to prove right before they appear.  Without ncnn they cannot.
    inputs : mapping from name to float32 array (n, c, h, w), optional
        What else to prove them on, besides a random image.
    tolerance : float, optional
        The difference to allow, as in `prove`.
    proof : path, optional
        A ``.json`` to write with the files: what ``json()`` of the report says.
    force : bool
        Whether to overwrite files that are there, though never one that the model was read from.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    exported : ExportedFiles
        Its ``proof`` says how well each layer agrees.

    Raises
    ------
    ProofError
        ncnn computes something else, or it cannot be proven as ncnn is not installed.
    ExportError
        A layer cannot be expressed; the message names it.
    DarknetError
        A file exists already and ``force`` is off, or it cannot be written.
    """
    require_suffix(path, ".param")
    if proof is not None:
        require_suffix(proof, ".json")
    targets = [path, Path(path).with_suffix(".bin"), *([] if proof is None else [proof])]
    require_writable(targets, force=force, inputs=(model.cfg.file, model.file))
    if prove:
        _require_ncnn()
    prepared = prepare_ncnn(model, path, half=half, head=head)
    if not prove:
        stage("writing the files", None)
        return prepared.write(force=force)
    return write_proven(
        model,
        prepared,
        _opened,
        inputs=inputs,
        precision=FLOAT16 if half else FLOAT32,
        tolerance=tolerance,
        proof=None if proof is None else Path(proof),
        force=force,
        stage=stage,
    )


def _opened(model: Model, paths: Sequence[Path]) -> NcnnFile:
    param, weights = paths
    return NcnnFile(param, model, weights)


def _require_ncnn() -> None:
    """Refuse to begin if nothing can be proven."""
    try:
        engine_name()
    except DarknetError as error:
        raise ProofError(
            f"the result cannot be proven, so nothing was written: {error.problem}",
            hint=f"{error.hint}, or use prove=False",
        ) from error
