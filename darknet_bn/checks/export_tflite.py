"""Write a model as a TFLite file, once LiteRT has computed the same with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, or_unproven, require_agreement, silent
from darknet_bn.checks.proof import needed_for_a_proof, prove_session
from darknet_bn.checks.proof_boxes import all_boxes, of_file, of_model
from darknet_bn.checks.proven import Proving, place_of
from darknet_bn.convert.prepared import ExportedFiles, PreparedFiles
from darknet_bn.convert.tflite.export import TfliteHead, prepare_tflite
from darknet_bn.engines.litert import LiteRtFile
from darknet_bn.formats.writing import require_suffix, require_writable
from darknet_bn.model.model import Model
from darknet_bn.predictions.boxes import heads_of
from darknet_bn.run.differences import Difference, Report, compare_arrays, largest_value
from darknet_bn.run.random_input import random_input
from darknet_bn.run.rounding import FLOAT16, FLOAT32, Precision
from darknet_bn.run.run import forward


def export_tflite(
    model: Model,
    path: str | os.PathLike[str],
    *,
    head: TfliteHead = "raw",
    batch: int | None = None,
    half: bool = False,
    names: Sequence[str] | None = None,
    prove: bool = True,
    inputs: Mapping[str, F32] | None = None,
    tolerance: float | None = None,
    proof: str | os.PathLike[str] | None = None,
    force: bool = False,
    stage: Stage = silent,
) -> ExportedFiles:
    """Write a model as a TFLite file, if that computes the same; complete or not at all.

    Before the file has its name, LiteRT runs it and the model runs here, on a random image; if the
    output of any layer differs by more than the tolerance, nothing is written.  What comes out is
    computed with XNNPACK, as programs do, and the layers inside by LiteRT's own operators.

    The input is called ``input``: float32 (n, h, w, c), RGB from 0 to 1, as TFLite has images;
    `prepare` makes (n, c, h, w), of which it is ``.transpose(0, 2, 3, 1)``.  What comes out of
    four dimensions has channels last too.  The names are those of the signature
    ``serving_default``.  The metadata ``darknet`` say in JSON how pictures become the input, and
    where the output of each layer is.

    Parameters
    ----------
    model : Model
    path : path
        The ``.tflite`` to write.
    head : "raw", "decoded", "yolov5" or "yolov8"
        What comes out, as of `export_onnx`.  ``raw``: ``layer_NNN``, what Darknet stores of each
        output layer.
    batch : int, optional
        How many images it takes; by default one, or one sequence.
    half : bool
        Whether weights and biases are stored in float16, which makes the file half as large; what
        goes in and out and is computed stays float32.
    names : sequence of str, optional
        Of the classes, to be in the metadata.
    prove : bool
        Whether the file has to prove right before it appears.
    inputs : mapping from name to float32 array (n, c, h, w), optional
        What else to prove it on, besides a random image; one image is repeated if the file takes
        more.
    tolerance : float, optional
        The difference to allow, as in `prove`.
    proof : path, optional
        A ``.json`` to write with the file: what ``json()`` of the report says.
    force : bool
        Whether to overwrite files that are there, though never one that the model was read from.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    exported : ExportedFiles
        Its ``proof`` says how well the layers agree.

    Raises
    ------
    ProofError
        The file computes something else, or LiteRT does not take it.
    ExportError
        ai-edge-litert is not installed, or a layer cannot be expressed; the message names it.
    DarknetError
        The file exists already and ``force`` is off, or it cannot be written.
    """
    require_suffix(path, ".tflite")
    if proof is not None:
        require_suffix(proof, ".json")
    targets = [path, *([] if proof is None else [proof])]
    require_writable(targets, force=force, inputs=(model.cfg.file, model.file))
    stage("writing the file", None)
    prepared = prepare_tflite(model, path, head=head, batch=batch, half=half, names=names)
    if not prove:
        return prepared.write(force=force)
    precision = FLOAT16 if half else FLOAT32
    check = _Check(model, prepared, head, dict(inputs or {}), precision, tolerance, stage)
    proving = Proving(prepared.files, check, None if proof is None else Path(proof))
    exported = prepared.write(proving.writers, force=force)
    return replace(exported, proof=proving.report)


class _Check:
    """Called with where the file is: the report on it, or a ProofError if anything differs."""

    def __init__(
        self,
        model: Model,
        prepared: PreparedFiles,
        head: TfliteHead,
        given: Mapping[str, F32],
        precision: Precision,
        tolerance: float | None,
        stage: Stage,
    ) -> None:
        self._model, self._path, self._head = model, prepared.exported.paths[0], head
        self._given, self._stage = given, stage
        self._precision, self._tolerance = precision, tolerance

    def __call__(self, written: Mapping[Path, Path]) -> Report:
        self._stage("proving: opening the file in litert", None)
        with or_unproven():
            with needed_for_a_proof():
                file = LiteRtFile(written[self._path], self._model)
            inputs = {"random": random_input(self._model.network, images=file.batch)}
            for name, x in self._given.items():
                inputs[name] = np.repeat(x, file.batch, axis=0) if len(x) == 1 else x
            report = prove_session(
                self._model,
                file,
                inputs,
                precision=self._precision,
                tolerance=self._tolerance,
                stage=self._stage,
            )
            if self._head != "raw":
                rows = [row for name, x in inputs.items() for row in self._boxes(file, name, x)]
                report = replace(report, differences=(*report.differences, *rows))
        require_agreement(report, place_of(self._model), "the exported file")
        return report

    def _boxes(self, file: LiteRtFile, name: str, x: F32) -> list[Difference]:
        """Compare boxes and scores with those of the heads, as the file itself computes these."""
        with needed_for_a_proof():
            found = of_file(self._head, file.named_outputs(x))
        ours = forward(self._model, x, tuple(heads_of(self._model.network)), exact=True)
        expected = of_model(self._head, all_boxes(self._model, ours), self._model.network.input)
        allowed = self._precision.least if self._tolerance is None else self._tolerance
        return [
            compare_arrays(
                key, y, found[key], allowed=allowed, on=name, largest=max(1.0, largest_value(y))
            )
            for key, y in expected.items()
        ]
