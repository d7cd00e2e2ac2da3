"""``darknet-bn diff``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import models, options, output, tables
from darknet_bn.cli.terminal import RIGHT, WRONG

if TYPE_CHECKING:
    from darknet_bn.checks.diff import ModelDiff

_MOST = 40  # lines of the cfg that are printed
_HEADINGS = ("layer", "section", "array", "values", "changed", "largest", "relative", "mean")
_SIDES = "><<>>>>>"


@click.command(short_help="Show how two models differ: cfg, layers and values.")
@click.argument("names", nargs=-1, type=options.FILE, metavar="A B")
@models.dialect
@options.json
@options.quiet("what differs")
@click.pass_context
def diff(ctx: click.Context, names: Sequence[str], dialect: str, as_json: bool) -> None:
    """Show how two models differ: cfg, layers and values.

    A and B are models: each is a cfg and its weights, or one word for both.  Three words are a cfg
    and two weights files for it.  Nothing is run.  The exit code is 1 if something differs.

    Example: darknet-bn diff before.cfg before.weights after.cfg after.weights
    """
    one, two = (source.load() for source in _sources(names, dialect))
    found = dn.diff_models(one, two)
    facts = {
        "files": [each.file or "" for each in (one, two)],
        "same": found.same,
        "header": found.header,
        "cfg": found.cfg,
        "layers": found.layers,
        "compared": found.compared,
        "arrays": found.arrays,
    }
    output.show(facts, list(_lines(found)), as_json=as_json)
    ctx.exit(0 if found.same else 1)


def _sources(names: Sequence[str], dialect: str) -> list[models.Source]:
    parts: list[Sequence[str]]
    match len(names):
        case 2:
            parts = [names[:1], names[1:]]
        case 3:
            parts = [names[:2], (names[0], names[2])]
        case 4:
            parts = [names[:2], names[2:]]
        case _:
            raise click.UsageError("expected two models: A B, CFG A B, or CFG A CFG B")
    return [models.Source(*models.find_files(each), dialect, False) for each in parts]


def _lines(found: ModelDiff) -> Iterator[output.Line]:
    from darknet_bn.values import counted

    for text in found.header:
        yield output.Line(text)
    if found.cfg:
        yield output.Line(f"cfg: {counted(len(found.cfg), 'line')}")
        for text in found.cfg[:_MOST]:
            yield output.Line(f"  {output.printable(text)}")
        if len(found.cfg) > _MOST:
            yield output.Line(f"  and {len(found.cfg) - _MOST} more")
    for layer in found.layers:
        number = _number(layer.layer, layer.other_layer)
        yield output.Line(f"layer {number} [{layer.section}]: {output.printable(layer.what)}")
    if found.arrays:
        rows = [
            (
                _number(each.layer, each.other_layer),
                each.section,
                each.name,
                f"{each.values}",
                f"{each.changed}",
                f"{each.largest:#.3g}",
                f"{each.relative:#.3g}",
                f"{each.mean:.3g} -> {each.other_mean:.3g}",
            )
            for each in found.arrays
        ]
        for line in tables.aligned([_HEADINGS, *rows], _SIDES, spare=(7, 3)):
            yield output.Line(line)
    if found.same:
        same = f"the same: the cfg, and {counted(found.compared, 'array')}"
        yield output.Line(same, RIGHT, found=False)
    else:
        yield output.Line(
            f"different: {counted(len(found.cfg), 'line')} of the cfg, {len(found.arrays)} of "
            f"{counted(found.compared, 'array')}",
            WRONG,
        )


def _number(layer: int | None, other: int | None) -> str:
    """Return the number of a layer, or both if it has another one in the other model."""
    numbers = dict.fromkeys(each for each in (layer, other) if each is not None)
    return " -> ".join(map(str, numbers))
