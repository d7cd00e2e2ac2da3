"""The twelve numbers by which detectors are compared on COCO, from what was found and the truth.

The numbers themselves are computed by ``faster-coco-eval``, which does what ``pycocotools`` does.
Here boxes become the records that both read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.boxes.box import Size
from darknet_bn.optional import load_extra
from darknet_bn.predictions.findings import Findings
from darknet_bn.values import brief

Records: TypeAlias = "Mapping[str, list[dict[str, Any]]]"
"""A COCO file as data: ``images``, ``annotations`` and ``categories``.

Images and categories are in the order of pictures and classes; their numbers are any.
"""


@dataclass(frozen=True)
class CocoNumbers:
    """The twelve numbers by which detectors are compared on COCO.

    Each is from 0 to 1; it is -1 if there is no truth of this size.  Small boxes have an area below
    32 x 32 pixels of the picture, large ones above 96 x 96.

    Attributes
    ----------
    ap : float
        The mean average precision over the IoU thresholds 0.50, 0.55 ... 0.95.
    ap_50, ap_75 : float
        At the IoU thresholds 0.50 and 0.75.
    ap_small, ap_medium, ap_large : float
        As ``ap``, for boxes of a size.
    ar_1, ar_10, ar_100 : float
        The mean recall over the same IoU thresholds, with the 1, 10 and 100 most probable boxes of
        each class in a picture.
    ar_small, ar_medium, ar_large : float
        As ``ar_100``, for boxes of a size.
    """

    ap: float
    ap_50: float
    ap_75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar_1: float
    ar_10: float
    ar_100: float
    ar_small: float
    ar_medium: float
    ar_large: float

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"AP {self.ap:.2%}, at IoU 0.50 {self.ap_50:.2%}")


def coco_numbers(findings: Findings, truth: Records | None = None) -> CocoNumbers:
    """Measure a detector as on COCO.

    Parameters
    ----------
    findings : Findings
    truth : mapping, optional
        The truth as COCO's records, with crowds and areas, as `load_coco_truth` makes it of a file;
        by default `coco_truth`, the boxes of the findings.

    Returns
    -------
    numbers : CocoNumbers

    Raises
    ------
    DarknetError
        The package faster-coco-eval is not installed.

    Notes
    -----
    Equal to ``pycocotools`` 2.0.11: a box belongs to the free truth that it overlaps most, if the
    IoU is at least the threshold; boxes in a crowd are ignored; precision is read at 101 recalls.
    `average_precision` follows AlexeyAB's program instead, so its mAP is another number.
    """
    library = load_extra("faster_coco_eval")
    records = coco_truth(findings) if truth is None else truth
    real = library.COCO({"info": {}, **records})
    evaluation = library.COCOeval_faster(
        real, real.loadRes(coco_results(findings, records)), iouType="bbox", print_function=_nothing
    )
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats = np.asarray(evaluation.stats, np.float64)[: len(fields(CocoNumbers))]
    return CocoNumbers(*stats.tolist())


def _nothing(*args: object) -> None:
    """Take what the library would print."""


def coco_truth(findings: Findings, names: Sequence[str] | None = None) -> Records:
    """Return the true boxes as COCO's records, in pixels; there are no crowds.

    Parameters
    ----------
    findings : Findings
    names : sequence of str, optional
        Of the classes; by default their numbers.

    Returns
    -------
    records : dict
        Ready for JSON.  Pictures, boxes and classes are numbered from 1: some programs treat a 0 as
        nothing.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (rows, size) in enumerate(zip(findings.truths, findings.sizes, strict=True), 1):
        path = findings.paths[number - 1] if findings.paths else f"{number}"
        images.append({"id": number, "width": size[1], "height": size[0], "file_name": path})
        for row, box in zip(rows.tolist(), in_pixels(rows[:, :4], size), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(row[4]) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    labels = names or [str(each) for each in range(findings.classes)]
    categories = [{"id": number, "name": name} for number, name in enumerate(labels, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco_results(findings: Findings, truth: Records) -> list[dict[str, Any]]:
    """Return what was found as COCO's results, in pixels: one for each class of each box.

    Parameters
    ----------
    findings : Findings
    truth : mapping
        Gives the numbers of images and categories.

    Returns
    -------
    results : list of dict
        Ready for JSON.
    """
    classes = [each["id"] for each in truth["categories"]]
    images = [each["id"] for each in truth["images"]]
    results: list[dict[str, Any]] = []
    for image, boxes, size in zip(images, findings.found, findings.sizes, strict=True):
        rows, kinds = np.nonzero(boxes.probabilities > 0)
        scores = boxes.probabilities[rows, kinds].tolist()
        places = in_pixels(boxes.xywh, size)
        results += [
            {"image_id": image, "category_id": classes[kind], "bbox": places[row], "score": score}
            for row, kind, score in zip(rows.tolist(), kinds.tolist(), scores, strict=True)
            if all(map(math.isfinite, places[row]))
        ]
    return results


def in_pixels(xywh: F32, size: Size) -> list[list[float]]:
    """Return left, top, width and height of boxes (k, 4) in pixels, as `Detection` has them."""
    h, w = size
    return [
        [(x - width / 2) * w, (y - height / 2) * h, width * w, height * h]
        for x, y, width, height in xywh.tolist()
    ]
