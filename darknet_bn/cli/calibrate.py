"""``darknet-bn calibrate``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import choices, models, options, output, pictures, progress, tables

if TYPE_CHECKING:
    from darknet_bn.arrays import F32
    from darknet_bn.pictures.batches import Batches
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
    as 'photos/*.jpg', a Darknet .data file, or an .npz file with arrays x and y.  Labels are not
    read.  The weights themselves do not change.  Pictures that cannot be read are reported and
    skipped; the exit code is then 1.

    Example: darknet-bn calibrate yolov3.cfg yolov3.weights photos -o yolov3-calibrated
    """
    from darknet_bn.predictions.evaluation import own_fit_for_tests

    _require_kind(data)
    target = options.stem(out, ".weights") + ".weights"
    options.require_free([target], force=force, inputs=[*source.files, data])
    model = source.load_for_pictures()
    way = fit or own_fit_for_tests(model)
    batches = _batches(model, data, batch, images, key, way)
    started = time.monotonic()
    bars: list[progress.Bar] = []

    def tell(done: int, of: int) -> None:
        if not bars:
            bars.append(progress.Bar("calibrating", of))
        bars[0].step()

    try:
        calibrated, report = dn.calibrate(model, batches, method=method, tell=tell)
    finally:
        for each in bars:
            each.hide()
    seconds = time.monotonic() - started
    dn.save(calibrated, None, target, force=force)
    facts = output.about(model, source.cfg, source.weights)
    facts |= {
        "data": data,
        "fit": None if _is_array(data) else way,
        "method": report.method,
        "images": report.images,
    }
    facts |= {"batch": batch, "work": report.work, "layers": report.layers, "seconds": seconds}
    facts["written"] = {"weights": target}
    moved = [row for row in report.layers if row.reason is None]
    many = f"{report.images} image{'s' * (report.images != 1)}"
    lines: output.Lines = [
        output.dialect(model),
        *([] if _is_array(data) else [output.fit(model, way, given=fit is not None)]),
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
    output.took(seconds, report.images, "example" if _is_array(data) else "picture")
    ctx.exit(1 if batches.failed else 0)


def _cells(row: CalibratedLayer) -> tuple[str, ...]:
    ratio = f"{row.variance_ratio_min:#.3g} to {row.variance_ratio_max:#.3g}"
    return f"{row.layer}", row.section, f"{row.channels}", f"{row.mean_shift:#.3g}", ratio


def _is_array(data: str) -> bool:
    return data.lower().endswith(".npz")


def _require_kind(data: str) -> None:
    """Check that a word names pictures or a data set."""
    from darknet_bn.data.kinds import KINDS, VIDEOS, is_url, what_to_do

    where, expected = dn.Where(file=data), "a picture, a folder, a .data or an .npz file"
    suffix = Path(data).suffix.lower()
    if not is_url(data):
        if pictures.may_be(data) or suffix in KINDS:
            return
        if not suffix and not os.path.exists(data):
            raise dn.DarknetError("no such file", where=where, expected=expected)
    known = is_url(data) or suffix in (".txt", ".npy", *VIDEOS)
    hint = what_to_do(data) if known else "give pictures only, such as 'photos/*.jpg'"
    raise dn.DarknetError(f"expected {expected}", where=where, hint=hint)


def _batches(
    model: dn.Model, data: str, batch: int, images: int | None, key: str, fit: Fit
) -> Batches:
    """Return the inputs that a command line names."""
    import numpy as np

    from darknet_bn.data.lists import load_list
    from darknet_bn.pictures.batches import Batches, picture_batches
    from darknet_bn.pictures.images import require_pillow

    if _is_array(data):
        examples = dn.load_dataset(data, model, train=False)
        chosen = _some(len(examples), images)
        rng = np.random.default_rng(0)  # nothing is random without augmentation

        def load(numbers: range) -> F32:
            x, _ = examples.batch(
                [chosen[number] for number in numbers], rng, shape=model.network.input
            )
            return x

        return Batches(len(chosen), batch, load)
    require_pillow()
    if data.lower().endswith(".data"):
        paths: Sequence[str] = [entry.path for entry in load_list(dn.load_data(data), key)]
    else:
        paths = pictures.find([data]).paths
    return picture_batches(model, [paths[each] for each in _some(len(paths), images)], batch, fit)


def _some(count: int, wanted: int | None) -> list[int]:
    """Return ``wanted`` numbers below ``count``, evenly spaced; all if there are no more."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [number * count // wanted for number in range(wanted)]
