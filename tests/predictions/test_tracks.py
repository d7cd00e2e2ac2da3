"""Objects keep their numbers through crossings, gaps and other names, and are counted once."""

from __future__ import annotations

import math

import pytest

import darknet_bn as dn
from darknet_bn.predictions.tracks import PATIENCE
from tests.support.videos import found_at

SIZE = (400, 300)
Thing = tuple[str, float, float]  # what, and the centre


def boxes(*things: Thing, side: float = 30, height: float | None = None) -> list[dn.Detection]:
    tall = side if height is None else height
    numbers = {"car": 0, "truck": 1, "dog": 2}
    return [
        found_at(name, (x - side / 2, y - tall / 2, side, tall), SIZE, numbers[name])
        for name, x, y in things
    ]


def numbers(tracker: dn.Tracker, found: list[dn.Detection], seconds: float) -> list[int]:
    return [each.number for each in tracker.update(found, seconds)]


def test_a_number_is_kept_and_a_new_one_given() -> None:
    tracker = dn.Tracker()
    assert numbers(tracker, boxes(("car", 50, 50), ("car", 200, 50)), 0.0) == [1, 2]
    assert numbers(tracker, boxes(("car", 210, 50), ("car", 60, 50)), 0.1) == [2, 1]
    assert numbers(tracker, boxes(("dog", 300, 200), ("car", 220, 50)), 0.2) == [3, 2]
    assert numbers(tracker, [], 0.3) == []


def test_a_track_has_all_that_a_detection_has_and_where_it_came_from() -> None:
    tracker = dn.Tracker()
    (found,) = boxes(("car", 50, 60))
    tracker.update([found], 0.0)
    (track,) = tracker.update(boxes(("car", 55, 60)), 0.5)
    assert (track.number, track.label, track.class_id, track.probability) == (1, "car", 0, 0.9)
    sides = (track.left, track.top, track.right, track.bottom)
    assert sides == pytest.approx((40, 45, 70, 75))
    assert [at for each in track.trail for at in each] == pytest.approx([50, 60, 55, 60])
    (later,) = tracker.update(boxes(("car", 60, 60)), 1.4)
    assert [x for x, _ in later.trail] == pytest.approx([55, 60])  # those of a second


@pytest.mark.parametrize("step", [3, 10, 25])
def test_two_that_cross_keep_their_numbers(step: float) -> None:
    # One goes right and one left, at the same height, through each other.
    tracker = dn.Tracker()
    for at in range(int(300 / step)):
        there, back = ("car", 50 + step * at, 100.0), ("car", 350 - step * at, 104.0)
        assert numbers(tracker, boxes(there, back), at / 25) == [1, 2], at


def test_one_that_is_hidden_keeps_its_number_if_it_comes_back_in_time() -> None:
    def found_after(gap: float) -> list[int]:
        tracker = dn.Tracker()
        for at in range(5):
            tracker.update(boxes(("car", 50 + 10 * at, 100)), at / 10)
        tracker.update([], 0.5)
        return numbers(tracker, boxes(("car", 90 + 100 * gap, 100)), 0.4 + gap)

    assert found_after(0.5) == found_after(PATIENCE) == [1]
    assert found_after(PATIENCE + 0.1) == [2]


def test_frames_that_are_far_apart_do_not_use_up_the_patience() -> None:
    tracker = dn.Tracker(patience=0)
    for at in range(4):
        assert numbers(tracker, boxes(("car", 50 + 5 * at, 50)), 10.0 * at) == [1]
    tracker.update([], 40.0)
    assert numbers(tracker, boxes(("car", 75, 50)), 50.0) == [2]


def test_times_that_vary_are_no_other_speed() -> None:
    # 100 pixels a second, seen at odd times: a box of 30 is always further than its width away.
    tracker = dn.Tracker()
    tracker.update(boxes(("car", 20, 50)), 0.0)
    tracker.update(boxes(("car", 30, 50)), 0.1)
    for seconds in (0.45, 1.1, 1.15, 2.0, 2.9):
        assert numbers(tracker, boxes(("car", 20 + 100 * seconds, 50)), seconds) == [1], seconds


def test_a_small_fast_one_is_followed_from_its_second_frame_on() -> None:
    tracker = dn.Tracker()
    for at in range(8):  # it never overlaps where it was
        assert numbers(tracker, boxes(("dog", 20 + 17 * at, 50), side=16), at / 25) == [1]


def test_another_name_for_a_moment_is_the_same_object() -> None:
    tracker = dn.Tracker()
    for at, name in enumerate(["car", "car", "truck", "car", "truck", "truck", "truck"]):
        (track,) = tracker.update(boxes((name, 50 + 2 * at, 50)), at / 10)
        assert (track.number, track.detection.label) == (1, name)
        assert track.label == ("car" if at < 6 else "truck")


def test_the_same_class_comes_first() -> None:
    # The dog is nearer to where the car was than the car is.
    tracker = dn.Tracker()
    tracker.update(boxes(("car", 50, 50)), 0.0)
    assert numbers(tracker, boxes(("dog", 51, 50), ("car", 60, 50)), 0.1) == [2, 1]


def test_ties_are_decided_by_number_and_order() -> None:
    for _ in range(3):
        tracker = dn.Tracker()
        tracker.update(boxes(("car", 50, 50), ("car", 50, 50)), 0.0)
        assert numbers(tracker, boxes(("car", 50, 50), ("car", 50, 50)), 0.1) == [1, 2]
        assert numbers(tracker, boxes(("car", 50, 50)), 0.2) == [1]


