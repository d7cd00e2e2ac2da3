"""What ``darknet-bn evaluate`` says of its measurements: text, and facts for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import darknet_bn as dn
from darknet_bn.cli import output, tables

if TYPE_CHECKING:
    from darknet_bn.predictions.coco import CocoNumbers


def lines(report: dn.AveragePrecision | dn.Accuracy, names: Sequence[str]) -> Iterator[str]:
    """Yield a table of the classes, and what is said of all of them."""
    if isinstance(report, dn.Accuracy):
        return _accuracy_lines(report, names)
    return _precision_lines(report, names)


def facts(report: dn.AveragePrecision | dn.Accuracy, names: Sequence[str]) -> dict[str, Any]:
    """Return a report for JSON, with the name of each class."""
    told = asdict(report)
    if isinstance(report, dn.AveragePrecision):
        told["images"] = told.pop("pictures")
    told["images_failed"] = told.pop("failed")
    classes = [{"name": names[each.class_id]} | asdict(each) for each in report.classes]
    return told | {"classes": classes}


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


def coco_lines(numbers: CocoNumbers) -> Iterator[str]:
    """Yield the twelve numbers of COCO."""
    values = [_percent(part) if part >= 0 else "-" for part in asdict(numbers).values()]
    sizes = ("small", "medium", "large")
    rows = [
        ("COCO", "IoU 0.50:0.95", "0.50", "0.75", *sizes),
        ("AP %", *values[:6]),
        ("", "1 box", "10 boxes", "100 boxes", *sizes),
        ("AR %", *values[6:]),
    ]
    yield from tables.aligned(rows, "<>>>>>>")


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
