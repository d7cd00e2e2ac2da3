"""``darknet-bn labels``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import arguments, choices, kinds, options, output, progress, tables
from darknet_bn.cli.terminal import RIGHT, WRONG

if TYPE_CHECKING:
    from darknet_bn.data.layouts.base import Finding, LabelledSet
    from darknet_bn.data.layouts.check import LabelReport
    from darknet_bn.data.layouts.write import Pictures

_SHOWN = 20  # findings that are printed
_HEADINGS = ("class", "boxes", "images", "median w x h")


@click.command(short_help="Check the labels of a data set, or convert them.")
@click.argument("data", type=options.FILE)
@click.argument("out", type=options.FILE, required=False)
@click.option("--to", type=click.Choice(choices.LAYOUTS), help="Convert: the layout to write.")
@click.option(
    "--pictures",
    type=click.Choice(["copy", "link", "none"]),
    help="Convert: copy the pictures into OUT, give them second names there (hard links, without "
    "more space), or write labels only.  [default: copy]",
)
@click.option(
    "--names",
    "names_file",
    type=options.FILE,
    metavar="FILE",
    help="Class names in the order of their numbers, one per line.  [default: as DATA has them]",
)
@click.option(
    "--voc-first",
    type=click.IntRange(0, 1),
    default=1,
    show_default=True,
    help="VOC: the number of the first pixel in the XML files.  With 0, corners are edges.",
)
@click.option(
    "-o",
    "--output",
    "listed",
    type=options.FILE,
    metavar="FILE",
    help="Check: write every finding to this file, one per line.",
)
@click.option(
    "--chart", type=options.FILE, metavar="FILE", help="Check: draw classes and sizes as an .svg."
)
@options.part("--tiny", "0.001", "Check: report boxes narrower or lower than this share.")
@click.option("--skip-pictures", is_flag=True, help="Check: do not read the pictures themselves.")
@click.option("--force", is_flag=True, help="Check: overwrite existing files.")
@options.json
@options.quiet("findings")
@click.pass_context
def labels(
    ctx: click.Context,
    data: str,
    out: str | None,
    to: str | None,
    pictures: Pictures | None,
    names_file: str | None,
    voc_first: int,
    listed: str | None,
    chart: str | None,
    tiny: float | None,
    skip_pictures: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Check the labels of a data set, or convert them.

    DATA is a .data file, a data.yaml of Ultralytics, a COCO .json, a CVAT .xml, or a folder: one
    with such a file, PASCAL VOC's XML, or pictures with label files next to them, as CVAT, Roboflow
    and FiftyOne export them.  With DATA alone, every bad line is listed, with its file and the
    reason; the exit code is 1 if there is any.  With OUT and --to, the labels are written into the
    new folder OUT; what cannot be used is reported and left out, and the exit code is 1.

    Example: darknet-bn labels voc.data coco --to coco
    """
    from darknet_bn.data.layouts.find import read_set

    kinds.require_local(data, out)
    if data == "check" and out is not None and to is None and not os.path.exists(data):
        raise click.UsageError(f"DATA alone is checked; try: {arguments.line([out])}")
    if (out is None) != (to is None):
        raise click.UsageError("missing argument: OUT" if out is None else "OUT needs --to")
    checks = {"-o": listed, "--chart": chart, "--tiny": tiny, "--skip-pictures": skip_pictures}
    given = [name for name, value in checks.items() if value not in (None, False)]
    if to is not None and given:
        raise click.UsageError(f"{given[0]} is for checking, without OUT and --to")
    if to is None and pictures is not None:
        raise click.UsageError("--pictures needs OUT and --to")
    names = None if names_file is None else dn.load_names(names_file)
    labelled = read_set(data, names, first=voc_first)
    if to is not None and out is not None:
        found = _convert(labelled, out, to, pictures or "copy", voc_first, as_json=as_json)
    else:
        targets = [each for each in (listed, chart) if each is not None]
        inputs = [each.labels for each in labelled.pictures]
        options.require_free(targets, force=force, inputs=[data, *inputs])
        found = _check(labelled, listed, chart, tiny, skip_pictures, force=force, as_json=as_json)
    ctx.exit(1 if found else 0)


