"""Prove TFLite files in LiteRT, those of 8 bits by how much they lose."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, or_unproven, require_agreement
from darknet_bn.checks.fixture import member_name
from darknet_bn.checks.proof import needed_for_a_proof, prove_session
from darknet_bn.checks.proof_boxes import all_boxes, of_file, of_model
from darknet_bn.checks.proven import place_of
from darknet_bn.convert.prepared import ExportedFiles
from darknet_bn.convert.tflite.export import TfliteHead
from darknet_bn.engines.litert import LiteRtFile, engine_name
from darknet_bn.model.model import Model
from darknet_bn.predictions.boxes import heads_of
from darknet_bn.run.differences import Difference, Report, compare_arrays, largest_value
from darknet_bn.run.random_input import random_input
from darknet_bn.run.rounding import FLOAT16, FLOAT32
from darknet_bn.run.run import forward

LEAST_COSINE = 0.9
"""Of an output in 8 bits and the model's: below, the file does something else.  How good it is
above, only labelled pictures can tell: one score among thousands may be another one."""
_ANY = 10.0  # times the largest value: no more than that the numbers are of the same magnitude


class TfliteProof:
    """Called with where a file is: the report on it, or a ProofError if it differs.

    Parameters
    ----------
    model : Model
    exported : ExportedFiles
        What the file is.
    head : str
        The form of what comes out.
    given : mapping from name to float32 array (n, c, h, w)
        What to run; besides, a random image, but for a file of 8 bits, which knows pictures alone.
    tolerance : float or None
        The difference to allow.
    stage : function
        Called when a part of the work begins.
    """

    def __init__(
        self,
        model: Model,
        exported: ExportedFiles,
        head: TfliteHead,
        given: Mapping[str, F32],
        tolerance: float | None,
        stage: Stage,
    ) -> None:
        self._model, self._exported, self._head = model, exported, head
        self._given, self._tolerance, self._stage = given, tolerance, stage

    def __call__(self, written: Mapping[Path, Path]) -> Report:
        """Run the file."""
        model, numbers = self._model, self._exported.numbers
        self._stage("proving: opening the file in litert", None)
        with or_unproven():
            with needed_for_a_proof():
                file = LiteRtFile(written[self._exported.paths[0]], model)
            inputs = {}
            if numbers != "int8":
                inputs["random"] = random_input(model.network, images=file.batch)
            for name, x in self._given.items():
                inputs[name] = np.repeat(x, file.batch, axis=0) if len(x) == 1 else x
            if numbers == "int8":
                report = self._losses(file, inputs)
            else:
                report = prove_session(
                    model,
                    file,
                    inputs,
                    precision=FLOAT16 if numbers == "float16" else FLOAT32,
                    tolerance=self._tolerance,
                    stage=self._stage,
                )
            if self._head != "raw":
                rows = [
                    row
                    for name, x in inputs.items()
                    for row in self._boxes(file, name, x, report.tolerance)
                ]
                report = replace(report, differences=(*report.differences, *rows))
        report = replace(report, provenance={"program": engine_name()})  # its file has no name yet
        require_agreement(report, place_of(model), "the exported file")
        return report

    def _losses(self, file: LiteRtFile, inputs: Mapping[str, F32]) -> Report:
        """Compare all layers, and refuse outputs that have little to do with the model's."""
        network, rows = self._model.network, []
        for name, x in inputs.items():
            self._stage("proving: running the file in litert", None)
            with needed_for_a_proof():
                found = file.forward(x, "all")
            step = self._stage("proving: running the model", len(network.nodes))
            expected = forward(self._model, x, tuple(found), after_layer=step)
            for layer, y in expected.items():
                is_inner = layer not in network.outputs
                limit = None if is_inner else self._tolerance
                row = compare_arrays(
                    member_name(layer),
                    y,
                    found[layer],
                    allowed=_ANY if limit is None else limit,
                    layer=layer,
                    section=network.nodes[layer].layer.names[0],
                    on=name,
                )
                problem = None
                if not is_inner and self._tolerance is None and row.cosine < LEAST_COSINE:
                    problem = f"the cosine with the model's output is {row.cosine:.3f}"
                rows.append(replace(row, is_inner=is_inner, problem=problem))
        digests = {name: hashlib.sha256(x.data).hexdigest() for name, x in inputs.items()}
        least = _ANY if self._tolerance is None else self._tolerance
        return Report(least, tuple(rows), {"program": file.engine}, "int8", digests)

    def _boxes(self, file: LiteRtFile, name: str, x: F32, allowed: float) -> list[Difference]:
        """Compare boxes and scores with those of the heads, as the file itself computes these."""
        with needed_for_a_proof():
            found = of_file(self._head, file.named_outputs(x))
        ours = forward(self._model, x, tuple(heads_of(self._model.network)), exact=True)
        expected = of_model(self._head, all_boxes(self._model, ours), self._model.network.input)
        return [
            compare_arrays(
                key, y, found[key], allowed=allowed, on=name, largest=max(1.0, largest_value(y))
            )
            for key, y in expected.items()
        ]
