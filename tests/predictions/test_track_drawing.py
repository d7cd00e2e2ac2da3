"""Frames with boxes, trails and a line: where they are, and what stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions.drawing import class_colour
from tests.support.videos import found_at

SIZE = (200, 160)
FRAME = np.full((160, 200, 3), 90, np.uint8)


def tracked(counter: dn.LineCounter | None = None) -> list[dn.Track]:
    tracker = dn.Tracker()
    for at in range(8):
        tracks = tracker.update([found_at("dog", (20 + 15 * at, 60, 30, 30), SIZE, 3)], at / 10)
        if counter is not None:
            counter.update(tracks)
    return tracks


def changed(drawn: np.ndarray) -> np.ndarray:
    return (drawn != FRAME).any(axis=2)


def test_a_frame_is_drawn_into_as_a_picture_is() -> None:
    found = [found_at("dog", (20, 60, 30, 30), SIZE, 3)]
    planes = np.ascontiguousarray(FRAME.transpose(2, 0, 1)).astype(np.float32) / 255
    drawn = dn.draw_detections(FRAME, found)
    assert (drawn.dtype, drawn.shape) == (np.uint8, FRAME.shape)
    wanted = np.rint(255 * dn.draw_detections(planes, found)).astype(np.uint8).transpose(1, 2, 0)
    np.testing.assert_array_equal(drawn, wanted)
    np.testing.assert_array_equal(dn.draw_tracks(FRAME, found), wanted)
    assert (FRAME == 90).all()  # a copy is drawn into
    drawn[0, 0] = 0  # and it may be written to


@pytest.mark.parametrize("shape", [(160, 200), (160, 200, 1), (160, 200, 4), (3, 0, 3)])
def test_other_arrays_of_bytes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(dn.ShapeError, match="not a picture"):
        dn.draw_detections(np.zeros(shape, np.uint8), [])


def test_a_trail_leads_to_the_centre_of_the_box() -> None:
    (track,) = tracked()
    with_trail = changed(dn.draw_tracks(FRAME, [track]))
    without = changed(dn.draw_detections(FRAME, [track.detection]))
    assert with_trail[75, 60:120].all()  # from the first centre, 35, less what is smoothed
    assert not without[75, 60:120].any()
    assert not with_trail[100:].any()


def test_the_number_is_in_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageDraw

    written: list[str] = []
    real = ImageDraw.ImageDraw.text

    def text(self: Any, start: Any, text: str, *rest: Any, **more: Any) -> None:
        written.append(text)
        real(self, start, text, *rest, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    counter = dn.LineCounter((100, 0, 100, 160))
    tracks = tracked(counter)
    dn.draw_tracks(FRAME, tracks, counter)
    assert written == ["#1 dog 90%", "1 right"]
    dn.draw_tracks(FRAME, [], dn.LineCounter((100, 0, 100, 160)))
    assert written[2:] == ["0"]


def test_a_line_is_white_with_black_edges_and_its_count_is_inside() -> None:
    for line in ((100, 20, 100, 140), (100, 140, 100, 20), (199, 159, 0, 159)):
        drawn = dn.draw_tracks(FRAME, [], dn.LineCounter(line))
        colours = {tuple(each) for each in drawn[changed(drawn)].tolist()}
        assert {(0, 0, 0), (255, 255, 255)} <= colours
        assert class_colour(0) not in colours
    white = (dn.draw_tracks(FRAME, [], dn.LineCounter((100, 20, 100, 140))) == 255).all(axis=2)
    assert white[60:140, 100].all()
    assert not white[60:, :95].any()
