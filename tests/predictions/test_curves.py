"""Curves and rows agree with the average precision that they are about."""

from __future__ import annotations

import json

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions import Boxes
from darknet_bn.predictions.curves import RECALLS, curves
from darknet_bn.predictions.finding_rows import COLUMNS, finding_rows
from darknet_bn.values import json_line

CLASSES = 4
NAMES = ["ant", "bee", "cat", "dog"]


@pytest.fixture(scope="module")
def given() -> dn.Findings:
    """Pictures with boxes near the truths, and others; one class has no truth."""
    rng = np.random.default_rng(5)
    found, truths = [], []
    for _ in range(30):
        real = np.hstack([rng.uniform(0.2, 0.8, (4, 4)), rng.integers(0, CLASSES - 1, (4, 1))])
        at = rng.integers(0, 4, 7)
        near = real[at, :4] * rng.normal(1, 0.08, (7, 4))
        probabilities = np.zeros((10, CLASSES), np.float32)
        kinds = np.append(real[at, 4], rng.integers(0, CLASSES, 3)).astype(int)
        probabilities[np.arange(10), kinds] = rng.choice(np.linspace(0.01, 0.99, 40), 10)
        probabilities[::4, 0] = 0.3  # a second class
        xywh = np.vstack([near, rng.uniform(0.2, 0.8, (3, 4))]).astype(np.float32)
        found.append(Boxes(xywh, np.ones(10, np.float32), probabilities))
        truths.append(real.astype(np.float32))
    paths = tuple(f"photos/{number}.jpg" for number in range(30))
    return dn.Findings(tuple(found), tuple(truths), ((60, 80),) * 30, paths)


@pytest.mark.parametrize("limit", [0.3, 0.5, 0.75])
def test_curves_have_the_average_precision_of_their_classes(
    given: dn.Findings, limit: float
) -> None:
    at_101 = given.average_precision(iou_threshold=limit, points=101)
    whole = given.average_precision(iou_threshold=limit)
    made = curves(given, limit)
    assert [each.class_id for each in made.classes] == [0, 1, 2]
    for each in made.classes:
        assert each.average_precision == whole.classes[each.class_id].average_precision
        # Sums of 101 numbers up to 1 in another order.
        same = pytest.approx(at_101.classes[each.class_id].average_precision, rel=1e-13)
        assert each.precision.mean() == same
        assert (np.diff(each.precision) <= 0).all()
    # The mean of means is the mean of everything.
    assert made.mean.mean() == pytest.approx(at_101.mean_of_present, rel=1e-13)


def test_the_choice_of_a_threshold_shows_what_the_report_says(given: dn.Findings) -> None:
    made = curves(given, 0.5)
    for index in (0, 1, 25, 30, 50, 99, 100):
        report = given.average_precision(threshold=float(RECALLS[index]))
        shown = (made.precision[index], made.recall[index], made.f1[index])
        assert shown == pytest.approx((report.precision, report.recall, report.f1), rel=1e-15)
    assert made.f1[made.best] == made.f1.max()
    assert made.precision[-1] == 0  # nothing is above 1


def test_nothing_found_and_no_truth_have_no_curve() -> None:
    none = Boxes(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 2), np.float32)
    )
    truth = np.array([[0.5, 0.5, 0.1, 0.1, 1]], np.float32)
    made = curves(dn.Findings((none,), (truth,), ((9, 9),)), 0.5)
    assert [(each.class_id, each.precision.max()) for each in made.classes] == [(1, 0)]
    empty = curves(dn.Findings((none,), (truth[:0],), ((9, 9),)), 0.5)
    assert (empty.classes, empty.mean.max(), empty.f1.max()) == ((), 0, 0)


def test_rows_add_up_to_the_report(given: dn.Findings) -> None:
    report = given.average_precision(threshold=0)
    rows = list(finding_rows(given, NAMES, 0.5))
    assert all(tuple(row) == COLUMNS for row in rows)
    count = {
        name: sum(row["result"] == name for row in rows)
        for name in ("right", "again", "wrong", "missed")
    }
    assert count["right"] == report.true_positives
    assert count["again"] + count["wrong"] == report.false_positives
    assert count["missed"] == report.false_negatives
    assert min(count.values()) > 5
    assert len(rows) == report.pairs + count["missed"]
    found = [row["probability"] for row in rows if row["result"] != "missed"]
    assert found == sorted(found, reverse=True)
    assert json.loads(json_line(rows[0])) == rows[0]


def test_a_row_says_where_its_box_and_its_truth_are(given: dn.Findings) -> None:
    for row in finding_rows(given, NAMES, 0.5):
        picture = int(row["file"].removeprefix("photos/").removesuffix(".jpg"))
        assert row["name"] == NAMES[row["class"]]
        box = (row["left"], row["top"], row["width"], row["height"])
        if row["result"] == "missed":
            assert (row["probability"], row["iou"]) == (None, None)
            x, y, w, h, kind = given.truths[picture][row["truth"]].tolist()
            assert kind == row["class"]
            assert box == ((x - w / 2) * 80, (y - h / 2) * 60, w * 80, h * 60)
        elif row["result"] == "wrong":
            assert (row["truth"], row["iou"]) == (None, None)
        else:
            assert given.truths[picture][row["truth"], 4] == row["class"]
            assert row["iou"] > 0.5
