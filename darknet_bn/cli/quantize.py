"""``darknet-bn quantize``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import click

import darknet_bn as dn
from darknet_bn.cli import batches, choices, class_names, models, options, output, progress
from darknet_bn.cli.terminal import width

if TYPE_CHECKING:
    from darknet_bn.convert.heads import Form
    from darknet_bn.convert.onnx.ranges import CalibrationMethod
    from darknet_bn.pictures.prepare import Fit

_IMAGES = 200  # enough for ranges, and soon done
_NAMED = 8  # layers that a line names


def _spans(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[tuple[int, int], ...]:
    """Return the first and the last layer of each part of a list."""
    if value is None:
        return ()
    try:
        parts = (part.partition("-") for part in value.split(","))
        return tuple((int(first), int(last or first)) for first, _, last in parts)
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is not a list of layers such as 3,5-9") from error


def _layers(model: dn.Model, spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return the layers that are meant: of several, those with weights."""
    return tuple(
        layer
        for first, last in spans
        for layer in range(first, last + 1)
        if first == last or (layer < len(model.params) and "weights" in model.params[layer])
    )


@click.command(short_help="Write a model as an ONNX file in 8 bits, and state what is lost.")
@models.model_and_data
@options.out("The .onnx to write.")
@click.option(
    "--method",
    type=click.Choice(choices.RANGES),
    help="How to choose ranges of values.  [default: the best of the three]",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=_IMAGES,
    show_default=True,
    help="Use at most N pictures for the ranges, evenly spaced.",
)
@click.option(
    "--list",
    "key",
    type=click.Choice(["train", "valid"]),
    default="train",
    show_default=True,
    help="The list of a .data file to use for the ranges.",
)
@click.option(
    "--test",
    type=options.FILE,
    metavar="DATA",
    help="Labelled pictures to measure the loss on: a .data file, or an .npz.  [default: valid= of "
    "DATA, or all of an .npz]",
)
@click.option(
    "--keep",
    metavar="3,5-9",
    callback=_spans,
    help="Layers to leave in float32.",
)
@click.option(
    "--max-loss",
    type=click.FloatRange(min=0),
    metavar="POINTS",
    help="Largest allowed loss, in percentage points; if more is lost, leave layers in float32, as "
    "few as possible.",
)
@click.option(
    "--opset", type=int, default=choices.OPSET, show_default=True, help="ONNX opset version."
)
@click.option(
    "--head",
    type=click.Choice(choices.FORMS),
    default="raw",
    show_default=True,
    help="Detector output format, as in export; it is always float32.",
)
@click.option(
    "--batch",
    metavar="N|any",
    callback=options.batch_size,
    help="Batch size of the file.  [default: 1]",
)
@click.option(
    "--names",
    "names_file",
    type=options.FILE,
    metavar="FILE",
    help="Class names to store in the file, one per line.",
)
@options.fit("letterbox", "stretch", "crop")
@options.json
@options.quiet("the loss")
@click.pass_context
def quantize(
    ctx: click.Context,
    source: models.Source,
    data: str,
    out: str,
    force: bool,
    method: CalibrationMethod | None,
    images: int,
    key: str,
    test: str | None,
    keep: tuple[tuple[int, int], ...],
    max_loss: float | None,
    opset: int,
    head: Form,
    batch: int | Literal["any"] | None,
    names_file: str | None,
    fit: Fit | None,
    as_json: bool,
) -> None:
    """Write a model as an ONNX file in 8 bits, and state what is lost.

    Weights and what goes from layer to layer become integers of 8 bits; detection heads and
    everything else after the last convolution stay float32.  DATA shows which ranges the values
    have: a picture, a folder, a pattern such as 'photos/*.jpg', a list, a .data file of Darknet, or
    an .npz file with arrays x and y.  The loss is accuracy or mAP where pictures are labelled, else
    the agreement with what the model itself finds.  If more is lost than --max-loss allows, nothing
    is written and the exit code is 1.

    Example: darknet-bn quantize yolov3.cfg yolov3.weights coco.data -o yolov3-int8.onnx
    """
    from darknet_bn.predictions.inputs import own_fit_for_tests

    batches.require_kind(data)
    if not out.lower().endswith(".onnx"):
        raise click.UsageError(f"OUT is a name that ends in .onnx, not {out}")
    options.require_free([out], force=force, inputs=[*source.files, data, test, names_file])
    began = time.monotonic()
    model = source.load_for_pictures()
    way = fit or own_fit_for_tests(model)
    inputs = batches.load(model, data, choices.BATCH, images, key, way)
    labelled, dataset = _dataset(model, data, test)
    names = _names(names_file, model)
    with progress.stages() as stage:
        made = dn.quantize_onnx(
            model,
            out,
            inputs,
            dataset=dataset,
            fit=way,
            method=method,
            keep=_layers(model, keep),
            max_loss=max_loss,
            opset=opset,
            head=head,
            batch=batch,
            names=names,
            force=force,
            stage=stage,
        )
    seconds = time.monotonic() - began
    for note in made.notes:
        output.warning(note)
    facts = output.about(model, source.cfg, source.weights)
    facts |= {"data": data, "fit": None if batches.is_array(data) else way}
    facts |= {"test": labelled} | made.json()
    facts |= {"written": {"onnx": out}, "seconds": seconds}
    output.show(facts, list(_lines(model, made, data, way, given=fit is not None)), as_json=as_json)
    output.took_long(seconds)
    ctx.exit(1 if inputs.failed else 0)


