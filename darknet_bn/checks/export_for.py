"""Write a model for the compiler of a neural processor, once ONNX Runtime has run the file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from darknet_bn.arrays import F32
from darknet_bn.checks.agreement import (
    Stage,
    or_unproven,
    require_agreement,
    require_engine,
    silent,
)
from darknet_bn.checks.proof import prove as prove_outputs
from darknet_bn.checks.proven import Proving, place_of
from darknet_bn.checks.same_input import compare_layers
from darknet_bn.convert.compilers.prepare import PreparedFor, compiler_named, prepare_for
from darknet_bn.convert.onnx.export import Exported
from darknet_bn.formats.writing import Writer, require_suffix, require_writable
from darknet_bn.model.model import Model
from darknet_bn.run.differences import Report
from darknet_bn.run.random_input import random_input
from darknet_bn.values import brief, file_name


@dataclass(frozen=True)
class LayerReplaced:
    """Operators of a layer that were replaced, because the compiler does not have them.

    Attributes
    ----------
    layer : int
    section : str
        Its name.
    text : str
        What became what.
    exact : bool
        Whether the layer computes the same but for rounding.
    error : float or None
        The largest difference that it makes on the same input, relative to the largest value of the
        layer; None if the file was not run.
    """

    layer: int
    section: str
    text: str
    exact: bool
    error: float | None = None


@dataclass(frozen=True)
class ExportedFor:
    """The files for the compiler of a neural processor.

    Attributes
    ----------
    compiler, title : str
        Its short name, and its full one.
    onnx : Exported
        The model without its heads; its ``proof`` compares the outputs, or each layer on the same
        input if replacements change them.
    paths : tuple of Path
        All files that were written, the model's first.
    calibration : Path or None
        The file of pictures as the compiler wants them, or the folder of one file for each.
    end_nodes : mapping from layer number to str
        The node that computes the output of each layer before a head.
    replaced : tuple of LayerReplaced
    output_changes : mapping from layer number to float
        How far the outputs are from the model's, relative to their largest values, if replacements
        change them; empty if none does, or if the file was not run.
    commands : tuple of str
        How the compiler is called.  They were not run.
    """

    compiler: str
    title: str
    onnx: Exported
    paths: tuple[Path, ...]
    calibration: Path | None
    end_nodes: Mapping[int, str]
    replaced: tuple[LayerReplaced, ...]
    output_changes: Mapping[int, float]
    commands: tuple[str, ...]

    def __repr__(self) -> str:
        """Return one line about it."""
        nodes = ", ".join(self.end_nodes.values())
        return brief(self, f"{file_name(self.onnx.path)} for {self.compiler}, ends with {nodes}")


def export_for(
    model: Model,
    path: str | os.PathLike[str],
    compiler: str,
    *,
    pictures: Sequence[str] = (),
    names: Sequence[str] | None = None,
    prove: bool = True,
    inputs: Mapping[str, F32] | None = None,
    tolerance: float | None = None,
    proof: str | os.PathLike[str] | None = None,
    force: bool = False,
    stage: Stage = silent,
) -> ExportedFor:
    """Write a model as the compiler of a neural processor takes it; complete or not at all.

    The file ends before the heads: `run_heads` computes them from what the processor gives.  It has
    only operators that the compiler has; others are replaced, and the error of that is measured.
    The compiler itself is not run.

    Parameters
    ----------
    model : Model
    path : path
        The ``.onnx`` to write; other files get its name with more after it.
    compiler : "hailo", "rknn", "dpu" or "tensorrt"
        Hailo's Dataflow Compiler, RKNN-Toolkit2, Vitis AI for the DPU, or TensorRT.
    pictures : sequence of str
        Pictures to write as the compiler wants them, to learn the range of values from; prepared as
        in `prepare`, a few at a time.
    names : sequence of str, optional
        Class names, to be stored in the file.
    prove : bool
        Whether to prove the file before it appears.  This needs ONNX Runtime.
    inputs : mapping from name to float32 array (n, c, h, w), optional
        More inputs to prove the file on, besides a random image; each is one image.
    tolerance : float, optional
        The difference to allow, as in `prove`.
    proof : path, optional
        A ``.json`` to write with the file; it holds ``json()`` of the report.
    force : bool
        Whether to overwrite existing files, though never one that the model was read from.
    stage : function, optional
        Called when a part of the work begins, to show progress: ``stage(what, steps)``.

    Returns
    -------
    exported : ExportedFor

    Raises
    ------
    ExportError
        There is no such compiler, or it has nothing for a layer; the message names the layer.
    ProofError
        The file computes something else; or it cannot be proven, because ONNX Runtime is not
        installed or rejects the file.
    ImageError
        A picture cannot be read.
    DarknetError
        A file already exists and ``force`` is off, or it cannot be written.
    """
    require_suffix(path, compiler_named(compiler).suffix)
    targets = [path]
    if proof is not None:
        require_suffix(proof, ".json")
        targets.append(proof)
    inputs_of_model = (model.cfg.file, model.file)
    require_writable(targets, force=force, inputs=inputs_of_model)
    if prove:
        require_engine()
    stage("writing the files", None)
    prepared = prepare_for(model, path, compiler, pictures=pictures, names=names)
    made = _with_folders(prepared.beside)
    measured: list[_Measured] = []

    def proven(written: Mapping[Path, Path]) -> Report:
        with prepared.onnx.unnamed(written) as exported:
            found = _proven(model, exported, prepared, inputs or {}, tolerance, stage)
        measured.append(found)
        return found.proof

    proving = Proving(prepared.onnx.files, proven, None if proof is None else Path(proof))
    writers: dict[Path, Writer] = dict(prepared.beside)
    writers |= proving.writers if prove else prepared.onnx.files
    try:
        onnx = prepared.onnx.write(writers, force=force)
    except BaseException:
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        raise
    if prove:
        onnx = replace(onnx, proof=proving.report)
    return ExportedFor(
        compiler=compiler,
        title=compiler_named(compiler).title,
        onnx=onnx,
        paths=(*[*prepared.onnx.files][::-1], *prepared.beside),
        calibration=prepared.calibration,
        end_nodes=prepared.end_nodes,
        replaced=_replaced(model, prepared, measured[0].of_layers if measured else {}),
        output_changes=measured[0].of_outputs if measured else {},
        commands=prepared.commands,
    )


def _with_folders(files: Mapping[Path, Writer]) -> list[Path]:
    """Make the folders of files, and return the new ones."""
    made = []
    for folder in dict.fromkeys(path.parent for path in files):
        if not folder.exists():
            folder.mkdir()
            made.append(folder)
    return made


@dataclass(frozen=True)
class _Measured:
    """The proof of a file, and the largest relative differences of layers on the same input."""

    proof: Report
    of_layers: Mapping[int, float]
    of_outputs: Mapping[int, float]


def _proven(
    model: Model,
    exported: Exported,
    prepared: PreparedFor,
    given: Mapping[str, F32],
    tolerance: float | None,
    stage: Stage,
) -> _Measured:
    """Return the proof of a file, and what replacements do; a ProofError if anything is wrong."""
    inputs = {"random": random_input(model.network)} | dict(given)
    changes: dict[int, float] = {}
    for each in prepared.replaced:
        changes[each.layer] = changes.get(each.layer, 0.0) + each.replacement.change
    moved = any(changes.values())
    with or_unproven():
        of_layers = compare_layers(
            model, exported, inputs, changes, tolerance=tolerance, stage=stage
        )
        # Nothing is expected of outputs that replacements move: how far they do is measured.
        any_change = math.inf if moved else tolerance
        of_outputs = prove_outputs(model, exported, inputs, tolerance=any_change, stage=stage)
    proof = of_layers if moved else of_outputs
    require_agreement(proof, place_of(model), "the exported file")
    return _Measured(proof, _largest(of_layers), _largest(of_outputs) if moved else {})


def _largest(report: Report) -> dict[int, float]:
    """Return the largest relative difference of each layer."""
    largest: dict[int, float] = {}
    for row in report.differences:
        if row.layer is not None:
            largest[row.layer] = max(largest.get(row.layer, 0.0), row.relative)
    return largest


def _replaced(
    model: Model, prepared: PreparedFor, errors: Mapping[int, float]
) -> tuple[LayerReplaced, ...]:
    """Return what was replaced, with what it makes if that was measured."""
    return tuple(
        LayerReplaced(
            layer=each.layer,
            section=model.network.nodes[each.layer].layer.names[0],
            text=each.replacement.text,
            exact=not each.replacement.change,
            error=errors.get(each.layer),
        )
        for each in prepared.replaced
    )
