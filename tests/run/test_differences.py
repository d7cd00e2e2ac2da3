"""The arithmetic of differences, and what a report says of many."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from darknet_bn.run.differences import (
    Difference,
    Offender,
    Report,
    compare_arrays,
    distances,
    largest_value,
)

NAN, INF = np.nan, np.inf


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def compared(expected: np.ndarray, found: np.ndarray, **options: Any) -> Difference:
    return compare_arrays("x", expected, found, **{"allowed": 1e-3, **options})


class TestArrays:
    @pytest.mark.parametrize(
        ("expected", "found", "distance"),
        [
            (1, 1, 0),
            (1, -2, 3),
            (NAN, NAN, 0),
            (INF, INF, 0),
            (-INF, -INF, 0),
            (INF, -INF, INF),
            (INF, 1, INF),
            (1, -INF, INF),
            (NAN, 1, INF),
            (1, NAN, INF),
            (NAN, INF, INF),
            (INF, NAN, INF),
            (3e38, -3e38, 2 * float(np.float32(3e38))),  # more than float32 holds
        ],
    )
    def test_distances(self, expected: float, found: float, distance: float) -> None:
        others = [5.0, NAN, INF]  # the same in both, whatever is next to them
        x, y = f32(expected, *others), f32(found, *others)
        assert distances(x, y).tolist() == [distance, 0, 0, 0]
        assert distances(x[:, None], y).shape == (4, 4)
        assert distances(x[:, None], y)[0, 0] == distance

    def test_the_largest_value_is_finite(self) -> None:
        assert largest_value(f32(1, -3, 2)) == 3
        assert largest_value(f32(1, -INF, NAN, -2)) == 2
        assert largest_value(f32(NAN, INF)) == 0
        assert largest_value(f32()) == 0

    def test_the_numbers_of_a_difference(self) -> None:
        found = compared(f32(4, 2, 0, -2), f32(4, 2.5, 0, -3), layer=3, section="yolo", on="a")
        assert (found.layer, found.section, found.input, found.shape) == (3, "yolo", "a", (4,))
        assert (found.largest, found.error, found.relative, found.mean) == (4, 1, 0.25, 0.375)
        assert found.cosine == pytest.approx((16 + 5 + 6) / np.sqrt(24 * (16 + 6.25 + 9)))
        assert found.mismatches == 2
        assert found.offenders == (Offender((1,), 2, 2.5), Offender((3,), -2, -3))
        assert not found.ok

    def test_what_is_just_allowed_agrees(self) -> None:
        for largest in (3.0, 7.0, 1e-3, 1e5):
            x = f32(largest, largest / 3)
            y = x + f32(0, largest / 10)
            relative = compared(x, y).relative
            assert compared(x, y, allowed=relative).ok
            assert compared(x, y, allowed=relative).mismatches == 0
            less = float(np.nextafter(relative, 0))
            assert not compared(x, y, allowed=less).ok
            assert compared(x, y, allowed=less).mismatches == 1

    def test_another_scale(self) -> None:
        found = compared(f32(0.5, 0.25), f32(0.5, 0.255), largest=10.0)
        assert (found.largest, found.ok) == (10, True)
        assert found.relative == pytest.approx(5e-4, rel=1e-5)
        assert not compared(f32(0.5, 0.25), f32(0.5, 0.255)).ok

    def test_zeros_are_compared_as_they_are(self) -> None:
        found = compared(f32(0, 0), f32(0, 1e-4))
        assert (found.largest, found.ok) == (0, True)
        assert found.relative == found.error
        assert not compared(f32(0, 0), f32(0, 1e-2)).ok

    def test_what_is_not_finite_is_left_out_of_the_angle(self) -> None:
        assert compared(f32(1, NAN, 2, INF), f32(2, NAN, 4, 5)).cosine == pytest.approx(1)
        assert compared(f32(NAN), f32(NAN)).cosine == 1
        assert compared(f32(0, 0), f32(0, 0)).cosine == 1
        assert compared(f32(0, 0), f32(0, 1)).cosine == 0

    def test_other_shapes_differ_throughout(self) -> None:
        found = compared(f32(1, 2), np.zeros((2, 3), np.float32))
        assert (found.shape, found.error, found.mean, found.mismatches) == ((2, 3), INF, INF, 6)
        assert not found.ok
        assert not compared(f32(), np.zeros((0, 1), np.float32)).ok  # not even of nothing

    def test_a_problem_is_no_agreement(self) -> None:
        found = compared(f32(1), f32(1))
        assert found.ok
        assert not replace(found, problem="a box is missing").ok


def report_of(*rows: Difference, **options: Any) -> Report:
    return Report(1e-3, rows, {"program": "another 1.0"}, **options)


RIGHT = compare_arrays("layer_000", f32(2), f32(2), allowed=1e-3, layer=0, section="crop")
OFF = compare_arrays("layer_002", f32(2), f32(3), allowed=1e-3, layer=2, section="yolo", on="r")
WORSE = compare_arrays("layer_001", f32(2), f32(9), allowed=1e-3, layer=1, section="crop", on="r")
BOXES = compare_arrays("boxes", f32(2), f32(4), allowed=1e-3, on="r")


class TestReport:
    def test_the_first_layer_that_is_wrong_is_where_the_cause_lies(self) -> None:
        assert report_of(RIGHT).first_wrong is None
        assert report_of(RIGHT, OFF, WORSE, inputs={"r": ""}).first_wrong == WORSE
        assert report_of(BOXES, OFF).first_wrong == OFF
        assert report_of(BOXES).first_wrong == BOXES

    def test_the_worst_is_wrong_if_anything_is(self) -> None:
        rough = replace(OFF, allowed=1.0)
        problem = replace(RIGHT, problem="a box is missing")
        assert report_of(rough, RIGHT).worst == rough
        assert report_of(rough, problem).worst == problem

    def test_the_text_of_layers(self) -> None:
        heading, row, verdict = report_of(RIGHT).text().splitlines()
        assert heading.split()[:3] == ["layer", "section", "shape"]
        assert row.split()[:3] == ["0", "crop", "1"]
        assert verdict == "all 1 layers agree within 0.001 of their largest value"
        assert "layer 2 [yolo] is the first that differs: 1 value" in report_of(OFF).text()

    def test_the_text_of_outputs(self) -> None:
        row = replace(RIGHT, input="photos/a.jpg")
        proof = report_of(row, inputs={"photos/a.jpg": "0"})
        heading, line, verdict, limits = proof.text().splitlines()
        assert heading.split()[:2] == ["output", "on"]
        assert line.split()[:2] == ["layer_000", "a.jpg"]
        assert verdict == "another 1.0, relative difference at most 0"
        assert limits == "  (allowed 0.001; worst is layer_000)"
        rough = report_of(replace(row, rounding=1e-4), inputs={"photos/a.jpg": "0"})
        assert rough.table()[0].split()[-2:] == ["rounding", "allowed"]
        assert rough.verdict()[1] == (
            "  (float32 rounding alone gives 0.0001; allowed 0.001; worst is layer_000)"
        )
        wrong = report_of(BOXES, inputs={"r": "0"})
        assert "boxes on r is the first that differs: 1 value" in str(wrong)
        missing = report_of(replace(BOXES, problem="a box is missing"), inputs={"r": "0"})
        assert str(missing).splitlines()[-1] == (
            "boxes on r is the first that differs: a box is missing"
        )

    def test_nothing_is_nothing(self) -> None:
        assert report_of().verdict() == ["nothing was compared"]
        assert "nothing was compared" in repr(report_of(inputs={"r": "0"}))
        assert report_of().json()["worst"] is None

    def test_json_tells_everything(self) -> None:
        told = json.loads(json.dumps(report_of(RIGHT, OFF).json()))
        assert (told["ok"], told["first_wrong"], told["worst"]["name"]) == (False, 2, "layer_002")
        assert [each["relative"] for each in told["differences"]] == [0, 0.5]
        assert told["provenance"] == {"program": "another 1.0"}
        names = set(Difference.__dataclass_fields__) | {"relative", "ok"}
        assert names == set(told["differences"][0])
