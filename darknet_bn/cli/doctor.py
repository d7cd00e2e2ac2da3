"""``darknet-bn doctor``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import batches, class_names, models, options, output, pictures, tables
from darknet_bn.cli.check import place_of
from darknet_bn.cli.terminal import ODD, RIGHT, WRONG

if TYPE_CHECKING:
    from darknet_bn.checks.doctor.diagnosis import Diagnosis, SeenLayer
    from darknet_bn.pictures.batches import Batches
    from darknet_bn.pictures.prepare import Fit

_FLOATS = 1 << 21  # of the inputs in a batch, whose outputs are held together
_LEAST, _MOST = 4, 64  # pictures in a batch: its moments are those of fewer values otherwise
_COLOURS = {"wrong": WRONG, "unknown": ODD, "note": ODD}
_HEADINGS = ("layer", "section", "values", "shift / sigma", "largest", "nats")
_SIDES = "><>>>>"


@click.command(short_help="Say what is wrong with a model that loads, and detects nothing.")
@models.model_and_pictures
@class_names.names_and_data
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Use at most N pictures, evenly spaced.",
)
@options.fit("letterbox", "stretch", "crop")
@options.json
@options.quiet("the findings")
@click.pass_context
def doctor(
    ctx: click.Context,
    source: models.Source,
    words: Sequence[str],
    names: class_names.ClassNames,
    images: int,
    fit: Fit | None,
    as_json: bool,
) -> None:
    """Say what is wrong with a model that loads, and detects nothing.

    Without PICTURE, the values and the cfg are looked at.  With a few pictures of the kind that the
    model is for, or an .npz file with an array x, what each batch norm sees is compared with its
    rolling statistics, which say what it saw in training: a wrong range of values, activation
    function or order of channels shows, and no labels are needed.  The exit code is 1 if something
    is wrong.

    Example: darknet-bn doctor yolov3-tiny.cfg yolov3-tiny.weights photos
    """
    from darknet_bn.pictures.prepare import own_fit

    model = source.load_for_pictures()
    way = fit or own_fit(model)
    inputs = _inputs(model, words, images, way) if words else ()
    others: dict[str, Batches] = {}
    if words and model.network.is_detector and not batches.is_array(words[0]):
        ways: tuple[Fit, ...] = ("letterbox", "stretch")
        others = {each: _inputs(model, words, images, each) for each in ways if each != way}
    found = dn.examine(model, inputs, names=names.load(), others=others)
    facts = output.about(model, source.cfg, source.weights)
    facts |= {"fit": way if words else None, "images": found.images, "ok": not found.wrong}
    facts |= {"findings": found.findings, "layers": found.layers}
    lines: output.Lines = [output.dialect(model)]
    if words:
        if not batches.is_array(words[0]):
            lines.append(output.fit(model, way, given=fit is not None))
        lines += tables.aligned([_HEADINGS, *map(_cells, found.layers)], _SIDES)
    for group in _grouped(found.findings):
        lines += _said(group)
    if not found.findings:
        lines.append(output.Line("nothing is wrong", RIGHT))
    elif not found.wrong:
        lines.append(output.Line("nothing is wrong for certain", RIGHT))
    output.show(facts, lines, as_json=as_json)
    ctx.exit(1 if found.wrong else 0)


def _inputs(model: dn.Model, words: Sequence[str], images: int, way: Fit) -> Batches:
    from darknet_bn.pictures.batches import picture_batches
    from darknet_bn.pictures.images import require_pillow

    at_once = min(max(_FLOATS // model.network.input.size, _LEAST), _MOST)
    if len(words) == 1 and batches.is_array(words[0]):
        return batches.load(model, words[0], at_once, images, "valid", way)
    require_pillow()
    found = pictures.find(words)
    if found.problems:
        raise found.problems[0].error
    paths = found.paths
    few = min(images, len(paths))
    chosen = [paths[number * len(paths) // few] for number in range(few)]
    return picture_batches(model, chosen, at_once, way)


def _cells(row: SeenLayer) -> tuple[str, ...]:
    figures = (f"{each:#.3g}" for each in (row.shift, row.worst_shift, row.divergence))
    return f"{row.layer}", row.section, f"{row.values}", *figures


def _grouped(findings: Iterable[Diagnosis]) -> Iterable[list[Diagnosis]]:
    """Return findings in order, those that say the same together."""
    groups: dict[tuple[str, str, str], list[Diagnosis]] = {}
    for each in findings:
        groups.setdefault((each.verdict, each.what, each.do), []).append(each)
    return groups.values()


def _said(group: Sequence[Diagnosis]) -> Iterator[output.Line | str]:
    """Yield what some layers have in common, and below it what to do."""
    each = group[0]
    layers = [(of.layer, of.section) for of in group if of.layer is not None and of.section]
    place = f"{place_of(layers)}: " if layers else ""
    colour = _COLOURS[each.verdict]
    yield from output.folded(output.Line(f"{each.verdict}: {place}{each.what}", colour))
    if each.do:
        yield from output.folded(output.Line(f"  to do: {each.do}"), "    ")
