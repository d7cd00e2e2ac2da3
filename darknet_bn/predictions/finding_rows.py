"""Every detection with what became of it, as rows for other tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from darknet_bn.predictions.coco import in_pixels
from darknet_bn.predictions.findings import Findings
from darknet_bn.predictions.pairs import NONE, all_pairs, truths_by_class

COLUMNS = (
    *("file", "class", "name", "probability", "left", "top", "width", "height"),
    *("result", "truth", "iou"),
)
"""The columns of a row; `finding_rows` says what they hold."""


def finding_rows(
    findings: Findings, names: Sequence[str], iou_threshold: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for each class of each box, the most probable first, and then what was missed.

    Parameters
    ----------
    findings : Findings
    names : sequence of str
        Of the classes.
    iou_threshold : float
        As of `average_precision`.

    Yields
    ------
    row : dict
        ``file`` is a path, or the number of an array; ``left``, ``top``, ``width`` and ``height``
        are in pixels.  ``result`` is ``right``; ``again`` if a more probable box had its truth;
        ``wrong`` if it agrees with no truth; or ``missed`` for a truth that no box has found, whose
        ``probability`` and ``iou`` are None.  ``truth`` is the number of the true box in its
        picture, counted from 0, or None.

    Raises
    ------
    ShapeError
        A truth has a class that does not exist.
    """
    truths_by_class(findings.found, findings.truths)
    pairs = all_pairs(findings.found, findings.truths, iou_threshold)
    files = findings.paths or [str(number) for number in range(len(findings.found))]
    starts = np.cumsum([0, *map(len, findings.truths)])
    boxes = [
        in_pixels(each.xywh, size)
        for each, size in zip(findings.found, findings.sizes, strict=True)
    ]

    def row(file: int, kind: int, probability: float | None, box: list[float]) -> dict[str, Any]:
        values = (files[file], kind, names[kind], probability, *box)
        return dict(zip(COLUMNS, values, strict=False))

    columns = (pairs.picture, pairs.class_id, pairs.probability, pairs.box)
    matches = (pairs.truth, pairs.iou, pairs.right)
    for each in zip(*(column.tolist() for column in (*columns, *matches)), strict=True):
        picture, kind, probability, box, truth, iou, right = each
        is_none = truth == NONE
        yield row(picture, kind, probability, boxes[picture][box]) | {
            "result": "right" if right else "wrong" if is_none else "again",
            "truth": None if is_none else truth - int(starts[picture]),
            "iou": None if is_none else iou,
        }
    seen = set(pairs.truth.tolist())
    for picture, (rows, size) in enumerate(zip(findings.truths, findings.sizes, strict=True)):
        places = in_pixels(rows[:, :4], size)
        for number, kind in enumerate(rows[:, 4].astype(np.intp).tolist()):
            if int(starts[picture]) + number not in seen:
                yield row(picture, kind, None, places[number]) | {
                    "result": "missed",
                    "truth": number,
                    "iou": None,
                }
