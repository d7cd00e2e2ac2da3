"""``darknet-bn export``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import click

import darknet_bn as dn
from darknet_bn.cli import choices, class_names, models, options, output, pictures, progress, proofs
from darknet_bn.cli.tables import aligned

if TYPE_CHECKING:
    from darknet_bn.arrays import F32
    from darknet_bn.checks.proof import Proof, ProofRow
    from darknet_bn.convert.onnx.export import Exported
    from darknet_bn.convert.onnx.heads import Form

_SPARE = (5, 2, 3)  # columns that a narrow terminal does without
_OTHER_SIZE = 32  # pixels: by what another size is proven that a file of any size takes


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
@click.option("--batch", metavar="N|any", callback=lambda *a: _batch(a[2]), help="Batch size.")
@click.option("--any-size", is_flag=True, help="Take images of any size that the layers allow.")
@click.option("--half", is_flag=True, help="Use float16 weights and arithmetic.")
@class_names.names_and_data
@options.part("--thresh", "the dialect's, 0.5 or 0.25", "Score threshold for --head nms.")
@options.part("--nms", "0.45", "IoU threshold for --head nms.")
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
@proofs.skip_proof
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
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Write a model as an ONNX file, and prove that it computes the same.

    Before the file appears, ONNX Runtime runs it on random images and on the pictures given.  If
    any output differs by more than the tolerance, nothing is written and the exit code is 1.  The
    same if ONNX Runtime is not installed, unless --skip-proof is given.  The file's metadata say
    how pictures are prepared.

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
    if not skip_proof:
        proofs.require_engine()
    began = time.monotonic()
    model = source.load()
    labels = _names(names, model)
    proven: list[Proof] = []

    def place(row: ProofRow) -> dn.Where:
        return dn.Where(key=row.name) if row.layer is None else model.cfg.where(row.layer + 1)

    with progress.stages() as stage:

        def check(exported: Exported) -> Mapping[str, Any]:
            inputs = _inputs(model, exported, paths)
            with proofs.or_skipped():
                found = dn.prove(
                    model, exported, inputs, layers=layers, tolerance=tolerance, stage=stage
                )
            proofs.require(found, place, "the exported file")
            proven.append(found)
            return asdict(found)

        stage("writing the file", None)
        exported = dn.export_onnx(
            model,
            out,
            opset=opset,
            fold=not keep_batch_norm,
            head=head,
            batch=batch,
            any_size=any_size,
            half=half,
            names=labels,
            threshold=thresh,
            nms=0.45 if nms is None else nms,
            check=None if skip_proof else check,
            proof=written,
            force=force,
        )
    seconds = time.monotonic() - began
    for note in exported.notes:
        output.warning(note)
    if as_json:
        facts = _facts(model, source, exported, labels, proven, written)
        output.print_json(facts | {"seconds": seconds})
    else:
        _as_text(model, exported, proven, written, folded=not keep_batch_norm)
        output.took_long(seconds)


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
    from darknet_bn.layers.shared.per_class import per_class

    outputs = model.network.outputs
    node = model.network.nodes[outputs[-1]]
    of_classes = per_class(node.layer)
    return names.fit(node.y.c if of_classes is None else of_classes.classes)


def _inputs(model: dn.Model, exported: Exported, paths: tuple[str, ...]) -> dict[str, F32]:
    """Return what the file is proven with, by name: as many images as it takes."""
    import numpy as np

    from darknet_bn.pictures.prepare import own_fit

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


def _facts(
    model: dn.Model,
    source: models.Source,
    exported: Exported,
    labels: tuple[str, ...] | None,
    proven: list[Proof],
    written: str | None,
) -> dict[str, Any]:
    """Return what JSON tells."""
    from darknet_bn.pictures.prepare import preparation

    return output.about(model, source.cfg, source.weights) | {
        "written": [str(path) for path in (exported.path, exported.beside) if path],
        "bytes": _bytes(exported),
        "opset": exported.opset,
        "head": exported.head,
        "input": exported.input.dims,
        "preparation": preparation(model) or None,
        "names": labels,
        "outputs": {name: tensor.dims for name, tensor in exported.outputs.items()},
        "layers": exported.layers,
        "notes": exported.notes,
        "proof": asdict(proven[0]) if proven else None,
        "proof_file": written,
    }


def _as_text(
    model: dn.Model, exported: Exported, proven: list[Proof], written: str | None, *, folded: bool
) -> None:
    from darknet_bn.pictures.prepare import preparation

    output.note(output.dialect(model))
    for what, tensors in (("input", {"input": exported.input}), ("output", exported.outputs)):
        for name, tensor in tensors.items():
            dims = " x ".join("any" if each is None else str(each) for each in tensor.dims)
            output.note(f"{what}: {name}, {dims}")
    if words := preparation(model):
        output.note(f"pictures: {words['resize']}; {words['colours']}, {words['range']}")
    for proof in proven:
        _show(proof)
    kept = "batch norm folded" if folded else "batch norm kept"
    places = [str(path) for path in (exported.path, exported.beside, written) if path]
    output.note(
        f"written: {output.printable(' and '.join(places))}, {_bytes(exported)} bytes, "
        f"opset {exported.opset}, {kept}"
    )


def _show(proof: Proof) -> None:
    """Print a table of what was compared, and the verdict."""
    headings = ("output", "on", "largest", "max error", "relative", "cosine")
    rough = any(row.rounding is not None for row in proof.rows)
    more = ("rounding", "allowed") if rough else ()
    rows = [(*headings, *more), *(_cells(row, rough) for row in proof.rows)]
    for line in aligned(rows, "<<>>>>>>"[: len(rows[0])], spare=_SPARE):
        output.note(line)
    boxes = [row for row in proof.rows if row.name == "detections"]
    if boxes and not any(row.shape[0] for row in boxes):
        inputs = output.printable(", ".join(row.input for row in boxes))
        output.note(f"boxes: none over the threshold on {inputs}; --picture proves more")
    verdict, limits = proofs.agreement(proof)
    output.note(f"proven: {verdict}")
    output.note(limits)


def _cells(row: ProofRow, rough: bool) -> tuple[str, ...]:
    cells = (
        row.name,
        output.printable(os.path.basename(row.input)),
        f"{row.largest:.4g}",
        f"{row.max_error:.2g}",
        f"{row.relative:.2g}",
        f"{row.cosine:.7f}",
    )
    if not rough:
        return cells
    return (*cells, "-" if row.rounding is None else f"{row.rounding:.2g}", f"{row.allowed:.2g}")


def _bytes(exported: Exported) -> int:
    return sum(os.path.getsize(path) for path in (exported.path, exported.beside) if path)