def _convert(
    labelled: LabelledSet,
    out: str,
    to: str,
    pictures: Pictures,
    first: int,
    *,
    as_json: bool,
) -> bool:
    from darknet_bn.data.layouts.write import write_set
    from darknet_bn.values import counted

    done = write_set(labelled, out, to, pictures=pictures, first=first)
    notes = [*labelled.notes, *done.notes]
    facts: dict[str, Any] = {"data": labelled.place, "layout": labelled.layout, "to": to}
    facts |= {"images": done.pictures, "boxes": done.boxes, "copied": done.copied}
    facts |= {"notes": notes, "problems": _problems(labelled.findings)}
    boxes = counted(done.boxes, "box", "boxes")
    wrote = f"written: {counted(done.pictures, 'picture')}, {boxes} to {output.printable(out)}"
    lines: output.Lines = [
        f"data: {output.printable(labelled.describe())}",
        *(output.printable(each) for each in notes),
        *_findings(labelled.findings),
        wrote
        if done.copied == done.pictures
        else f"{wrote}; {counted(done.copied, 'picture')} copied",
    ]
    output.show(facts | {"written": done.file}, lines, as_json=as_json)
    return bool(labelled.findings)


def _check(
    labelled: LabelledSet,
    listed: str | None,
    chart: str | None,
    tiny: float | None,
    skip_pictures: bool,
    *,
    force: bool,
    as_json: bool,
) -> bool:
    from darknet_bn.data.layouts.chart import label_chart
    from darknet_bn.data.layouts.check import TINY, check_set
    from darknet_bn.formats.writing import write_files

    bar = progress.Bar("reading", None if skip_pictures else len(labelled.pictures))

    def after(count: int) -> None:
        for _ in range(count):
            bar.step()

    try:
        report = check_set(
            labelled,
            tiny=TINY if tiny is None else tiny,
            read_pictures=not skip_pictures,
            after=after,
        )
    finally:
        bar.hide()
    texts = {listed: _list(report), chart: label_chart(report)}
    writers = {
        Path(name): (lambda stream, text=text: stream.write(text.encode()))
        for name, text in texts.items()
        if name is not None
    }
    if writers:
        write_files(writers, force=force)
    output.show(
        {
            "data": report.place,
            "layout": report.layout,
            "images": report.pictures,
            "boxes": report.boxes,
            "images_without_boxes": report.without_boxes,
            "classes": report.classes,
            "counts": report.counts,
            "problems": _problems(report.findings),
            "notes": report.notes,
            "ok": report.ok,
            "written": {"list": listed, "chart": chart},
        },
        _lines(report, labelled, [str(each) for each in writers]),
        as_json=as_json,
    )
    return not report.ok


def _lines(report: LabelReport, labelled: LabelledSet, written: Sequence[str]) -> output.Lines:
    from darknet_bn.data.layouts.check import KINDS

    lines: output.Lines = [
        f"data: {output.printable(labelled.describe())}",
        *(output.printable(each) for each in report.notes),
    ]
    rows = [
        (
            output.printable(each.name),
            f"{each.boxes}",
            f"{each.pictures}",
            "-" if each.width is None else f"{each.width:.3f} x {each.height:.3f}",
        )
        for each in report.classes
    ]
    lines += tables.aligned([_HEADINGS, *rows], "<>>>")
    lines.append(f"images without boxes: {report.without_boxes}")
    lines += _findings(report.findings)
    if report.ok:
        return [*lines, output.Line("nothing is wrong", RIGHT, found=False), *_written(written)]
    counts = [(KINDS[kind][0], f"{count}", KINDS[kind][1]) for kind, count in report.counts.items()]
    lines += map(output.Line, tables.aligned([("found", "times", "Darknet"), *counts], "<><"))
    return [*lines, *_written(written)]


def _written(files: Sequence[str]) -> list[str]:
    names = " and ".join(output.printable(each) for each in files)
    return [f"written: {names}"] if names else []


def _findings(findings: Sequence[Finding]) -> Iterator[output.Line]:
    for each in findings[:_SHOWN]:
        yield output.Line(output.printable(str(each.error)), WRONG)
    if len(findings) > _SHOWN:
        yield output.Line(f"and {len(findings) - _SHOWN} more; -o FILE lists all of them", WRONG)


def _list(report: LabelReport) -> str:
    """Return every finding on a line of its own, with its kind."""
    return "".join(
        f"{each.kind}: {output.printable(str(each.error))}\n" for each in report.findings
    )


def _problems(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{"kind": each.kind} | output.facts(each.error) for each in findings]
