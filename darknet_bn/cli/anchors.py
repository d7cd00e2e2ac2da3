"""``darknet-bn anchors``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import arguments, kinds, models, options, output, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from darknet_bn.data.anchors import FittedAnchors, HeadAnchors

_HEADINGS = ("layer", "section", "grid", "mask", "filters before it", "boxes")


@click.command(short_help="Fit the anchors of a cfg to labelled pictures.")
@click.argument("cfg", type=options.FILE)
@click.argument("data", type=options.FILE)
@options.out(
    "Write the cfg with the new anchors to OUT.cfg; without it, only show them.", required=False
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="Number of anchors of all heads together.  [default: as many as now]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the starts of k-means.",
)
@click.option(
    "--list",
    "key",
    type=click.Choice(["train", "valid"]),
    default="train",
    show_default=True,
    help="The list of a .data file to use.",
)
@models.dialect
@options.json
@options.quiet("the anchors")
def anchors(
    cfg: str,
    data: str,
    out: str | None,
    force: bool,
    count: int | None,
    seed: int,
    key: str,
    dialect: str,
    as_json: bool,
) -> None:
    """Fit the anchors of a cfg to labelled pictures.

    DATA is a Darknet .data file, or an .npz file with arrays x and y.  The anchors are fitted by
    k-means with the distance 1 - IoU, to the boxes as the net sees them in training.  The largest
    go to the head with the coarsest grid.  anchors=, mask= and num= of all heads and filters=
    before them are changed together; all other lines stay.  With other anchors, a net has to be
    trained again.

    Example: darknet-bn anchors yolov4-tiny.cfg voc.data -o yolov4-tiny-voc
    """
    from darknet_bn.data.anchors import anchor_heads
    from darknet_bn.data.kinds import require_kind
    from darknet_bn.formats.writing import write_files

    arguments.require_order([cfg, data], (arguments.CFG, arguments.DATA))
    kinds.require_local(cfg)
    require_kind(data)
    target = None if out is None else options.stem(out, ".cfg") + ".cfg"
    if target is not None:
        options.require_free([target], force=force, inputs=[cfg, data])
    model = models.without_weights(cfg, dialect)
    anchor_heads(model.cfg, model.network)
    examples = dn.load_dataset(data, model, train=key == "train")
    fitted = dn.fit_anchors(model, examples, count=count, seed=seed)
    if target is not None:
        write_files({Path(target): lambda stream: stream.write(fitted.cfg.to_bytes())}, force=force)
    facts = output.about(model, cfg, None)
    facts |= {
        "data": data,
        "seed": seed,
        "boxes": fitted.boxes,
        "unit": fitted.unit,
        "old_anchors": fitted.old_anchors,
        "anchors": fitted.anchors,
        "old_iou": fitted.old_iou,
        "iou": fitted.iou,
        "kept": fitted.kept,
        "heads": fitted.heads,
        "written": target,
    }
    output.show(facts, [output.dialect(model), *_lines(fitted, target)], as_json=as_json)


def _lines(fitted: FittedAnchors, target: str | None) -> Iterator[output.Line | str]:
    yield f"boxes: {fitted.boxes}"
    yield f"old anchors: {_pairs(fitted.old_anchors)} {fitted.unit}, mean IoU {fitted.old_iou:.4f}"
    if fitted.kept:
        yield output.Line("anchors: no better ones were found; the old ones are kept")
    else:
        text = f"{_pairs(fitted.anchors)} {fitted.unit}, mean IoU {fitted.iou:.4f}"
        yield output.Line(f"anchors: {text}")
    yield from tables.aligned([_HEADINGS, *map(_cells, fitted.heads)], "><<<<>")
    if target is not None:
        yield f"written: {output.printable(target)}"
    else:
        yield "nothing was written; -o OUT writes the cfg"


def _pairs(pairs: tuple[tuple[float, float], ...]) -> str:
    return " ".join(f"{width:.6g},{height:.6g}" for width, height in pairs)


def _cells(row: HeadAnchors) -> tuple[str, ...]:
    mask = [",".join(map(str, each)) for each in (row.old_mask, row.mask)]
    filters = [f"{row.old_filters}", f"{row.filters}"]
    width, height = row.cells
    return (
        f"{row.layer}",
        row.section,
        f"{width} x {height}",
        *(" -> ".join(dict.fromkeys(each)) for each in (mask, filters)),
        f"{row.old_boxes} -> {row.boxes}",
    )
