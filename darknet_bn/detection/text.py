"""Detections as text: what Darknet prints and writes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from darknet_bn.detection.records import Detection
from darknet_bn.errors import DarknetError

_HIDDEN = "dont_show"  # what the names of classes begin with that AlexeyAB's does not print


def detection_lines(
    found: Iterable[Detection], names: Sequence[str] | None = None, *, positions: bool = False
) -> list[str]:
    """Return what Darknet prints of detections.

    Parameters
    ----------
    found : iterable of Detection
        Of one picture, as `detections` sorts them.
    names : sequence of str, optional
        Of the classes; without it, they have their numbers.  What begins with ``dont_show`` is
        left out.
    positions : bool
        Whether to add the box in pixels, as AlexeyAB's does with ``-ext_output``.

    Returns
    -------
    lines : list of str
        ``dog: 82%`` for each class of each box.

    Raises
    ------
    DarknetError
        There are fewer names than classes.
    """
    lines = []
    for each in found:
        where = ""
        if positions:
            left, top, width, height = (
                f"{_rounded(value):4.0f}"
                for value in (each.left, each.top, each.width, each.height)
            )
            where = f"\t(left_x: {left}   top_y: {top}   width: {width}   height: {height})"
        for _, name, probability in _named(each, names):
            percent = float(np.float32(probability) * np.float32(100))
            lines.append(f"{name}: {percent:.0f}%{where}")
    return lines


def detection_objects(
    found: Iterable[Detection], names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return what AlexeyAB's writes of detections with ``-out``, ready for JSON.

    Parameters
    ----------
    found : iterable of Detection
        Of one picture.
    names : sequence of str, optional
        As in `detection_lines`.

    Returns
    -------
    objects : list of dict
        The list ``objects`` of a frame: one for each class of each box, rounded as there.

    Raises
    ------
    DarknetError
        There are fewer names than classes.

    Notes
    -----
    C: ``detection_to_json`` in AlexeyAB's ``src/http_stream.cpp``.
    """
    keys = ("center_x", "center_y", "width", "height")
    return [
        {
            "class_id": class_id,
            "name": name,
            "relative_coordinates": {
                key: round(value, 6) for key, value in zip(keys, each.box, strict=True)
            },
            "confidence": round(probability, 6),
        }
        for each in found
        for class_id, name, probability in _named(each, names)
    ]


def label_lines(found: Iterable[Detection]) -> list[str]:
    """Return what AlexeyAB's writes of detections with ``-save_labels``: lines to train with.

    Parameters
    ----------
    found : iterable of Detection
        Of one picture.

    Returns
    -------
    lines : list of str
        The best class of each box, and its centre and size as parts of the picture.

    Notes
    -----
    C: ``test_detector`` in AlexeyAB's ``src/detector.c``.
    """
    return [
        " ".join((f"{each.class_id}", *(f"{value:.4f}" for value in each.box))) for each in found
    ]


def _named(each: Detection, names: Sequence[str] | None) -> Iterator[tuple[int, str, float]]:
    """Yield (class, its name, probability) of all classes that are shown."""
    for class_id, probability in each.classes:
        if names is not None and class_id >= len(names):
            raise DarknetError(
                "there are fewer names than classes",
                expected=f"at least {class_id + 1}",
                found=f"{len(names)}",
            )
        name = str(class_id) if names is None else names[class_id]
        if not name.startswith(_HIDDEN):
            yield class_id, name, probability


def _rounded(value: float) -> float:
    """Round halves away from zero, as C does."""
    return float(np.trunc(value + np.copysign(0.5, value)))
