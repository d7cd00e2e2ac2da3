"""Write a model as the two files of ncnn, once that has computed the same with them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, or_unproven, require_agreement, silent
from darknet_bn.checks.ncnn_int8_proof import measure_loss, prove_int8
from darknet_bn.checks.proof import needed_for_a_proof
from darknet_bn.checks.proven import Proving, place_of, write_proven
from darknet_bn.convert.ncnn.export import NcnnHead, NcnnModel, ncnn_model, prepare_ncnn
from darknet_bn.convert.ncnn.int8 import Int8
from darknet_bn.convert.prepared import ExportedFiles
from darknet_bn.engines.ncnn import NcnnFile, engine_name
from darknet_bn.errors import DarknetError, ExportError, ProofError
from darknet_bn.formats.writing import require_suffix, require_writable
from darknet_bn.model.model import Model
from darknet_bn.run.differences import Report
from darknet_bn.run.random_input import random_input
from darknet_bn.run.rounding import FLOAT16, FLOAT32
from darknet_bn.transforms.ranges import CLIPS, ActivationRanges, Clip


def export_ncnn(
    model: Model,
    path: str | os.PathLike[str],
    *,
    half: bool = False,
    int8: ActivationRanges | None = None,
    clip: Clip = "percentile",
    keep: Collection[int] | None = None,
    max_loss: float | None = None,
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
    int8 : ActivationRanges, optional
        To compute in int8: what `activation_ranges` counted on images like those that will come.
        Convolutions and full layers have weights of int8 then, with a scale for each filter.  Every
        layer is compared with the same steps here; what they lose, ``loss`` of the result says.
    clip : "minmax", "percentile", "entropy" or "error"
        How the range of each input follows from what was counted: see `TensorRange.clip`.
    keep : collection of int, optional
        Layers that stay float32; by default the first convolution, which loses most and is small.
    max_loss : float, optional
        The loss of an output layer to allow in int8, as a part of its largest absolute value; on
        ``inputs``, or a random image.
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
    how = None if int8 is None else Int8(int8, clip, _first(model) if keep is None else keep)
    if how is not None and half:
        raise ExportError("int8 and half cannot be used together")
    if clip not in CLIPS:
        raise ExportError("unknown way to clip", expected=", ".join(CLIPS), found=f"{clip!r}")
    prepared = prepare_ncnn(model, path, half=half, head=head, int8=how)
    if not prove:
        stage("writing the files", None)
        return prepared.write(force=force)
    target = None if proof is None else Path(proof)
    if how is None:
        return write_proven(
            model,
            prepared,
            _opened,
            inputs=inputs,
            precision=FLOAT16 if half else FLOAT32,
            tolerance=tolerance,
            proof=target,
            force=force,
            stage=stage,
        )
    made = ncnn_model(model, head=head, int8=how)
    given = dict(inputs or {})
    check = _Int8Check(model, made, prepared.exported.paths, given, tolerance, max_loss, stage)
    stage("writing the files", None)
    proving = Proving(prepared.files, check, target)
    exported = prepared.write(proving.writers, force=force)
    return replace(exported, proof=proving.report, loss=check.loss)


@dataclass
class _Int8Check:
    """Called with where the files are: the report on them, or a ProofError.

    Attributes
    ----------
    loss : Report
        What int8 loses; only once it was called.
    """

    model: Model
    made: NcnnModel
    paths: tuple[Path, ...]
    inputs: Mapping[str, F32]
    tolerance: float | None
    max_loss: float | None
    stage: Stage
    loss: Report | None = None

    def __call__(self, written: Mapping[Path, Path]) -> Report:
        self.stage("proving: ncnn opens the files", None)
        param, weights = (written[path] for path in self.paths)
        random = {"random": random_input(self.model.network)}
        with or_unproven():
            with needed_for_a_proof():
                file = NcnnFile(param, self.model, weights, packed=False)
                file.engine = engine_name()  # the names of the files are about to change
            report = prove_int8(
                self.model,
                self.made,
                file,
                {**random, **self.inputs},
                tolerance=self.tolerance,
                stage=self.stage,
            )
        require_agreement(report, place_of(self.model), "the exported files")
        self.loss = measure_loss(
            self.model, file, self.inputs or random, most=self.max_loss, stage=self.stage
        )
        if self.max_loss is not None:
            self._require_little(self.loss)
        return report

    def _require_little(self, loss: Report) -> None:
        outputs = self.model.network.outputs
        for row in loss.differences:
            if row.layer in outputs and not row.ok:
                raise ProofError(
                    f"{row.name} loses too much in int8; nothing was written",
                    where=place_of(self.model)(row),
                    expected=f"at most {row.allowed:.3g} of {row.largest:.4g}",
                    found=f"{row.relative:.2g} of it, with {row.input}",
                    hint="other images, another clip, or more layers to keep may lose less",
                )


def _first(model: Model) -> tuple[int, ...]:
    """Return the first layer with weights."""
    return tuple(n for n, params in enumerate(model.params) if "weights" in params)[:1]


def _opened(model: Model, paths: Sequence[Path]) -> NcnnFile:
    param, weights = paths
    file = NcnnFile(param, model, weights)
    file.engine = engine_name()  # the names of the files are about to change
    return file


def _require_ncnn() -> None:
    """Refuse to begin if nothing can be proven."""
    try:
        engine_name()
    except DarknetError as error:
        raise ProofError(
            f"the result cannot be proven, so nothing was written: {error.problem}",
            hint=f"{error.hint}, or use prove=False",
        ) from error
