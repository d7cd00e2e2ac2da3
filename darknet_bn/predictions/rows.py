"""A row for each picture: where things are in it, or why it could not be used, as plain columns.

Rows are kept as columns: lists of one length under the names of the columns.  They hold numbers,
texts and lists of these, so that any other program can keep them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from darknet_bn.predictions.records import ClassScore, Detection

Columns: TypeAlias = dict[str, list[Any]]
"""Rows, column by column."""

Kind = Literal["text", "whole", "number", "texts", "wholes", "numbers"]
"""What a column holds; the plurals are lists for each row."""

Form: TypeAlias = Mapping[str, Kind]
"""The columns in order, and what each holds."""

_PICTURE: Form = {"path": "text", "width": "whole", "height": "whole", "error": "text"}
_BOX: Form = {each: "numbers" for each in ("left", "top", "right", "bottom")}
_SCORE: Form = {"probability": "numbers", "class": "wholes", "label": "texts"}

DETECTIONS: Form = {**_PICTURE, **_BOX, **_SCORE}
"""Of a detector: sides in pixels; a box with several classes is there once for each."""

CLASSES: Form = {**_PICTURE, **_SCORE}
"""Of a classifier: the most probable class first."""


def detection_row(path: str, size: tuple[int, int], found: Iterable[Detection]) -> dict[str, Any]:
    """Return the row of a picture with detections.

    Parameters
    ----------
    path : str
    size : (height, width)
        Of the picture, in pixels.
    found : iterable of Detection
        Each is there once for each of its classes, in the order in which Darknet prints them.
    """
    pairs = [(each, score) for each in found for score in each.classes]
    sides = {side: [getattr(each, side) for each, _ in pairs] for side in _BOX}
    return _picture(path, size) | sides | _scores([score for _, score in pairs])


def class_row(path: str, size: tuple[int, int], found: Sequence[ClassScore]) -> dict[str, Any]:
    """Return the row of a picture with classes; the parameters are as of `detection_row`."""
    return _picture(path, size) | _scores(found)


def failed_row(path: str, problem: str, form: Form) -> dict[str, Any]:
    """Return the row of a picture that could not be used: without a size, and with nothing in it.

    Parameters
    ----------
    path : str
    problem : str
        Why, in one line.
    form : mapping
        ``DETECTIONS`` or ``CLASSES``.
    """
    nothing: dict[str, Any] = {
        name: [] if kind.endswith("s") else None for name, kind in form.items()
    }
    return nothing | {"path": path, "error": problem}


def as_columns(rows: Sequence[Mapping[str, Any]], form: Form) -> Columns:
    """Return rows as columns, in the order of a form."""
    return {name: [row[name] for row in rows] for name in form}


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the rows of several columns, one after the other."""
    return {name: [each for part in parts for each in part[name]] for name in parts[0]}


def _picture(path: str, size: tuple[int, int]) -> dict[str, Any]:
    height, width = size
    return {"path": path, "width": width, "height": height, "error": None}


def _scores(scores: Sequence[ClassScore]) -> dict[str, Any]:
    return {
        "probability": [each.probability for each in scores],
        "class": [each.class_id for each in scores],
        "label": [each.label for each in scores],
    }
