"""``darknet-bn evaluate``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

import darknet_bn as dn
from darknet_bn.cli import (
    batches,
    choices,
    class_names,
    evaluated,
    models,
    options,
    output,
    progress,
    rows,
)
from darknet_bn.cli.more_measures import MoreMeasures

if TYPE_CHECKING:
    from darknet_bn.pictures.prepare import Fit


@click.command(short_help="Measure a model on labelled pictures: mAP, or accuracy.")
@models.model_and_data
@click.option(
    "--names",
    "names_file",
    type=options.FILE,
    metavar="FILE",
    help="Class names, one per line.  If the labels of DATA have names, they are matched.  "
    "[default: names= of DATA, or the names in the labels]",
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
@click.option(
    "--coco",
    is_flag=True,
    help="Detectors: the twelve numbers of COCO too, as pycocotools computes them.",
)
@click.option(
    "--coco-truth",
    type=options.FILE,
    metavar="FILE",
    help="Take the truth for --coco from a JSON file in COCO's format, with crowds and areas.  "
    "[default: DATA if it is such a file, else the labels]",
)
@click.option(
    "--plots",
    type=options.FOLDER,
    metavar="FOLDER",
    help="Detectors: draw precision over recall, the choice of a threshold, and which classes are "
    "confused, as SVG files.",
)
@click.option(
    "--save-rows",
    type=options.FILE,
    metavar="FILE",
    help="Detectors: write every detection with what became of it, and what was missed, as .csv or "
    ".jsonl.",
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@options.engine
@rows.ray
@rows.workers
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
    coco: bool,
    coco_truth: str | None,
    plots: str | None,
    save_rows: str | None,
    force: bool,
    engine: str,
    ray: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Measure a model on labelled pictures.

    DATA is a Darknet .data file, whose valid= names a list of pictures; such a list itself (a .txt
    file with one path per line, or '-' for standard input), with label files next to the pictures;
    a data.yaml, a COCO .json or a folder of labels, as in 'darknet-bn labels'; or an .npz file with
    arrays x and y.  For a detector, it prints the average precision of each class and their mean
    (mAP), as in 'detector map' of AlexeyAB's Darknet.  For a classifier, it prints the top-1 and
    top-N accuracy.  Pictures that cannot be read are reported and count as pictures without
    detections; the exit code is then 1.

    Example: darknet-bn evaluate yolov3-tiny.cfg yolov3-tiny.weights coco.data --points 101
    """
    from darknet_bn.cli import labelled
    from darknet_bn.pictures.images import require_pillow
    from darknet_bn.predictions.average_precision import require_options
    from darknet_bn.predictions.inputs import own_fit_for_tests

    rows.require_ray(ray, workers)
    labelled.require_kind(data)
    is_array = batches.is_array(data)
    if not is_array:
        require_pillow()
    model = source.load_for_pictures()
    if coco and coco_truth is None and data.lower().endswith(".json"):
        coco_truth = data  # with its crowds and areas
    more = MoreMeasures(coco, coco_truth, plots, save_rows, force)
    more.require_possible(model, [*source.files, data, names_file])
    dataset, given = labelled.load(model, data, names_file)
    names = class_names.ClassNames(names_file, given, data_option=None, own=dataset.class_names)
    classes = names.fit(_classes(model))
    way = fit or own_fit_for_tests(model)
    session = dn.open_session(model, engine)
    iou_threshold = choices.IOU if iou_thresh is None else iou_thresh
    threshold = choices.THRESHOLD if thresh is None else thresh
    started = time.monotonic()
    report: dn.AveragePrecision | dn.Accuracy
    more_facts: dict[str, Any] = {}
    more_lines: output.Lines = []
    count = -(-len(dataset) // batch)
    with rows.spread(ray, workers) as spread, progress.bar("evaluating", count) as step:
        if model.network.is_detector:
            require_options(iou_threshold, points, threshold)
            findings = dn.find_boxes(
                model,
                dataset,
                overlap=choices.OVERLAP if nms is None else nms,
                fit=way,
                batch=batch,
                session=session,
                after_batch=step,
                spread=spread,
            )
        else:
            report = dn.evaluate(
                model,
                dataset,
                top=names.top(top),
                fit=way,
                batch=batch,
                session=session,
                after_batch=step,
                spread=spread,
            )
    if model.network.is_detector:
        report = findings.average_precision(
            iou_threshold=iou_threshold, points=points, threshold=threshold
        )
        more_facts, more_lines = more.take(findings, classes, threshold, iou_threshold)
    seconds = time.monotonic() - started
    facts = output.about(model, source.cfg, source.weights) | {"data": data}
    facts |= {"engine": session.engine, "fit": None if is_array else way}
    facts |= output.about_labels(dataset) | {"seconds": seconds}
    facts |= evaluated.facts(report, classes) | more_facts
    lines: output.Lines = [
        output.dialect(model),
        *([] if is_array else [output.fit(model, way, given=fit is not None)]),
        f"data: {output.printable(dataset.describe())}",
        *map(output.printable, dataset.notes),
        *map(output.Line, evaluated.lines(report, classes)),
        *more_lines,
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
