"""``darknet-bn export``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

import darknet_bn as dn
from darknet_bn.cli import (
    choices,
    class_names,
    export_files,
    export_for,
    models,
    options,
    output,
    progress,
)
from darknet_bn.cli.terminal import width

if TYPE_CHECKING:
    from darknet_bn.convert.heads import Form


@click.command()
@models.model_and_out
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option(
    "--opset", type=int, default=choices.OPSET, show_default=True, help="ONNX opset version."
)
@click.option(
    "--head",
    type=click.Choice(choices.FORMS),
    default="raw",
    show_default=True,
    help="Detector output format: raw layers, decoded boxes, YOLOv5 or YOLOv8 rows, or boxes after "
    "NMS.",
)
@click.option("--keep-batch-norm", is_flag=True, help="Do not fold batch norm into the weights.")
@click.option("--batch", metavar="N|any", callback=options.batch_size, help="Batch size.")
@click.option("--any-size", is_flag=True, help="Accept images of any size that the layers allow.")
@click.option("--half", is_flag=True, help="Use float16 weights, and in ONNX float16 arithmetic.")
@class_names.names_and_data
@options.part("--thresh", "the dialect's, 0.5 or 0.25", "Score threshold for --head nms.")
@options.part("--nms", f"{choices.OVERLAP}", "IoU threshold for --head nms.")
@click.option(
    "--picture",
    "paths",
    multiple=True,
    type=options.FILE,
    metavar="FILE",
    help="Prove the file on this picture too.",
)
@click.option("--layers", is_flag=True, help="Prove the output of every layer too.")
@click.option("--proof", is_flag=True, help="Write the proof to OUT.proof.json.")
@options.skip_proof
@export_files.int8
@export_for.compiler
@options.tolerance("1e-5, or 4 times float32 rounding; more with --half", "output")
@options.json
@options.quiet("warnings and errors")
def export(
    source: models.Source,
    out: str,
    force: bool,
    opset: int,
    head: Form,
    keep_batch_norm: bool,
    batch: int | Literal["any"] | None,
    any_size: bool,
    half: bool,
    names: class_names.ClassNames,
    thresh: float | None,
    nms: float | None,
    paths: tuple[str, ...],
    layers: bool,
    proof: bool,
    skip_proof: bool,
    int8: str | None,
    target: str | None,
    calibration: tuple[str, ...],
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Export a model to ONNX, ncnn or TFLite and prove that it computes the same.

    The suffix of OUT decides: .onnx, .param (with a .bin) or .tflite.  Before the file appears,
    ONNX Runtime, ncnn or LiteRT runs it on random images and on the pictures given.  If any output
    differs by more than the tolerance, nothing is written and the exit code is 1.  The same happens
    if that program is not installed, unless --skip-proof is given.

    Example: darknet-bn export yolov3.cfg yolov3.weights yolov3.onnx --picture dog.jpg
    """
    from darknet_bn.checks.agreement import require_engine
    from darknet_bn.pictures.prepare import own_fit, preparation, read_picture

    if skip_proof and (proof or layers or paths):
        raise click.UsageError("--skip-proof cannot be used with --proof, --layers or --picture")
    export_for.require_alone(target, calibration, out)
    written = f"{out}.proof.json" if proof else None
    files = export_files.TARGETS.get(Path(out).suffix.lower())
    if files is None and not out.lower().endswith(".onnx"):
        raise click.UsageError(
            "missing argument: OUT, a name ending in .onnx, .param or .tflite; the last argument "
            f"is {out}"
        )
    export_files.require_fitting(files, out, int8)
    options.require_free(
        [*export_files.files_of(files, out), *([written] if written else [])],
        force=force,
        inputs=[*source.files, *names.files, *paths],
    )
    pictures = export_for.found_pictures(calibration)
    if files is None and not skip_proof:
        require_engine()
    began = time.monotonic()
    model = source.load() if int8 is None else source.load_for_pictures()
    labels = _names(names, model)
    with progress.stages() as stage:
        shared: dict[str, Any] = {
            "names": labels,
            "prove": not skip_proof,
            "inputs": {path: read_picture(path, model, own_fit(model))[1] for path in paths},
            "tolerance": tolerance,
            "proof": written,
            "force": force,
            "stage": stage,
        }
        if target == export_for.EDGETPU:
            given = {key: shared[key] for key in ("names", "prove", "force", "stage")}
            tflite = dn.export_edgetpu(model, out, pictures, **given)
            made = export_files.made_of(model, tflite, "raw", written)
            made = export_for.completed_edgetpu(made)
        elif files is not None:
            form = {"head": head, "batch": batch, "half": half}
            made = export_files.export(files, model, out, int8, written, **form, **shared)
        elif target is not None:
            compiled = dn.export_for(model, out, target, pictures=pictures, **shared)
            made = _made(model, compiled.onnx, written, "batch norm folded")
            made = export_for.completed(made, compiled, pictures)
        else:
            exported = dn.export_onnx(
                model,
                out,
                opset=opset,
                fold=not keep_batch_norm,
                head=head,
                batch=batch,
                any_size=any_size,
                half=half,
                threshold=thresh,
                nms=choices.OVERLAP if nms is None else nms,
                layers=layers,
                **shared,
            )
            kept = "batch norm kept" if keep_batch_norm else "batch norm folded"
            made = _made(model, exported, written, kept)
    seconds = time.monotonic() - began
    for note in made.notes:
        output.warning(note)
    facts = output.about(model, source.cfg, source.weights) | made.facts
    facts |= {"preparation": preparation(model) or None, "names": labels, "seconds": seconds}
    output.show(facts, [output.dialect(model), *made.lines], as_json=as_json)
    output.took_long(seconds)


