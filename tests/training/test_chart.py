"""The picture of the loss: whole, within its frame, with round numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from darknet_bn.training.chart import loss_chart

SVG = "{http://www.w3.org/2000/svg}"


def points(chart: str) -> list[list[tuple[float, float]]]:
    lines = ET.fromstring(chart).iter(f"{SVG}polyline")
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.get("points").split())]
        for line in lines
    ]


def labels(chart: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(chart).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "losses", [[3.0, 2.0, 1.0], [100.0, 1.0, 0.01], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [5.0]]
)
def test_curves_lie_in_the_frame(losses: list[float]) -> None:
    chart = loss_chart("a<b", list(range(1, len(losses) + 1)), losses, losses)
    for curve in points(chart):
        assert len(curve) == len(losses)
        assert all(64 <= x <= 740 and 34 <= y <= 374 for x, y in curve)
    assert "a<b: loss" in labels(chart)


def test_lower_losses_lie_lower() -> None:
    ((_, first), (_, second), (_, third)), _ = points(
        loss_chart("net", [1, 2, 3], [1.0, 100.0, 0.01], [1.0] * 3)
    )
    assert second < first < third
    assert first - second == pytest.approx(third - first, abs=0.2)  # a logarithmic axis


def test_many_iterations_are_thinned_out() -> None:
    count = 50_000
    chart = loss_chart("net", list(range(count)), [1.0] * count, [1.0] * count)
    curve, _ = points(chart)
    assert len(curve) < 2000
    assert curve[-1][0] == pytest.approx(740)


def test_round_numbers() -> None:
    found = labels(loss_chart("net", [1, 1000], [0.5, 3.2], [0.5, 3.2]))
    assert {"1", "2", "3", "200", "1000"} <= set(found)
    assert {"0.1", "1", "10"} <= set(labels(loss_chart("net", [1, 9], [0.1, 9.0], [0.1, 9.0])))
