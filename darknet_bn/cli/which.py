"""``darknet-bn which``."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

import darknet_bn as dn
from darknet_bn.cli import kinds, options, output, pictures, tables
from darknet_bn.model.model_files import files_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from darknet_bn.model.which import FittingCfg, WhichCfg

_MOST = 12  # cfgs that are listed; --json lists all


@click.command(short_help="Find which cfg fits a weights file.")
@click.argument("words", nargs=-1, required=True, type=options.FILE, metavar="WEIGHTS")
@click.option(
    "--cfg",
    "folder",
    type=options.FOLDER,
    metavar="FOLDER",
    help="Compare with the cfgs of a folder first.  [default: with published cfgs]",
)
@click.option(
    "--pictures",
    "word",
    type=options.FILE,
    metavar="PICTURES",
    help="Run the cfgs of FOLDER that fit equally well on a picture, a folder or a pattern: the "
    "statistics of batch norm show which activations the weights were trained with.",
)
@options.json
@options.quiet("the cfgs that fit")
@click.pass_context
def which(
    ctx: click.Context,
    words: Sequence[str],
    folder: str | None,
    word: str | None,
    as_json: bool,
) -> None:
    """Find which cfg fits a weights file.

    The file holds no names and no shapes, but nearly every published net has a size of its own.
    Other numbers of classes, backbone files such as darknet53.conv.74, and files without a header
    are recognised too.  Only the header is read, unless pictures are given.  The exit code is 1 if
    nothing fits.

    Example: darknet-bn which yolov3-tiny.weights
    """
    kinds.require_local(*words, folder, word)
    weights = _weights(words)
    if folder is not None and os.path.isfile(folder):
        pair = shlex.join(["darknet-bn", "check", folder, weights])
        raise click.UsageError(f"--cfg takes a folder of cfgs; whether this one fits: {pair}")
    if word is not None and folder is None:
        raise click.UsageError("--pictures needs --cfg, the folder of the cfgs to run")
    paths = () if word is None else pictures.find([word]).paths
    if paths:
        from darknet_bn.pictures.images import require_pillow

        require_pillow()
    found = dn.which_cfg(weights, folder, pictures=paths)
    head = found.header
    facts = {
        "weights": weights,
        "folder": folder,
        "header": head and {"version": head.version, "bytes": head.size, "seen": head.seen},
        "parameters": found.floats,
        "fits": found.fits,
        "differences": found.differences,
        "pictures": len(paths),
        "shifts": found.shifts,
        "nearest": found.nearest,
        "off_bytes": found.off,
        "likely": [name for each in found.likely for name in each.names],
    }
    output.show(facts, list(_lines(found, folder)), as_json=as_json)
    ctx.exit(0 if found.fits else 1)


def _weights(words: Sequence[str]) -> str:
    """Return the file whose cfg is looked for; the stem of a model names its weights."""
    by_kind = {kinds.kind_of(each): each for each in words}
    name, cfg = words[0], by_kind.get("cfg")
    if len(words) == 2 and cfg is not None and "weights" in by_kind:
        pair = shlex.join(["darknet-bn", "check", cfg, by_kind["weights"]])
        raise click.UsageError(f"expected WEIGHTS alone; whether this pair fits: {pair}")
    if len(words) > 1:
        raise click.UsageError(f"expected WEIGHTS alone; unexpected argument: {words[1]}")
    if cfg is not None:
        about = shlex.join(["darknet-bn", "info", cfg])
        raise click.UsageError(
            f"expected WEIGHTS, whose cfg is looked for; {cfg} is a cfg, and this shows it: {about}"
        )
    return files_of(name)[1] if kinds.kind_of(name) == "model" else name


def _lines(found: WhichCfg, folder: str | None) -> Iterator[output.Line | str]:
    from darknet_bn.values import counted

    head = found.header
    if head is None:
        yield "header: none"
    else:
        size = f"version {head.version}, {head.size} bytes"
        yield f"header: {size}; {head.seen} images seen in training"
    yield f"size: {found.floats} parameters"
    if not found.fits:
        yield output.Line(
            "nothing fits: no published cfg has this size, with any number of classes"
        )
        if found.nearest is not None:
            off = f"{counted(abs(found.off), 'byte')} {'fewer' if found.off < 0 else 'more'} than"
            why = "; is the file cut off?" if found.off < 0 else ""
            yield output.Line(f"nearest: {off} {_described(found.nearest)}{why}")
        return
    if folder is not None and found.best[0].programs:
        yield output.Line(f"nothing in {output.printable(folder)} fits; published cfgs:")
    for each in found.best[:_MOST]:
        yield output.Line(f"fits: {_described(each)}")
    if len(found.best) > _MOST:
        yield output.Line(f"and {len(found.best) - _MOST} more; --json lists all")
    others = len(found.fits) - len(found.best)
    if others:
        yield f"less likely: {others} more of this size; --json lists all"
    if found.differences:
        yield "the size does not tell them apart; they differ in:"
        yield from (f"  {output.printable(each)}" for each in found.differences)
    if found.shifts:
        rows = [("cfg", "batch norms", "shift / sigma")]
        rows += [
            (row.file, f"{row.layers}", _shift(row.shift, row.problem)) for row in found.shifts
        ]
        yield from tables.aligned(rows, "<><")
        yield from map(output.Line, _verdict(found))


def _described(fit: FittingCfg) -> str:
    text = output.printable(fit.summary)
    if fit.programs:
        text += f" ({', '.join(fit.programs)})"
    if fit.holds == "other classes":
        text += f", whose cfg has {fit.cfg_classes}"
    return f"{text}: {fit.layers} layers, input {fit.input}"


def _shift(shift: float | None, problem: str | None) -> str:
    return output.printable(problem or "none") if shift is None else f"{shift:#.3g}"


def _verdict(found: WhichCfg) -> Iterator[str]:
    names = [output.printable(each.summary) for each in found.likely]
    if len(names) == 1:
        yield f"pictures show: {names[0]}"
        return
    yield f"pictures show: unknown, {len(names)} remain:"
    yield from (f"  {each}" for each in names)
