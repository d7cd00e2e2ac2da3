"""``darknet-bn export`` to files other than ONNX: of ncnn, and of TFLite."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

import darknet_bn as dn
from darknet_bn.cli import batches, choices, options, output
from darknet_bn.cli.terminal import width

if TYPE_CHECKING:
    from darknet_bn.pictures.batches import Batches

_IMAGES = 200  # enough for ranges, and soon done
_SHOWN = 4  # of these, on which the loss is measured
# What decides only about ONNX.
_ONNX = ("opset", "keep_batch_norm", "any_size", "thresh", "nms")


class Target(NamedTuple):
    """A program whose files are written.

    Attributes
    ----------
    name : str
    forms : tuple of str
        What can come out of a detector.
    excluded : tuple of str
        The parameters of the command that do not apply.
    write : function
    """

    name: str
    forms: tuple[str, ...]
    excluded: tuple[str, ...]
    write: Callable[..., dn.ExportedFiles]


class Made(NamedTuple):
    """What is said about an export.

    Attributes
    ----------
    notes : sequence of str
        Warnings.
    facts : dict from key to value
        For JSON.
    lines : list of str
    """

    notes: Sequence[str]
    facts: dict[str, Any]
    lines: list[str]


def _ncnn(
    model: dn.Model, out: str, inputs: Batches | None, given: dict[str, Any]
) -> dn.ExportedFiles:
    if inputs is not None:
        given["stage"]("counting the ranges of values", None)
        given["int8"] = dn.activation_ranges(model, inputs)
        given["inputs"] |= {"calibration": inputs[0][:_SHOWN]}
    del given["batch"], given["names"]
    return dn.export_ncnn(model, out, **given)


def _tflite(
    model: dn.Model, out: str, inputs: Batches | None, given: dict[str, Any]
) -> dn.ExportedFiles:
    images = None if inputs is None else [inputs[number] for number in range(len(inputs))]
    return dn.export_tflite(model, out, int8=images, **given)


TARGETS = {
    ".param": Target(
        "ncnn", ("raw", "decoded"), (*_ONNX, "batch", "names_file", "data_file"), _ncnn
    ),
    ".tflite": Target("TFLite", ("raw", "decoded", "yolov5", "yolov8"), _ONNX, _tflite),
}
"""By the suffix of the file that is named."""

int8 = click.option(
    "--int8",
    metavar="DATA",
    type=options.FILE,
    help="Compute in 8 bits, with ranges measured on DATA: a picture, a folder, a pattern, a list, "
    "a .data or an .npz file (.param and .tflite; for ONNX: darknet-bn quantize).",
)


def require_fitting(target: Target | None, out: str, data: str | None) -> None:
    """Refuse options that do not apply to the file that is to be written.

    Raises
    ------
    click.UsageError
    """
    if target is None:
        if data is not None:
            raise click.UsageError("--int8 is for .param and .tflite; see darknet-bn quantize")
        return
    context = click.get_current_context()
    for param in context.command.params:
        given = context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name in target.excluded:
            raise click.UsageError(f"{param.opts[0]} does not apply to {Path(out).suffix} files")
    head = context.params["head"]
    if head not in target.forms:
        raise click.UsageError(f"--head {head} is not one of {', '.join(target.forms)}")
    if context.params["half"] and data is not None:
        raise click.UsageError("--half and --int8 cannot be used together")


def files_of(target: Target | None, out: str) -> list[str]:
    """Return the files that are to be written."""
    beside = [str(Path(out).with_suffix(".bin"))] if target is TARGETS[".param"] else []
    return [out, *beside]


def export(
    target: Target,
    model: dn.Model,
    out: str,
    data: str | None,
    written: str | None,
    **given: Any,
) -> Made:
    """Write the files, proven."""
    from darknet_bn.predictions.inputs import own_fit_for_tests

    inputs: Batches | None = None
    if data is not None:
        batches.require_kind(data)
        way = own_fit_for_tests(model)
        inputs = batches.load(model, data, choices.BATCH, _IMAGES, "train", way)
    return made_of(model, target.write(model, out, inputs, given), given["head"], written)


def made_of(model: dn.Model, exported: dn.ExportedFiles, head: str, written: str | None) -> Made:
    """Return what is said about files."""
    facts = _facts(exported, head, written)
    return Made(exported.notes, facts, [*_lines(model, exported, written)])


def _facts(exported: dn.ExportedFiles, head: str, written: str | None) -> dict[str, Any]:
    """Return the facts about files for JSON."""
    names = {path.suffix[1:]: str(path) for path in exported.paths}
    return {
        "written": {**NOWHERE, **names, "proof": written},
        "bytes": _bytes(exported.paths),
        "opset": None,
        "head": head,
        "numbers": exported.numbers,
        "input_shape": exported.input,
        "output_shapes": exported.outputs,
        "layers": exported.layers,
        "notes": exported.notes,
        "proof": None if exported.proof is None else exported.proof.json(),
        "loss": None if exported.loss is None else exported.loss.json(),
        "compiler": None,
    }


NOWHERE = dict.fromkeys(("onnx", "arrays", "param", "bin", "tflite"))
"""The files that one of the targets has, all of them null."""


def _lines(model: dn.Model, exported: dn.ExportedFiles, written: str | None) -> Iterator[str]:
    """Yield what is said about the files."""
    for what, shapes in (("input", {"input": exported.input}), ("output", exported.outputs)):
        for name, dims in shapes.items():
            yield f"{what}: {name}, {' x '.join(map(str, dims))}"
    yield from pictures_line(model)
    if exported.proof is not None:
        yield from exported.proof.table(width(sys.stdout))
        yield from _verdict(exported, exported.proof)
    if exported.loss is not None:
        yield "what 8 bits lose:"
        yield from exported.loss.table(width(sys.stdout))
        yield _lost(exported.loss)
    places = [*map(str, exported.paths), *([written] if written else [])]
    yield (
        f"written: {output.printable(' and '.join(places))}, {_bytes(exported.paths)} bytes, "
        f"{exported.numbers}, batch norm folded"
    )


def _verdict(exported: dn.ExportedFiles, proof: dn.Report) -> Iterator[str]:
    if exported.numbers == "int8" and exported.loss is None:  # the proof is what 8 bits lose
        yield f"proven: {proof.program}, in 8 bits"
        yield _lost(proof)
        return
    verdict, *limits = proof.verdict()
    yield f"proven: {verdict}"
    yield from limits


def _lost(loss: dn.Report) -> str:
    """Return the most that 8 bits lose."""
    worst = max(loss.differences, key=lambda each: each.relative)
    return f"loss: at most {worst.relative:.2g} of the largest value of a layer ({worst.name})"


def pictures_line(model: dn.Model) -> Iterator[str]:
    """Yield how pictures become the input, if the model takes pictures."""
    from darknet_bn.pictures.prepare import preparation

    if words := preparation(model):
        yield f"pictures: {words['resize']}; {words['colours']}, {words['range']}"


def _bytes(paths: Iterable[Path]) -> int:
    return sum(map(os.path.getsize, paths))
