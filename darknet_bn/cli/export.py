"""``darknet-bn export``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal

import click
import numpy as np

import darknet_bn as dn
from darknet_bn.arrays import F32
from darknet_bn.cli import class_names, models, options, output, pictures
from darknet_bn.cli.tables import aligned
from darknet_bn.export_heads import FORMS, Form
from darknet_bn.onnx_export import DEFAULT_OPSET, Exported
from darknet_bn.prepare import own_fit
from darknet_bn.proof import LAYER_ROOM, Proof, ProofRow

_TOLERANCE, _HALF_TOLERANCE = 1e-5, 2e-2
_OTHER_SIZE = 32  # pixels: by what another size is proven that a file of any size takes


@click.command()
@models.model_and_out
@click.option("--force", is_flag=True, help="Replace what is there already.")
@click.option("--opset", type=int, default=DEFAULT_OPSET, show_default=True, help="Of ONNX.")
@click.option(
    "--head",
    type=click.Choice(FORMS),
    default="raw",
    show_default=True,
    help="What comes out of a detector: what its layers store; corners and scores of all boxes; "
    "rows as programs for YOLOv5 or YOLOv8 expect them; or what non-maximum suppression leaves.",
)
@click.option("--keep-batch-norm", is_flag=True, help="Do not fold batch norm into the weights.")
@click.option("--batch", metavar="N|any", callback=lambda *a: _batch(a[2]), help="How many images.")
@click.option("--any-size", is_flag=True, help="Take images of any size that the layers allow.")
@click.option("--half", is_flag=True, help="Hold weights and compute in float16.")
@class_names.names_and_data
@options.part("--thresh", "the dialect's, 0.5 or 0.25", "What a score must exceed, with nms.")
@options.part("--nms", "0.45", "How much boxes of a class may overlap, with nms.")
@click.option(
    "--picture",
    "paths",
    multiple=True,
    type=options.FILE,
    metavar="FILE",
    help="Prove it with this picture too.",
)
@click.option("--layers", is_flag=True, help="Prove the output of every layer too.")
@click.option("--proof", is_flag=True, help="Write the proof beside the file: OUT.proof.json.")
@click.option("--skip-proof", is_flag=True, help="Do not run the file.")
@click.option(
    "--tolerance",
    type=float,
    help="The difference to allow, as a part of each output's largest value.  "
    f"[default: {_TOLERANCE:g}; {_HALF_TOLERANCE:g} with --half]",
)
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
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Write a model as an ONNX file, and prove that it computes the same.

    Before the file appears, ONNX Runtime runs it on random images and on the pictures given; where
    an output differs by more than the tolerance, nothing is written and the exit code is 1.

    Example: darknet-bn export yolov3.cfg yolov3.weights yolov3.onnx --picture dog.jpg
    """
    if skip_proof and (proof or layers or paths):
        raise click.UsageError("--skip-proof excludes --proof, --layers and --picture")
    written = f"{out}.proof.json" if proof else None
    if not out.lower().endswith(".onnx"):
        raise click.UsageError(
            f"missing argument: OUT, a name that ends in .onnx; the last is {out}"
        )
    options.require_free(
        [out, *([written] if written else [])],
        force=force,
        inputs=[*source.files, *names.files, *paths],
    )
    model = source.load()
    proven: list[Proof] = []
    limit = tolerance if tolerance is not None else _HALF_TOLERANCE if half else _TOLERANCE

    def check(exported: Exported) -> Mapping[str, Any]:
        found = dn.prove(
            model, exported, _inputs(model, exported, paths), layers=layers, tolerance=limit
        )
        _require_proof(found, model)
        proven.append(found)
        return asdict(found)

    exported = dn.export_onnx(
        model,
        out,
        opset=opset,
        fold=not keep_batch_norm,
        head=head,
        batch=batch,
        any_size=any_size,
        half=half,
        names=_names(names, model),
        threshold=thresh,
        nms=0.45 if nms is None else nms,
        check=_runs(check, wanted=proof or layers or bool(paths), skipped=skip_proof),
        proof=written,
        force=force,
    )
    for note in exported.notes:
        output.warning(note)
    if as_json:
        _as_json(model, source, exported, proven, written)
    else:
        _as_text(model, exported, proven, written, folded=not keep_batch_norm)


def _batch(value: str | None) -> int | Literal["any"] | None:
    if value is None or value == "any":
        return value  # type: ignore[return-value]  # it is the one word
    try:
        return int(value)
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is neither a number nor any") from error


