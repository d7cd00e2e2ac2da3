"""What was found, as supervision has it, and that its own tools take it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions import ClassScore
from tests.support.videos import found_at

SIZE = (100, 80)


def test_a_row_for_each_box_with_its_best_class() -> None:
    sv = pytest.importorskip("supervision", reason="the package supervision is not installed")
    car = found_at("car", (10, 20, 30, 40), SIZE, 2)
    scores = (ClassScore(1, "cat", 0.4), ClassScore(3, "dog", 0.7))
    pet = dn.Detection(scores, 0.8, (0.5, 0.5, 0.2, 0.5), (80, 100))
    made = dn.to_supervision([car, pet])
    assert isinstance(made, sv.Detections)
    np.testing.assert_allclose(made.xyxy, [[10, 20, 40, 60], [40, 20, 60, 60]], rtol=1e-6)
    np.testing.assert_allclose(made.confidence, [0.9, 0.7], rtol=1e-6)
    assert made.class_id.tolist() == [2, 3]
    assert made["class_name"].tolist() == ["car", "dog"]
    assert made.tracker_id is None
    assert len(made[made.class_id == 3]) == 1


def test_tracks_keep_their_numbers() -> None:
    pytest.importorskip("supervision", reason="the package supervision is not installed")
    tracker = dn.Tracker()
    tracker.update([found_at("dog", (60, 5, 20, 20), SIZE, 3)], 0.0)
    boxes = [found_at("car", (10, 20, 30, 40), SIZE, 2), found_at("dog", (62, 5, 20, 20), SIZE, 3)]
    made = dn.to_supervision(tracker.update(boxes, 0.1))
    assert made.tracker_id.tolist() == [2, 1]
    assert made.class_id.tolist() == [2, 3]


def test_nothing_found_is_nothing_there() -> None:
    sv = pytest.importorskip("supervision", reason="the package supervision is not installed")
    made = dn.to_supervision([])
    assert len(made) == 0
    assert len(sv.Detections.merge([made, made])) == 0


def test_its_line_counts_what_ours_counts() -> None:
    sv = pytest.importorskip("supervision", reason="the package supervision is not installed")
    tracker, ours = dn.Tracker(), dn.LineCounter((50, 0, 50, 80))
    theirs = sv.LineZone(sv.Point(50, 80), sv.Point(50, 0), [sv.Position.CENTER])
    for at in range(20):
        boxes = [
            found_at("car", (4 * at, 10, 16, 16), SIZE, 0),
            found_at("dog", (84 - 4 * at, 50, 16, 16), SIZE, 1),
            found_at("dog", (10, 30, 16, 16), SIZE, 1),
        ]
        tracks = tracker.update(boxes, at / 10)
        ours.update(tracks)
        theirs.trigger(dn.to_supervision(tracks))
    assert ours.counts == {"car": {"right": 1}, "dog": {"left": 1}}
    assert {theirs.in_count, theirs.out_count} == {1}


def test_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(dn.DarknetError) as caught:
        dn.to_supervision([])
    message = "the package supervision is not installed; pip install supervision"
    assert str(caught.value) == message
