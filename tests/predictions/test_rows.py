"""Rows of pictures as plain columns."""

from __future__ import annotations

import darknet_bn as dn
from darknet_bn.predictions import ClassScore
from darknet_bn.predictions.rows import (
    CLASSES,
    DETECTIONS,
    as_columns,
    class_row,
    detection_row,
    failed_row,
    joined,
)

CAT, DOG = ClassScore(0, "cat", 0.75), ClassScore(1, "dog", 0.5)


def test_a_box_is_there_once_for_each_of_its_classes() -> None:
    both = dn.Detection((CAT, DOG), 1.0, (0.5, 0.5, 0.5, 1.0), (10, 20))
    one = dn.Detection((DOG,), 1.0, (0.25, 0.5, 0.5, 0.5), (10, 20))
    assert detection_row("a.png", (10, 20), [both, one]) == {
        "path": "a.png",
        "width": 20,
        "height": 10,
        "error": None,
        "left": [5, 5, 0],
        "top": [0, 0, 2.5],
        "right": [15, 15, 10],
        "bottom": [10, 10, 7.5],
        "probability": [0.75, 0.5, 0.5],
        "class": [0, 1, 1],
        "label": ["cat", "dog", "dog"],
    }


def test_a_row_has_the_columns_of_its_form() -> None:
    detected = detection_row("a", (1, 2), [])
    classified = class_row("a", (1, 2), [CAT])
    assert list(detected) == list(DETECTIONS)
    assert list(classified) == list(CLASSES)
    assert classified["label"] == ["cat"]
    for form in (DETECTIONS, CLASSES):
        failed = failed_row("a", "it is broken", form)
        assert failed.keys() == form.keys()
        assert failed["error"] == "it is broken"
        assert failed["width"] is failed["height"] is None
        assert failed["probability"] == failed["class"] == failed["label"] == []


def test_rows_become_columns_in_the_order_of_the_form() -> None:
    rows = [failed_row("b", "no", CLASSES), class_row("a", (1, 2), [DOG])]
    columns = as_columns(rows, CLASSES)
    assert list(columns) == list(CLASSES)
    assert columns["path"] == ["b", "a"]
    assert columns["label"] == [[], ["dog"]]
    assert joined([columns, columns])["width"] == [None, 2, None, 2]