def test_boxes_without_an_area_are_new_each_time() -> None:
    tracker = dn.Tracker()
    assert numbers(tracker, boxes(("car", 50, 50), side=0), 0.0) == [1]
    assert numbers(tracker, boxes(("car", 50, 50), side=0), 0.1) == [2]


@pytest.mark.parametrize("seconds", [0.5, 0.4, math.nan])
def test_frames_come_in_order(seconds: float) -> None:
    tracker = dn.Tracker()
    tracker.update([], 0.5)
    with pytest.raises(dn.DarknetError, match="in the order of their times"):
        tracker.update([], seconds)


@pytest.mark.parametrize("patience", [-1, math.nan, math.inf])
def test_patience_is_a_number_of_seconds(patience: float) -> None:
    with pytest.raises(dn.DarknetError, match="patience"):
        dn.Tracker(patience)


# -- counting ------------------------------------------------------------------------------------


def count(
    line: tuple[float, float, float, float], *ways: list[tuple[float, float]], name: str = "car"
) -> dict[str, dict[str, int]]:
    """The counts after objects went along these points, each 10 frames a second."""
    counter = dn.LineCounter(line)
    for way in ways:
        tracker = dn.Tracker()
        for at, (x, y) in enumerate(way):
            tracks = tracker.update(boxes((name, x, y)), at / 10)
            assert [each.number for each in tracks] == [1]
            counter.update(tracks)
        counter = again(counter)
    return counter.counts


def again(counter: dn.LineCounter) -> dn.LineCounter:
    """The counter for the next clip, which has the same numbers for other objects."""
    following = dn.LineCounter(counter.line)
    following.counts = counter.counts
    return following


def along(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    steps = 20
    return [
        tuple(a + (b - a) * at / steps for a, b in zip(start, end, strict=True))  # type: ignore
        for at in range(steps + 1)
    ]


UPRIGHT, LEVEL, TILTED = (200, 0, 200, 300), (0, 150, 400, 150), (100, 0, 300, 300)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("line", "start", "end", "direction"),
    [
        (UPRIGHT, (100, 100), (300, 120), "right"),
        (UPRIGHT, (300, 100), (100, 120), "left"),
        (LEVEL, (100, 50), (120, 250), "down"),
        (LEVEL, (100, 250), (120, 50), "up"),
        (TILTED, (100, 150), (300, 150), "right"),
        (TILTED, (300, 150), (100, 150), "left"),
    ],
)
def test_directions_are_those_of_the_picture_whichever_point_comes_first(
    line: tuple[float, float, float, float],
    start: tuple[float, float],
    end: tuple[float, float],
    direction: str,
    turned: bool,
) -> None:
    given = (*line[2:], *line[:2]) if turned else line
    assert count(given, along(start, end)) == {"car": {direction: 1}}


def test_who_goes_past_the_end_of_the_line_does_not_cross_it() -> None:
    assert count((200, 0, 200, 100), along((100, 200), (300, 200))) == {}
    assert count((200, 0, 200, 100), along((100, 50), (150, 50))) == {}


def test_one_that_trembles_on_the_line_is_not_counted() -> None:
    # The diagonal of the box has 42 pixels: 2 are nearer than a twentieth.
    assert count(UPRIGHT, [(200 + 2 * (-1) ** at, 50.0) for at in range(20)]) == {}


def test_one_that_comes_back_is_counted_again() -> None:
    there, back = along((100, 50), (300, 50)), along((300, 50), (100, 50))
    assert count(UPRIGHT, there + back + there) == {"car": {"right": 2, "left": 1}}


def test_one_that_is_hidden_while_it_crosses_is_counted() -> None:
    way = along((150, 50), (250, 50))
    tracker, counter = dn.Tracker(), dn.LineCounter(UPRIGHT)
    for at, (x, y) in enumerate(way):
        seen = boxes(("dog", x, y)) if not 7 <= at <= 13 else []
        counter.update(tracker.update(seen, at / 10))
    assert counter.counts == {"dog": {"right": 1}}


def test_crossings_are_told_when_they_happen() -> None:
    tracker, counter = dn.Tracker(), dn.LineCounter(UPRIGHT)
    told = []
    for at, (x, y) in enumerate(along((150, 50), (250, 50))):
        told += [
            (at, each.track.number, each.direction)
            for each in counter.update(tracker.update(boxes(("car", x, y)), at / 10))
        ]
    assert told == [(11, 1, "right")]  # at 205, as 202.1 is the end of the band


@pytest.mark.parametrize("line", [(1, 2, 1, 2), (0, 0, math.nan, 1), (0, 0, math.inf, 1)])
def test_a_line_has_two_points(line: tuple[float, float, float, float]) -> None:
    with pytest.raises(dn.DarknetError, match="not a line"):
        dn.LineCounter(line)


def test_kinds_are_counted_apart() -> None:
    tracker, counter = dn.Tracker(), dn.LineCounter(LEVEL)
    for at in range(21):
        things = boxes(
            ("car", 50, 50 + 10 * at), ("dog", 150, 250 - 10 * at), ("dog", 300, 10 * at)
        )
        counter.update(tracker.update(things, at / 10))
    assert counter.counts == {"car": {"down": 1}, "dog": {"up": 1, "down": 1}}
