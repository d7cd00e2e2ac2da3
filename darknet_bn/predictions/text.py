"""Detections as text: what Darknet prints and writes for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from darknet_bn.predictions.records import Detection


def detection_lines(found: Iterable[Detection], *, positions: bool = False) -> list[str]:
    """Return what Darknet prints for detections.

    Parameters
    ----------
    found : iterable of Detection
        The detections of one picture, as `detections` sorts them.
    positions : bool
        Whether to add the box in pixels, as AlexeyAB's program does with ``-ext_output``.

    Returns
    -------
    lines : list of str
        ``dog: 82%`` for each class of each box.

    Notes
    -----
    C: ``draw_detections`` (pjreddie) and ``draw_detections_v3`` (AlexeyAB) in ``src/image.c``.
    """
    lines = []
    for each in found:
        where = f"\t({_position(each)})" if positions else ""
        for score in each.classes:
            percent = float(np.float32(score.probability) * np.float32(100))
            lines.append(f"{score.label}: {percent:.0f}%{where}")
    return lines


def detection_objects(found: Iterable[Detection]) -> list[dict[str, Any]]:
    """Return what AlexeyAB's program writes for detections with ``-out``, ready for JSON.

    Parameters
    ----------
    found : iterable of Detection
        The detections of one picture.

    Returns
    -------
    objects : list of dict
        The list ``objects`` of a frame: one for each class of each box, rounded as in the program.

    Notes
    -----
    C: ``detection_to_json`` in AlexeyAB's ``src/http_stream.cpp``, which does not sort them.
    """
    keys = ("center_x", "center_y", "width", "height")
    return [
        {
            "class_id": score.class_id,
            "name": score.label,
            "relative_coordinates": {
                key: round(value, 6) for key, value in zip(keys, each.box, strict=True)
            },
            "confidence": round(score.probability, 6),
        }
        for each in found
        for score in each.classes
    ]


def label_lines(found: Iterable[Detection], *, confidence: bool = False) -> list[str]:
    """Return what AlexeyAB's program writes with ``-save_labels``: lines to train with.

    Parameters
    ----------
    found : iterable of Detection
        The detections of one picture.
    confidence : bool
        Whether the probability of the class is the last number, as FiftyOne reads it.

    Returns
    -------
    lines : list of str
        The best class of each box, and its centre and size relative to the picture.

    Notes
    -----
    C: ``test_detector`` in AlexeyAB's ``src/detector.c``.
    """
    found = tuple(found)
    last = ((each.probability,) if confidence else () for each in found)
    return [
        " ".join((f"{each.class_id}", *(f"{value:.4f}" for value in (*each.box, *more))))
        for each, more in zip(found, last, strict=True)
    ]


def _position(each: Detection) -> str:
    """Return the box in whole pixels; halves are rounded away from zero, as C does."""
    pixels = np.array((each.left, each.top, each.width, each.height))
    left, top, width, height = np.trunc(pixels + np.copysign(0.5, pixels)).tolist()
    return f"left_x: {left:4.0f}   top_y: {top:4.0f}   width: {width:4.0f}   height: {height:4.0f}"
