"""Write files that a program has to run first, while they have other names still."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import Stage, or_unproven, require_agreement, silent
from darknet_bn.checks.proof import needed_for_a_proof, prove_session
from darknet_bn.convert.prepared import ExportedFiles, PreparedFiles
from darknet_bn.errors import Where
from darknet_bn.formats.writing import Writer
from darknet_bn.model.model import Model
from darknet_bn.run.differences import Difference, Report
from darknet_bn.run.random_input import random_input
from darknet_bn.run.rounding import FLOAT32, Precision
from darknet_bn.run.session import Session
from darknet_bn.values import json_text

Prove: TypeAlias = "Callable[[Mapping[Path, Path]], Report]"
"""Called with the place of each file; raises a ProofError unless all agrees."""


class Proving:
    """Writers of files, and of a report on them once all of them are complete.

    Parameters
    ----------
    files : mapping from path to function
        What writes each file.
    prove : function
        Called with where each file is, before any of them has its name.
    proof : Path, optional
        A ``.json`` to write with them: what ``json()`` of the report says.

    Attributes
    ----------
    writers : dict from path to function
        What `write_files` takes.
    report : Report
        What ``prove`` returned; only once the files are written.
    """

    report: Report

    def __init__(self, files: Mapping[Path, Writer], prove: Prove, proof: Path | None) -> None:
        self._files, self._prove = files, prove
        self._written: dict[Path, Path] = {}
        self.writers: dict[Path, Writer] = {name: self._noted(name) for name in files}
        if proof is not None:
            self.writers[proof] = self._write_report

    def _noted(self, name: Path) -> Writer:
        def write(stream: BinaryIO) -> None:
            self._files[name](stream)
            stream.flush()
            self._written[name] = Path(stream.name)
            if len(self._written) == len(self._files):
                self.report = self._prove(self._written)

        return write

    def _write_report(self, stream: BinaryIO) -> None:
        stream.write(json_text(self.report.json()).encode() + b"\n")


def place_of(model: Model) -> Callable[[Difference], Where]:
    """Return what names the place in the cfg where an output is made."""

    def place(difference: Difference) -> Where:
        if difference.layer is None:
            return Where(key=difference.name)
        return model.cfg.where(difference.layer + 1)

    return place


def write_proven(
    model: Model,
    prepared: PreparedFiles,
    open_files: Callable[[Model, Sequence[Path]], Session],
    *,
    inputs: Mapping[str, F32] | None = None,
    precision: Precision = FLOAT32,
    tolerance: float | None = None,
    proof: Path | None = None,
    force: bool = False,
    stage: Stage = silent,
) -> ExportedFiles:
    """Write files of another program, if that computes the same with them as the model does here.

    Parameters
    ----------
    model : Model
    prepared : PreparedFiles
    open_files : function
        Opens the files, given where they are, in the order of ``prepared.exported.paths``.
    inputs : mapping from name to float32 array (n, c, h, w), optional
        What to prove them on, besides a random image.
    precision : Precision
        What they compute in.
    tolerance : float, optional
        The difference to allow, as in `prove_session`.
    proof : Path, optional
        A ``.json`` to write with them.
    force : bool
        Whether to overwrite existing files.
    stage : function, optional
        Called when a part of the work begins, to show progress.

    Returns
    -------
    exported : ExportedFiles
        With its ``proof``.

    Raises
    ------
    ProofError
        The files compute something else, or the other program does not run them; nothing is
        written.
    DarknetError
        A file exists and ``force`` is off, or it cannot be written.
    """
    images = {"random": random_input(model.network, images=model.network.time_steps)}

    def proven(written: Mapping[Path, Path]) -> Report:
        stage(f"proving: opening the files in {prepared.exported.target}", None)
        with or_unproven():
            with needed_for_a_proof():
                session = open_files(model, [written[path] for path in prepared.exported.paths])
            report = prove_session(
                model,
                session,
                images | dict(inputs or {}),
                precision=precision,
                tolerance=tolerance,
                stage=stage,
            )
        require_agreement(report, place_of(model), "the exported files")
        return report

    stage("writing the files", None)
    proving = Proving(prepared.files, proven, proof)
    exported = prepared.write(proving.writers, force=force)
    return replace(exported, proof=proving.report)
