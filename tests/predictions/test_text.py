"""Detections as the lines and objects that the programs print and write."""

from __future__ import annotations

import json

import numpy as np
import pytest

from darknet_bn.predictions import (
    ClassScore,
    Detection,
    detection_lines,
    detection_objects,
    label_lines,
)

DOG = Detection(
    (ClassScore(16, "dog", 0.8065601), ClassScore(15, "cat", 0.2549)),
    0.8123344,
    (0.32974675, 0.6405785, 0.33650807, 0.5172613),
    (576, 768),
)
CAR = Detection((ClassScore(2, "car", 1.0),), 1.0, (0.0, 0.0078125, 0.03125, 0.03125), (64, 64))


def test_lines() -> None:
    assert detection_lines([DOG, CAR]) == ["dog: 81%", "cat: 25%", "car: 100%"]


def test_lines_with_positions() -> None:
    # the car begins at -1 and -0.5 and is 2 wide and high; halves are rounded away from zero
    where = "\t(left_x:  124   top_y:  220   width:  258   height:  298)"
    assert detection_lines([DOG, CAR], positions=True) == [
        f"dog: 81%{where}",
        f"cat: 25%{where}",
        "car: 100%\t(left_x:   -1   top_y:   -1   width:    2   height:    2)",
    ]


@pytest.mark.parametrize(("probability", "percent"), [(0.005, "0"), (0.125, "12"), (0.995, "100")])
def test_per_cents_are_those_of_float32(probability: float, percent: str) -> None:
    # 0.995 is less in float32, but a hundred times as much is 99.5; C's printf rounds half to even
    score = ClassScore(0, "x", float(np.float32(probability)))
    assert detection_lines([Detection((score,), 1.0, DOG.box, (1, 1))]) == [f"x: {percent}%"]


def test_sizes_that_are_no_numbers_can_be_printed() -> None:
    strange = Detection(DOG.classes, 1.0, (0.5, 0.5, np.inf, np.nan), (10, 10))
    assert detection_lines([strange], positions=True)[0].split("\t")[1] == (
        "(left_x: -inf   top_y:  nan   width:  inf   height:  nan)"
    )


def test_objects() -> None:
    objects = detection_objects([DOG, CAR])
    assert objects[0] == {
        "class_id": 16,
        "name": "dog",
        "relative_coordinates": {
            "center_x": 0.329747,
            "center_y": 0.640579,
            "width": 0.336508,
            "height": 0.517261,
        },
        "confidence": 0.80656,
    }
    assert [each["class_id"] for each in objects] == [16, 15, 2]
    assert objects[0]["relative_coordinates"] == objects[1]["relative_coordinates"]
    assert json.loads(json.dumps(objects)) == objects


def test_labels_have_the_best_class_only() -> None:
    assert label_lines([DOG, CAR]) == [
        "16 0.3297 0.6406 0.3365 0.5173",
        "2 0.0000 0.0078 0.0312 0.0312",
    ]
    assert label_lines([DOG, CAR], confidence=True) == [
        f"16 0.3297 0.6406 0.3365 0.5173 {DOG.probability:.4f}",
        f"2 0.0000 0.0078 0.0312 0.0312 {CAR.probability:.4f}",
    ]


def test_nothing_found() -> None:
    assert detection_lines([]) == detection_objects([]) == label_lines([]) == []
