"""``darknet-bn calibrate``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import batches, choices, models, options, output, progress, tables

if TYPE_CHECKING:
    from darknet_bn.pictures.prepare import Fit
    from darknet_bn.transforms.calibrate import CalibratedLayer, Method

_HEADINGS = ("layer", "section", "channels", "mean shift / sigma", "variance new / old")
_WORDS = {"layerwise": "layer by layer", "one-pass": "in one pass"}


@click.command(short_help="Recompute batch-norm statistics from pictures.")
@models.model_and_data
@options.out("Write OUT.weights; the cfg is unchanged.")
@click.option(
    "--method",
    type=click.Choice(list(_WORDS)),
    help="layerwise: one layer at a time, as in inference; one-pass: batch statistics, as in "
    "training.  [default: layerwise, unless it takes too long]",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=choices.BATCH,
    show_default=True,
    help="Number of pictures to compute at once.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    help="Use at most N pictures, evenly spaced.  [default: all]",
)
@click.option(
    "--list",
    "key",
    type=click.Choice(["train", "valid"]),
    default="train",
    show_default=True,
    help="The list of a .data file to use.",
)
@options.fit("letterbox", "stretch", "crop")
@options.json
@options.quiet("the layers that keep their statistics")
@click.pass_context
def calibrate(
    ctx: click.Context,
    source: models.Source,
    data: str,
    out: str,
    force: bool,
    method: Method | None,
    batch: int,
    images: int | None,
    key: str,
    fit: Fit | None,
    as_json: bool,
) -> None:
    """Recompute batch-norm statistics from pictures.

    Use it if the rolling statistics no longer match the model: the weights were averaged, pruned or
    quantised, or the pictures are of a different kind.  DATA is a picture, a folder, a pattern such
    as 'photos/*.jpg', a list (a .txt file with one path per line, or '-' for standard input), a
    Darknet .data file, a set of labels as in 'darknet-bn labels', or an .npz file with arrays x and
    y.  Labels are not used.  The weights themselves do not change.  Pictures that cannot be read
    are reported and skipped; the exit code is then 1.

    Example: darknet-bn calibrate yolov3.cfg yolov3.weights photos -o yolov3-calibrated
    """
    from darknet_bn.predictions.inputs import own_fit_for_tests

    batches.require_kind(data)
    target = options.stem(out, ".weights") + ".weights"
    options.require_free([target], force=force, inputs=[*source.files, data])
    model = source.load_for_pictures()
    way = fit or own_fit_for_tests(model)
    inputs = batches.load(model, data, batch, images, key, way)
    started = time.monotonic()
    bars: list[progress.Bar] = []

    def tell(done: int, of: int) -> None:
        if not bars:
            bars.append(progress.Bar("calibrating", of))
        bars[0].step()

    try:
        calibrated, report = dn.calibrate(model, inputs, method=method, tell=tell)
    finally:
        for each in bars:
            each.hide()
    seconds = time.monotonic() - started
    dn.save(calibrated, None, target, force=force)
    facts = output.about(model, source.cfg, source.weights)
    facts |= {
        "data": data,
        "fit": None if batches.is_array(data) else way,
        "method": report.method,
        "images": report.images,
    }
    facts |= {"batch": batch, "work": report.work, "layers": report.layers, "seconds": seconds}
    facts["written"] = {"weights": target}
    moved = [row for row in report.layers if row.reason is None]
    many = f"{report.images} image{'s' * (report.images != 1)}"
    lines: output.Lines = [
        output.dialect(model),
        *([] if batches.is_array(data) else [output.fit(model, way, given=fit is not None)]),
        *tables.aligned([_HEADINGS, *map(_cells, moved)], "><>>>"),
        *(
            output.Line(f"layer {row.layer} [{row.section}] keeps its statistics: {row.reason}")
            for row in report.layers
            if row.reason is not None
        ),
        f"calibrated: {len(moved)} of {len(report.layers)} batch norms, {_WORDS[report.method]}, "
        f"with {many} in batches of {batch}",
        f"written: {output.printable(target)}; the cfg is unchanged",
    ]
    output.show(facts, lines, as_json=as_json)
    output.took(seconds, report.images, "example" if batches.is_array(data) else "picture")
    ctx.exit(1 if inputs.failed else 0)


def _cells(row: CalibratedLayer) -> tuple[str, ...]:
    ratio = f"{row.variance_ratio_min:#.3g} to {row.variance_ratio_max:#.3g}"
    return f"{row.layer}", row.section, f"{row.channels}", f"{row.mean_shift:#.3g}", ratio
