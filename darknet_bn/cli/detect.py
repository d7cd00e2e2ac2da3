"""``darknet-bn detect``."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import (
    choices,
    class_names,
    detecting,
    models,
    moving,
    moving_run,
    one_by_one,
    options,
    output,
    pictures,
    places,
    rows,
    targets,
)

if TYPE_CHECKING:
    from darknet_bn.pictures.prepare import Fit

_COLUMNS = ("file", "class", "name", "probability", *detecting.SIDES)


@click.command()
@models.model_and_pictures_or_video
@class_names.names_and_data
@options.part("--thresh", "the dialect's, 0.5 or 0.25", "Minimum probability.")
@options.part(
    "--nms", f"{choices.OVERLAP}", "IoU threshold for non-maximum suppression; 0 disables it."
)
@options.fit("letterbox", "stretch")
@options.engine
@options.recursive
@click.option("--ext-output", is_flag=True, help="Print the boxes too, in pixels.")
@options.out(
    "Write the picture with boxes to the file OUT, or several pictures into the folder OUT.",
    required=False,
    folder=True,
)
@click.option(
    "--labels",
    type=options.FOLDER,
    metavar="FOLDER",
    help="Write a label file for each picture, with lines 'class x y width height'.",
)
@click.option(
    "--confidence",
    is_flag=True,
    help="Add the probability to each line of --labels, as FiftyOne reads it.",
)
@click.option(
    "--skip-existing",
    is_flag=True,
    help="Skip pictures whose output files all exist, to resume after an interruption.",
)
@click.option(
    "--font",
    type=options.FILE,
    metavar="FILE",
    help="TrueType or OpenType font for -o, for names with letters beyond ASCII.",
)
@rows.options
@moving.options
@options.json_or_rows
@options.quiet("the objects found")
@click.pass_context
def detect(
    ctx: click.Context,
    source: models.Source,
    words: Sequence[str],
    names: class_names.ClassNames,
    thresh: float | None,
    nms: float | None,
    fit: Fit | None,
    engine: str,
    recursive: bool,
    ext_output: bool,
    out: str | None,
    force: bool,
    labels: str | None,
    confidence: bool,
    skip_existing: bool,
    font: str | None,
    into: rows.Rows | None,
    video: moving.Options,
    as_json: bool,
    as_lines: bool,
    as_csv: bool,
) -> None:
    """Detect objects in pictures (output as in 'darknet detector test'), or in a video.

    PICTURE is a file, a folder, a pattern such as 'photos/*.jpg', or a list: a .txt file with one
    path per line.  Without PICTURE, or with '-', the list is read from standard input.  Pictures
    that cannot be read are reported, and the rest are still processed; the exit code is then 1, or
    2 if none could be read.  With --json-lines, a list is read as it comes, unless -o or --labels
    need it whole.

    Instead, PICTURE may be one video, the address of a stream (rtsp://, http://), or the number of
    a camera; -o writes a video then.

    Example: darknet-bn detect yolov3.cfg yolov3.weights dog.jpg --names coco.names -o found.jpg
    """
    from darknet_bn.data.base import many
    from darknet_bn.formats.writing import write_files
    from darknet_bn.pictures.images import require_pillow
    from darknet_bn.predictions import detection_lines, label_lines

    if skip_existing:
        _require_use(out, labels, force=force)
    if confidence and labels is None:
        raise click.UsageError("--confidence needs --labels")
    if into is not None:
        into.prepare(
            {"-o": out, "--labels": labels, "--ext-output": ext_output, "--force": force}
            | {"--json": as_json, "--json-lines": as_lines, "--csv": as_csv}
        )
    require_pillow()
    if font is not None:
        detecting.require_font(font)
    inputs = (*source.files, *names.files, font)
    choose = functools.partial(
        detecting.choose, source, names, engine=engine, thresh=thresh, nms=nms, fit=fit
    )
    if into is None and moving.is_video(words):
        of_pictures = {"--recursive": recursive, "--ext-output": ext_output, "--labels": labels}
        of_pictures |= {"--skip-existing": skip_existing, "--csv": as_csv}
        moving.require_unused(of_pictures, "for pictures, not for a video")
        answer = moving.Answer(out, force, font, as_json, as_lines)
        moving_run.detect(ctx, words, source, choose, video, answer, inputs)
    moving.require_unused(video.given, "for a video, not for pictures")
    found: pictures.FoundPictures | pictures.PictureStream
    drawn: Mapping[str, str] = {}
    txts: Mapping[str, str] = {}
    if into is not None:
        found = places.find(words, recursive=recursive)
    elif as_lines and out is None and labels is None:
        found = pictures.PictureStream(words, recursive)
    else:
        found = pictures.find(words, recursive=recursive, out=out)
        drawn = {} if out is None else targets.annotated(found, out)
        txts = {} if labels is None else targets.in_folder(found, labels, targets.with_txt)
    wanted = targets.to_write(
        (drawn, txts),
        force=force,
        skip_existing=skip_existing,
        inputs=inputs,
    )
    skipped = targets.finished((drawn, txts), wanted)
    chosen = choose()
    model, detector = chosen.model, chosen.detector
    told: list[dict[str, Any]] = []
    written: Counter[str] = Counter()
    in_rows = as_csv or as_lines
    tell = output.aside if in_rows else output.note
    if not as_json:
        chosen.tell(tell)
        if skipped:
            tell(f"skipped: {len(skipped)} of {found.count} pictures whose files already exist")
    if into is not None:
        facts = rows.facts_of(source, model, chosen.classes, chosen.given)
        rows.run(ctx, into, found, detector, facts)
    if as_csv:
        output.text(",".join(_COLUMNS))
    for folder in {Path(target).parent for target in wanted}:
        targets.make_folder(folder)

    def work(path: str) -> Iterable[str]:
        im = dn.load_image(path, model.network.input.c)
        _, height, width = im.shape
        seen = detector(im)
        if drawn.get(path) in wanted:
            dn.save_image(drawn[path], dn.draw_detections(im, seen, font=font), force=force)
            written["picture"] += 1
        if txts.get(path) in wanted:
            lines = "".join(
                f"{line}\n" for line in label_lines(seen, confidence=confidence)
            ).encode()
            write_files({Path(txts[path]): lambda stream: stream.write(lines)}, force=force)
            written["label file"] += 1
        if as_csv:
            return output.as_csv(_rows(path, seen))
        if as_json or as_lines:
            entry = {"file": path, "width": width, "height": height}
            entry["objects"] = detecting.objects(seen)
            if as_lines:
                return (output.json_line(entry),)
            told.append(entry)
            return ()
        shown = detection_lines(seen, positions=ext_output)
        if not shown:
            if output.is_quiet():
                return ()
            shown = [f"no objects found (threshold {chosen.threshold:g})"]
        heading = () if found.single else (f"{path}:",)
        return (output.columns(line) for line in (*heading, *shown))

    rest = found.without(skipped) if isinstance(found, pictures.FoundPictures) else found
    told_at_once = one_by_one.tell_line if as_lines else None
    outcome = one_by_one.for_each(rest, "detecting", work, told_at_once)
    facts = chosen.facts(source)
    facts |= {"pictures": told, "skipped": skipped} | outcome.facts
    facts |= {"written": {"pictures": out, "labels": labels}}
    lines = [
        f"written: {many(written[what], what)} to {output.printable(place)}"
        for what, place in (("picture", out), ("label file", labels))
        if place is not None
    ]
    one_by_one.show(facts, lines, outcome, as_json=as_json, in_rows=in_rows)
    resumable = bool(drawn or txts) and not force
    one_by_one.end(ctx, outcome, words, skipped=len(skipped), resumable=resumable)


def _require_use(out: str | None, labels: str | None, *, force: bool) -> None:
    """Refuse to skip existing files, if none can exist or all are to be overwritten."""
    if force:
        raise click.UsageError("--skip-existing and --force cannot be used together")
    if out is None and labels is None:
        raise click.UsageError("--skip-existing needs -o or --labels")


def _rows(path: str, seen: Iterable[dn.Detection]) -> list[tuple[object, ...]]:
    return [
        (path, score.class_id, score.label, f"{score.probability:.6f}", *detecting.pixels(each))
        for each in seen
        for score in each.classes
    ]