def _names(names: class_names.ClassNames, model: dn.Model) -> tuple[str, ...] | None:
    if names.file is None and names.data is None:
        return None
    return names.fit(count_classes(model))


def count_classes(model: dn.Model) -> int:
    """Return how many classes the outputs of a model have."""
    from darknet_bn.layers.shared.per_class import per_class

    outputs = model.network.outputs
    node = model.network.nodes[outputs[-1]]
    of_classes = per_class(node.layer)
    return node.y.c if of_classes is None else of_classes.classes


def _made(
    model: dn.Model, exported: dn.Exported, written: str | None, kept: str
) -> export_files.Made:
    lines = [*_lines(model, exported, written, kept)]
    return export_files.Made(exported.notes, _facts(exported, written), lines)


def _facts(exported: dn.Exported, written: str | None) -> dict[str, Any]:
    """Return the facts about a file for JSON."""
    return {
        "written": {
            **export_files.NOWHERE,
            "onnx": str(exported.path),
            "arrays": None if exported.beside is None else str(exported.beside),
            "proof": written,
        },
        "bytes": _bytes(exported),
        "opset": exported.opset,
        "head": exported.head,
        "numbers": "float16" if exported.half else "float32",
        "input_shape": exported.input.dims,
        "output_shapes": {name: tensor.dims for name, tensor in exported.outputs.items()},
        "layers": exported.layers,
        "notes": exported.notes,
        "proof": None if exported.proof is None else exported.proof.json(),
        "loss": None,
        "compiler": None,
    }


def _lines(model: dn.Model, exported: dn.Exported, written: str | None, kept: str) -> Iterator[str]:
    for what, tensors in (("input", {"input": exported.input}), ("output", exported.outputs)):
        for name, tensor in tensors.items():
            dims = " x ".join("any" if each is None else str(each) for each in tensor.dims)
            yield f"{what}: {name}, {dims}"
    yield from export_files.pictures_line(model)
    if exported.proof is not None:
        yield from _proven(exported.proof)
    places = [str(path) for path in (exported.path, exported.beside, written) if path]
    yield (
        f"written: {output.printable(' and '.join(places))}, {_bytes(exported)} bytes, "
        f"opset {exported.opset}, {kept}"
    )


def _proven(proof: dn.Report) -> Iterator[str]:
    """Yield a table of the comparisons, and the verdict."""
    yield from proof.table(width(sys.stdout))
    boxes = [each for each in proof.differences if each.name == "detections"]
    if boxes and not any(each.shape[0] for each in boxes):
        inputs = output.printable(", ".join(str(each.input) for each in boxes))
        yield f"boxes: none above the threshold on {inputs}; use --picture for a stronger proof"
    verdict, limits = proof.verdict()
    yield f"proven: {verdict}"
    yield limits


def _bytes(exported: dn.Exported) -> int:
    return sum(os.path.getsize(path) for path in (exported.path, exported.beside) if path)