def _names(names: class_names.ClassNames, model: dn.Model) -> tuple[str, ...] | None:
    if names.file is None and names.data is None:
        return None
    outputs = model.network.outputs
    layer = model.network.nodes[outputs[-1]]
    return names.fit(getattr(layer.layer, "classes", layer.y.c))


def _runs(
    check: Callable[[Exported], Mapping[str, Any]], *, wanted: bool, skipped: bool
) -> Callable[[Exported], Mapping[str, Any]] | None:
    """Return the check where it is to be, and can be."""
    if skipped or (not wanted and not output.can_prove()):
        return None
    return check


def _inputs(model: dn.Model, exported: Exported, paths: tuple[str, ...]) -> dict[str, F32]:
    """Return what the file is proven with, by name: as many images as it takes."""
    first = exported.input.dims[0]
    steps = model.network.time_steps
    count = first if isinstance(first, int) else 2 * steps
    rng = np.random.default_rng(0)
    inputs = {"random": rng.random((count, *model.network.input.dims), np.float32)}
    if not isinstance(exported.input.dims[-1], int):
        c, h, w = model.network.input.dims
        larger = (count, c, h + _OTHER_SIZE, w + 2 * _OTHER_SIZE)
        inputs["random, larger"] = rng.random(larger, np.float32)
    for path in paths:
        _, x = pictures.read(path, model, own_fit(model))
        inputs[path] = np.repeat(x, count, axis=0)
    return inputs


def _require_proof(proof: Proof, model: dn.Model) -> None:
    """Refuse to go on where the file computes something else."""
    for row in proof.rows:
        if not row.ok:
            where = dn.Where(key=row.name) if row.layer is None else model.cfg.where(row.layer + 1)
            room = proof.tolerance * (LAYER_ROOM if row.is_inner else 1)
            raise dn.ProofError(
                f"{row.name} of the exported file does not agree; nothing was written",
                where=where,
                expected=f"a difference of at most {room:g} of {row.largest:.4g}",
                found=f"{row.relative:.2g} of it, with {row.input}",
                hint="--tolerance allows more",
            )


def _as_json(
    model: dn.Model,
    source: models.Source,
    exported: Exported,
    proven: list[Proof],
    written: str | None,
) -> None:
    output.as_json(
        output.about(model, source.cfg, source.weights)
        | {
            "written": [str(path) for path in (exported.path, exported.beside) if path],
            "bytes": _bytes(exported),
            "opset": exported.opset,
            "head": exported.head,
            "input": exported.input.dims,
            "outputs": {name: tensor.dims for name, tensor in exported.outputs.items()},
            "layers": exported.layers,
            "notes": exported.notes,
            "proof": asdict(proven[0]) if proven else None,
            "proof_file": written,
        }
    )


def _as_text(
    model: dn.Model, exported: Exported, proven: list[Proof], written: str | None, *, folded: bool
) -> None:
    output.note(output.dialect(model))
    for what, tensors in (("input", {"input": exported.input}), ("output", exported.outputs)):
        for name, tensor in tensors.items():
            dims = " x ".join("any" if each is None else str(each) for each in tensor.dims)
            output.note(f"{what}: {name}, {dims}")
    for proof in proven:
        rows = [("output", "on", "largest", "max error", "relative", "cosine")]
        for line in aligned([*rows, *map(_cells, proof.rows)], "<<>>>>"):
            output.note(line)
        output.note(
            f"proven: {proof.engine}, relative difference at most {proof.worst.relative:.2g}"
        )
        output.note(f"  (allowed {proof.tolerance:g}; worst is {proof.worst.name})")
    kept = "batch norm folded" if folded else "batch norm kept"
    places = [str(path) for path in (exported.path, exported.beside, written) if path]
    output.note(
        f"written: {output.printable(' and '.join(places))}, {_bytes(exported)} bytes, "
        f"opset {exported.opset}, {kept}"
    )


def _cells(row: ProofRow) -> tuple[str, ...]:
    return (
        row.name,
        output.printable(os.path.basename(row.input)),
        f"{row.largest:.4g}",
        f"{row.max_error:.2g}",
        f"{row.relative:.2g}",
        f"{row.cosine:.7f}",
    )


def _bytes(exported: Exported) -> int:
    return sum(os.path.getsize(path) for path in (exported.path, exported.beside) if path)
