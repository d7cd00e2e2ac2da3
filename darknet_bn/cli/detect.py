"""``darknet-bn detect``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import darknet_bn as dn
from darknet_bn.cli import class_names, models, options, output, pictures, targets
from darknet_bn.detection import ClassScore, detection_lines, detection_objects, label_lines
from darknet_bn.detection.boxes import heads_of
from darknet_bn.files import write_files
from darknet_bn.images import require_pillow
from darknet_bn.prepare import Fit, own_fit, picture_shape

_NMS = 0.45
_COLUMNS = ("file", "class", "name", "probability", "left", "top", "width", "height")


@click.command()
@models.model_and_pictures
@class_names.names_and_data
@options.part("--thresh", "the dialect's, 0.5 or 0.25", "Print what is more probable than this.")
@options.part("--nms", f"{_NMS}", "How much boxes of a class may overlap; 0 keeps all.")
@options.fit("letterbox", "stretch")
@click.option("--ext-output", is_flag=True, help="Print the boxes too, in pixels.")
@options.out(
    "Write the picture with boxes to the file OUT; where there may be several, into a folder.",
    required=False,
    folder=True,
)
@click.option(
    "--labels",
    type=options.FOLDER,
    metavar="FOLDER",
    help="Write for each picture a file of lines 'class x y width height' to train with.",
)
@click.option(
    "--font",
    type=options.FILE,
    metavar="FILE",
    help="A TrueType or OpenType font for -o, for names with letters beyond ASCII.",
)
@options.json_or_csv
@options.quiet("what is found")
@click.pass_context
def detect(
    ctx: click.Context,
    source: models.Source,
    words: Sequence[str],
    names: class_names.ClassNames,
    thresh: float | None,
    nms: float | None,
    fit: Fit | None,
    ext_output: bool,
    out: str | None,
    force: bool,
    labels: str | None,
    font: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Find things in pictures, and print what Darknet prints.

    PICTURE is a file, a folder, or a pattern such as 'photos/*.jpg'.  A picture that cannot be
    read is reported, and the others go on; the exit code is then 1, or 2 if none could be read.

    Example: darknet-bn detect yolov3.cfg yolov3.weights dog.jpg --names coco.names -o found.jpg
    """
    require_pillow()
    if font is not None:
        _require_font(font)
    found = pictures.find(words)
    read = (*source.files, *names.files, font)
    drawn = {} if out is None else targets.annotated(found, out, force=force, inputs=read)
    txts = {}
    if labels is not None:
        txts = targets.in_folder(found, labels, targets.with_txt, force=force, inputs=read)
    model = source.load_for_pictures()
    picture_shape(model.network)
    classes = names.fit(next(iter(heads_of(model.network).values())).classes)
    way = fit or own_fit(model)
    threshold = model.dialect.detection_threshold if thresh is None else thresh
    overlap = _NMS if nms is None else nms
    told: list[dict[str, Any]] = []
    tell = output.aside if as_csv else output.note
    if not as_json:
        tell(output.dialect(model))
        tell(output.fit(model, way, given=fit is not None))
        tell(f"threshold: {threshold:g}, nms: {overlap:g}")
    if as_csv:
        output.text(",".join(_COLUMNS))
    for folder in {Path(target).parent for target in (*drawn.values(), *txts.values())}:
        targets.make_folder(folder)

    def work(path: str) -> Iterable[str]:
        im, x = pictures.read(path, model, way)
        _, height, width = im.shape
        (seen,) = dn.detections(
            model,
            x,
            image_sizes=(height, width),
            threshold=threshold,
            nms=overlap,
            letterbox=way == "letterbox",
            names=classes,
        )
        if path in drawn:
            dn.save_image(drawn[path], dn.draw_detections(im, seen, font=font), force=force)
        if path in txts:
            lines = "".join(f"{line}\n" for line in label_lines(seen)).encode()
            write_files({Path(txts[path]): lambda stream: stream.write(lines)}, force=force)
        if as_csv:
            return output.as_csv(_rows(path, seen))
        if as_json:
            told.append({"file": path, "width": width, "height": height, "objects": _objects(seen)})
            return ()
        shown = detection_lines(seen, positions=ext_output)
        if not shown:
            if output.is_quiet():
                return ()
            shown = ["nothing over the threshold"]
        heading = () if found.single else (f"{path}:",)
        return (output.columns(line) for line in (*heading, *shown))

    began = time.monotonic()
    failures = pictures.for_each(found, "detecting", work)
    seconds = time.monotonic() - began
    failed = {failure.file for failure in failures}
    if as_json:
        facts = output.about(model, source.cfg, source.weights)
        facts |= {"letterbox": way == "letterbox", "threshold": threshold, "nms": overlap}
        facts |= {"pictures": told, "failed": [failure.facts for failure in failures]}
        facts |= {"written": out, "labels": labels, "seconds": seconds}
        output.as_json(facts)
    else:
        for what, files, place in (("picture", drawn, out), ("label file", txts, labels)):
            count = sum(path not in failed for path in files)
            if place is not None:
                many = f"{count} {what}{'s' * (count != 1)} to {output.printable(place)}"
                tell(f"written: {many}")
        output.took(seconds, len(found.paths), "picture")
    ctx.exit(pictures.exit_code(found, failures))


def _require_font(font: str) -> None:
    """Refuse a font that cannot be read before any work."""
    whole = dn.Detection((ClassScore(0, "x", 1.0),), 1.0, (0.5, 0.5, 1.0, 1.0), (1, 1))
    dn.draw_detections(np.zeros((3, 1, 1), np.float32), [whole], font=font)


def _objects(seen: Iterable[dn.Detection]) -> list[dict[str, Any]]:
    """Return what AlexeyAB's -out writes, and the box in pixels."""
    return [
        entry | {"box": dict(zip(_COLUMNS[4:], _pixels(each), strict=True))}
        for each in seen
        for entry in detection_objects([each])
    ]


def _rows(path: str, seen: Iterable[dn.Detection]) -> list[tuple[object, ...]]:
    return [
        (path, score.class_id, score.label, f"{score.probability:.6f}", *_pixels(each))
        for each in seen
        for score in each.classes
    ]


def _pixels(each: dn.Detection) -> tuple[float, ...]:
    return tuple(round(side, 2) for side in (each.left, each.top, each.width, each.height))
