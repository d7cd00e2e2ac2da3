"""Plots: complete SVG whose lines and cells are the numbers that they show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from darknet_bn.predictions.confusion import Confusion
from darknet_bn.predictions.curves import RECALLS, Curve, Curves
from darknet_bn.predictions.plots import confusion_plot, precision_recall_plot, threshold_plot

SVG = "{http://www.w3.org/2000/svg}"


def made(count: int) -> Curves:
    """Straight curves, each class a little better than the one before."""
    ends = [(number + 1) / count for number in range(count)]
    classes = tuple(Curve(number, end, end * (1 - RECALLS)) for number, end in enumerate(ends))
    f1 = 1 - (RECALLS - 0.4) ** 2
    return Curves(classes, np.where(RECALLS < 0.9, RECALLS, 0), 1 - RECALLS, f1)


def texts(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ET.fromstring(svg).iter(f"{SVG}text")]


def lines(svg: str) -> list[np.ndarray]:
    """Return the points of each line, from 0 to 1."""
    found = []
    for each in ET.fromstring(svg).iter(f"{SVG}polyline"):
        points = np.array([pair.split(",") for pair in each.get("points", "").split()], float)
        found.append((points - (60, 440)) / (400, -400))
    return found


def test_precision_over_recall() -> None:
    curves = made(3)
    svg = precision_recall_plot(curves, ["ant", "bee & <co>", "x" * 40])
    shown = texts(svg)
    assert shown[-4:] == ["mean of 3 0.667", f"{'x' * 21}… 1.000", "bee & <co> 0.667", "ant 0.333"]
    *classes, mean = lines(svg)
    for line, curve in zip(classes, curves.classes[::-1], strict=True):
        # Places are rounded to a tenth of a pixel of 400.
        np.testing.assert_allclose(line, np.stack([RECALLS, curve.precision], 1), atol=0.1 / 400)
    np.testing.assert_allclose(mean[:, 1], curves.mean, atol=0.1 / 400)


def test_of_many_classes_the_worst_are_named() -> None:
    svg = precision_recall_plot(made(30), [f"class {number}" for number in range(30)])
    shown = texts(svg)
    named = [text for text in shown if text.startswith("class ")]
    assert [text.split()[1] for text in named] == [f"{number}" for number in range(7, -1, -1)]
    assert shown[-1] == "22 others, better"
    assert len(lines(svg)) == 31
    assert svg.count("class='faint'") == 22 + 1


def test_no_class_at_all() -> None:
    svg = precision_recall_plot(made(0), [])
    assert texts(svg)[-1] == "mean of 0 0.000"


def test_the_choice_of_a_threshold() -> None:
    svg = threshold_plot(made(2), 0.25)
    assert texts(svg)[-4:] == [
        "precision",
        "recall",
        "F1, best 1.000 at 0.40",
        "threshold 0.25",
    ]
    precision, recall, f1 = lines(svg)
    assert len(precision) == 90  # it ends where nothing is found
    assert (len(recall), len(f1)) == (100, 101)
    (circle,) = ET.fromstring(svg).iter(f"{SVG}circle")
    assert (circle.get("cx"), circle.get("cy")) == ("220.0", "40.0")
    (mark,) = [each for each in ET.fromstring(svg).iter(f"{SVG}line") if each.get("y2") == "40"]
    assert mark.get("x1") == "160.0"


COUNTS = np.array([[6, 2, 0, 2], [0, 9, 0, 0], [0, 0, 0, 0], [3, 1, 0, 0]])


def test_confusion_has_a_cell_for_each_count() -> None:
    svg = confusion_plot(Confusion(COUNTS, 0.25, 0.5), ["ant", "b<", "never"])
    titles = {each.text for each in ET.fromstring(svg).iter(f"{SVG}title")}
    assert titles == {
        "true ant, found as ant: 6 of 10",
        "true ant, found as b<: 2 of 10",
        "true ant, found as background: 2 of 10",
        "true b<, found as b<: 9 of 9",
        "true background, found as ant: 3 of 9",  # of all that was found as such
        "true background, found as b<: 1 of 12",
    }
    shown = texts(svg)
    assert shown[0] == "Confusion over 0.25 at IoU 0.5"
    assert "never" not in shown
    assert sorted(text for text in shown if text.isdigit()) == ["1", "2", "2", "3", "6", "9"]
    opacities = re.findall(r"fill-opacity='([\d.]+)'", svg)
    assert opacities == ["0.600", "0.200", "0.200", "1.000", "0.333", "0.083"]


def test_many_classes_have_small_cells_and_no_more_than_there_is_room_for() -> None:
    counts = np.zeros((201, 201), int)
    np.fill_diagonal(counts, np.arange(201))
    svg = confusion_plot(Confusion(counts, 0.3, 0.5), [f"name {number}" for number in range(200)])
    shown = texts(svg)
    assert shown[0] == "Confusion over 0.3 at IoU 0.5; 80 of 199 classes"
    assert [text for text in shown if text.startswith("name ")][::2] == [
        f"name {number}" for number in range(120, 200)
    ]
    assert "rotate(-90)" in svg
    width, height = (float(ET.fromstring(svg).get(side, "0")) for side in ("width", "height"))
    assert max(width, height) < 1000


@pytest.mark.parametrize("count", [1, 5, 30, 80])
def test_everything_is_inside(count: int) -> None:
    counts = np.eye(count + 1, dtype=int)
    root = ET.fromstring(confusion_plot(Confusion(counts, 0.25, 0.5), ["n" * 22] * count))
    width, height = (float(root.get(side, "0")) for side in ("width", "height"))
    for each in root.iter(f"{SVG}rect"):
        if each.get("x"):
            x, y, side = (float(each.get(key, "0")) for key in ("x", "y", "width"))
            assert 0 <= x <= x + side <= width
            assert 0 <= y <= y + side <= height