def _dataset(model: dn.Model, data: str, test: str | None) -> tuple[str | None, dn.Dataset | None]:
    """Return the data set to measure the loss on, and its name; None if there are no labels."""
    name = data if test is None else test
    if test is None and not batches.is_array(data) and not _has_labels(model, data):
        return None, None
    return name, dn.load_dataset(name, model, train=False)


def _has_labels(model: dn.Model, data: str) -> bool:
    """Return whether a word names a ``.data`` file with labelled pictures to test with."""
    from darknet_bn.data.labels import label_path, other_label_paths
    from darknet_bn.data.lists import load_list

    if not data.lower().endswith(".data"):
        return False
    listed = dn.load_data(data)
    if "valid" not in listed.options:
        return False
    if not model.network.is_detector:
        return "labels" in listed.options
    pictures = [entry.path for entry in load_list(listed, "valid")]
    return any(
        os.path.isfile(path)
        for each in pictures
        for path in (label_path(each, model.dialect), *other_label_paths(each, model.dialect))
    )


def _names(file: str | None, model: dn.Model) -> tuple[str, ...] | None:
    if file is None:
        return None
    from darknet_bn.cli.export import count_classes

    return class_names.ClassNames(file, None).fit(count_classes(model))


def _lines(
    model: dn.Model, made: dn.Quantized, data: str, way: Fit, *, given: bool
) -> Iterator[output.Line | str]:
    yield output.dialect(model)
    if not batches.is_array(data):
        yield output.fit(model, way, given=given)
    yield from made.table(width(sys.stdout))
    errors = ", ".join(f"{each.method} {each.error:.2g}" for each in made.tries)
    yield f"ranges: {made.method}, from {_many(made.images)}"
    yield f"error of the outputs: {errors}"
    yield from _costly(made)
    if made.kept:
        plural = "s" * (len(made.kept) > 1)
        yield f"in float32: layer{plural} {_shortened(made.kept)}"
    part = 100 * made.bytes / made.float_bytes
    yield f"size: {made.float_bytes} -> {made.bytes} bytes ({part:.0f} %)"
    before, after = 1000 * made.float_seconds, 1000 * made.seconds
    yield f"speed: {before:.3g} -> {after:.3g} ms a picture, in ONNX Runtime here"
    loss = made.loss
    if loss.boxes is not None:
        yield f"boxes: {loss.found} of {loss.boxes} found again, {loss.added} added"
    yield output.Line(
        f"loss: {loss.points:.2f} points of {loss.measure}, {100 * loss.before:.2f} -> "
        f"{100 * loss.after:.2f} % on {_many(loss.images)}"
    )
    yield f"written: {output.printable(str(made.path))}"


def _costly(made: dn.Quantized) -> Iterator[str]:
    """Say which layers lose most in 8 bits, if leaving them out of it would help."""
    now = made.error
    if made.blocks and made.blocks[0].error < now:
        which = _span(made.blocks[0].layers)
        error = f"{made.blocks[0].error:.2g}"
        plural = "s" * (len(made.blocks[0].layers) > 1)
        yield f"most is lost in layer{plural} {which}: {error} with --keep {which}"


def _span(layers: Sequence[int]) -> str:
    """Return neighbours among the layers with weights as ``--keep`` takes them."""
    return f"{layers[0]}" if len(layers) == 1 else f"{layers[0]}-{layers[-1]}"


def _shortened(layers: Sequence[int]) -> str:
    """Return numbers in a line that is not too long."""
    shown = ", ".join(map(str, layers[:_NAMED]))
    return shown if len(layers) <= _NAMED else f"{shown} and {len(layers) - _NAMED} more"


def _many(images: int) -> str:
    return f"{images} image{'s' * (images != 1)}"
