"""``darknet-bn edit prune``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import options, output, tables
from darknet_bn.cli.calibrated import calibrated, pictures_to_calibrate
from darknet_bn.cli.edited import More, Wanted, common, finish
from darknet_bn.cli.options import FILE

if TYPE_CHECKING:
    from darknet_bn.arrays import F32
    from darknet_bn.transforms.prune import PrunedLayer, Pruning

_HEADINGS = ("layer", "section", "channels", "kept", "why not fewer")


def _share(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is not valid (expected 70%, or 0.7)") from error
    if not 0 < share <= 1:
        raise click.BadParameter("must be above 0 %, and at most 100 %")
    return share


@click.command("prune")
@click.option(
    "--keep", metavar="N%", callback=_share, help="Keep this share of the channels, as 70% or 0.7."
)
@click.option(
    "--scale-below",
    type=click.FloatRange(min=0),
    metavar="X",
    help="Remove channels whose scale is not larger; with 0, only constant ones.",
)
@click.option(
    "--exact", is_flag=True, help="Keep channels whose removal would change the border of a layer."
)
@pictures_to_calibrate
@click.option(
    "--data",
    type=FILE,
    metavar="DATA",
    help="Measure mAP, or accuracy, before and after each step on these labelled pictures.",
)
@common
def edit_prune(
    wanted: Wanted,
    keep: float | None,
    scale_below: float | None,
    exact: bool,
    pictures: str | None,
    images: int | None,
    data: str | None,
) -> None:
    """Remove the channels with the smallest scales in batch norm.

    First the scales become 0, which changes what is computed.  Then the channels are removed: they
    are constant, and the constant is put into the means or biases of what reads them.  That changes
    nothing but the border of layers that pad with 0 what was another constant.  With --pictures,
    batch norm gets new statistics for what is left.  Channels that [shortcut] adds, or that a
    convolution with a group for each reads, are removed together.  Outputs, and what recurrent
    layers and layers with shared weights read, stay as they are.

    Example: darknet-bn edit prune net.cfg net.weights --keep 70% --pictures photos -o net-70
    """
    from darknet_bn.checks.edit_prune import of_pruned_layers, of_pruned_outputs, prove_layers

    if (keep is None) == (scale_below is None):
        raise click.UsageError("expected --keep or --scale-below, and not both")
    targets = wanted.targets() or []
    options.require_free(targets, force=wanted.force, inputs=[pictures, data])
    model = wanted.source.load()
    pruning = dn.prune_channels(model, keep=keep, scale_below=scale_below, exact=exact)
    proof = prove_layers(pruning, tolerance=wanted.tolerance)
    error = _error(pruning, wanted.inputs(model))
    edited, steps = pruning.model, {"before": model, "scales of 0": pruning.silenced}
    steps["pruned"] = edited
    lines: list[output.Line | str] = [*_lines(pruning, error, wanted.picture)]
    if pictures is not None:
        edited, line = calibrated(edited, pictures, images)
        steps["calibrated"] = edited
        lines.append(line)
    results = {} if data is None else {name: _measured(data, each) for name, each in steps.items()}
    lines += [output.Line(f"{name}: {text}") for name, (text, _) in results.items()]
    plain = pictures is None and not pruning.at_the_border
    facts = {
        "pruned": pruning.layers,
        "removed": pruning.removed,
        "channels": pruning.channels,
        "threshold": pruning.threshold,
        "constant": pruning.constant,
        "border": list(pruning.at_the_border),
        "border_error": error,
        "steps": [{"step": name, "value": value} for name, (_, value) in results.items()],
    }
    finish(
        "prune",
        wanted,
        model,
        edited,
        of_pruned_outputs(pruning) if plain else of_pruned_layers(pruning),
        More(facts=facts, lines=lines),
        against=pruning.silenced if plain else None,
        proof=None if plain else proof,
    )


def _error(pruning: Pruning, inputs: Mapping[str, F32]) -> float:
    """Return by how much outputs differ from those with scales of 0, at borders mostly."""
    from darknet_bn.checks.edit import Claim, prove_edit

    outputs = {layer: layer for layer in pruning.model.network.outputs}
    claim = Claim(words="", layers=outputs, allowed=float("inf"))
    return prove_edit(pruning.silenced, pruning.model, claim, inputs).worst.relative


def _lines(pruning: Pruning, error: float, picture: str | None) -> Iterator[str]:
    yield from tables.aligned([_HEADINGS, *map(_cells, pruning.layers)], "><>><")
    yield (
        f"removed: {pruning.removed} of {pruning.channels} channels, with scales up to "
        f"{pruning.threshold:.3g}; {pruning.constant} of them were constant"
    )
    if pruning.at_the_border:
        layers = ", ".join(map(str, pruning.at_the_border))
        given = "random values" + ("" if picture is None else " and the picture")
        several = "s" * (len(pruning.at_the_border) > 1)
        yield (
            f"border: layer{several} {layers} pad with 0 where a constant was; on {given} outputs "
            f"differ by up to {error:.2g} of the largest value"
        )


def _cells(row: PrunedLayer) -> tuple[str, ...]:
    why = "" if row.reason is None else f"{row.fixed} fixed: {row.reason}"
    return f"{row.layer}", row.section, f"{row.channels}", f"{row.kept}", why


def _measured(data: str, model: dn.Model) -> tuple[str, float]:
    """Return the accuracy or the mAP of a model, in words and as a number."""
    report = dn.evaluate(model, dn.load_dataset(data, model, train=False))
    if isinstance(report, dn.Accuracy):
        return f"top 1 {report.top_1:.2%} of {report.images} images", report.top_1
    name = f"mAP@{report.iou_threshold:.2f}"
    return f"{name} {report.mean:.2%} on {report.pictures} pictures", report.mean
