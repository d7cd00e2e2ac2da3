"""``darknet-bn evaluate``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import batches, choices, class_names, models, options, output, progress, tables

if TYPE_CHECKING:
    from darknet_bn.pictures.prepare import Fit


@click.command(short_help="Measure a model on labelled pictures: mAP, or accuracy.")
@models.model_and_data
@click.option(
    "--names",
    "names_file",
    type=options.FILE,
    metavar="FILE",
    help="Class names, one per line.  [default: names= of DATA]",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help=f"Classifiers: N of the top-N accuracy.  [default: top= of DATA, or {choices.TOP}]",
)
@click.option(
    "--points",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Detectors: 0 for the area under the curve, 11 for PASCAL VOC 2007, 101 for COCO.",
)
@options.part("--iou-thresh", f"{choices.IOU}", "Detectors: a box is correct above this IoU.")
@options.part(
    "--thresh", f"{choices.THRESHOLD}", "Detectors: probability threshold for the counts."
)
@options.part(
    "--nms",
    f"{choices.OVERLAP}",
    "Detectors: IoU threshold for non-maximum suppression; 0 disables it.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=choices.BATCH,
    show_default=True,
    help="Number of pictures to compute at once.",
)
@options.fit("letterbox", "stretch", "crop")
@options.engine
@options.json
@options.quiet("the measurements")
@click.pass_context
def evaluate(
    ctx: click.Context,
    source: models.Source,
    data: str,
    names_file: str | None,
    top: int | None,
    points: int,
    iou_thresh: float | None,
    thresh: float | None,
    nms: float | None,
    batch: int,
    fit: Fit | None,
    engine: str,
    as_json: bool,
) -> None:
    """Measure a model on labelled pictures.

    DATA is a Darknet .data file, whose valid= names a list of pictures; such a list itself (a .txt
    file with one path per line, or '-' for standard input); or an .npz file with arrays x and y.
    For a detector, whose label files are next to the pictures, it prints the average precision of
    each class and their mean (mAP), as in 'detector map' of AlexeyAB's Darknet.  For a classifier,
    it prints the top-1 and top-N accuracy.  Pictures that cannot be read are reported and count as
    pictures without detections; the exit code is then 1.

    Example: darknet-bn evaluate yolov3-tiny.cfg yolov3-tiny.weights coco.data --points 101
    """
    from darknet_bn.cli import labelled
    from darknet_bn.pictures.images import require_pillow
    from darknet_bn.predictions.inputs import own_fit_for_tests

    labelled.require_kind(data)
    is_array = batches.is_array(data)
    if not is_array:
        require_pillow()
    model = source.load_for_pictures()
    dataset, given = labelled.load(model, data, names_file)
    names = class_names.ClassNames(names_file, given, data_option=None)
    classes = names.fit(_classes(model))
    way = fit or own_fit_for_tests(model)
    session = dn.open_session(model, engine)
    started = time.monotonic()
    with progress.bar("evaluating", -(-len(dataset) // batch)) as step:
        report = dn.evaluate(
            model,
            dataset,
            top=names.top(top),
            points=points,
            iou_threshold=choices.IOU if iou_thresh is None else iou_thresh,
            threshold=choices.THRESHOLD if thresh is None else thresh,
            overlap=choices.OVERLAP if nms is None else nms,
            fit=way,
            batch=batch,
            session=session,
            after_batch=step,
        )
    seconds = time.monotonic() - started
    facts = output.about(model, source.cfg, source.weights) | {"data": data}
    facts |= {"engine": session.engine, "fit": None if is_array else way}
    facts |= output.about_labels(dataset) | {"seconds": seconds} | _facts(report, classes)
    found = (
        _accuracy_lines(report, classes)
        if isinstance(report, dn.Accuracy)
        else _precision_lines(report, classes)
    )
    lines: output.Lines = [
        output.dialect(model),
        *([] if is_array else [output.fit(model, way, given=fit is not None)]),
        f"data: {output.printable(dataset.describe())}",
        *map(output.Line, found),
    ]
    output.show(facts, lines, as_json=as_json)
    output.took(seconds, len(dataset), "example" if is_array else "picture")
    ctx.exit(1 if report.failed else 0)


def _classes(model: dn.Model) -> int:
    """Return how many classes a network has."""
    from darknet_bn.predictions.classification import class_layer

    if model.network.is_detector:
        return next(iter(model.network.heads.values())).classes
    return model.network.nodes[class_layer(model.network)].y.size


def _facts(report: dn.AveragePrecision | dn.Accuracy, names: Sequence[str]) -> dict[str, Any]:
    """Return a report for JSON, with the name of each class."""
    facts = asdict(report)
    if isinstance(report, dn.AveragePrecision):
        facts["images"] = facts.pop("pictures")
    facts["images_failed"] = facts.pop("failed")
    classes = [{"name": names[each.class_id]} | asdict(each) for each in report.classes]
    return facts | {"classes": classes}


def _precision_lines(report: dn.AveragePrecision, names: Sequence[str]) -> Iterator[str]:
    shown = [
        each
        for each in report.classes
        if each.truths or each.true_positives or each.false_positives
    ]
    rows = [
        (
            output.printable(names[each.class_id]),
            _percent(each.average_precision) if each.truths else "-",
            f"{each.truths}",
            f"{each.true_positives}",
            f"{each.false_positives}",
        )
        for each in shown
    ]
    yield from tables.aligned([("class", "AP %", "truths", "right", "wrong"), *rows], "<>>>>")
    rest = len(report.classes) - len(shown)
    if rest:
        yield f"{rest} other class{'es' * (rest != 1)} with no true or found boxes"
    yield (
        f"over {report.threshold:g}: precision {report.precision:.2f}, recall {report.recall:.2f}, "
        f"F1 {report.f1:.2f}, average IoU {_percent(report.average_iou)} %"
    )
    yield (
        f"over {report.threshold:g}: {report.true_positives} right, "
        f"{report.false_positives} wrong, {report.false_negatives} missed"
    )
    curve = f"{report.points} points" if report.points else "area under the curve"
    present = sum(each.truths > 0 for each in report.classes)
    over = f"{len(report.classes)} class{'es' * (len(report.classes) != 1)}"
    name = f"mAP@{report.iou_threshold:.2f}"
    if present < len(report.classes):
        yield f"{name}: {_percent(report.mean_of_present)} % over the {present} with true boxes"
    yield f"{name}: {_percent(report.mean)} % over {over} ({curve})"


def _accuracy_lines(report: dn.Accuracy, names: Sequence[str]) -> Iterator[str]:
    shown = [each for each in report.classes if each.images]
    best = f"top {report.top}"
    rows = [
        (
            output.printable(names[each.class_id]),
            f"{each.images}",
            _percent(each.top_1 / each.images),
            _percent(each.top_k / each.images),
        )
        for each in shown
    ]
    yield from tables.aligned([("class", "images", "top 1 %", f"{best} %"), *rows], "<>>>")
    rest = len(report.classes) - len(shown)
    if rest:
        yield f"{rest} other class{'es' * (rest != 1)} with no image"
    yield (
        f"accuracy: top 1 {_percent(report.top_1)} %, {best} {_percent(report.top_k)} % "
        f"of {report.images} image{'s' * (report.images != 1)}"
    )


def _percent(part: float) -> str:
    return f"{100 * part:.2f}"
