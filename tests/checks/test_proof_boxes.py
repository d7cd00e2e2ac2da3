"""What suppression leaves, as a set: every right one passes, no wrong one does."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.checks.proof_boxes import Limits, over_threshold, pair
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.kernels.boxes.nms import do_nms_sort

EXACT = Limits(threshold=0.3, nms=0.45, score=0, edge=0)
NEAR = Limits(threshold=0.3, nms=0.45, score=1e-5, edge=1e-5)


def drawn(seed: int, count: int = 60, classes: int = 3) -> Boxes:
    """Boxes in heaps, as a detector gives them, with scores on both sides of the threshold."""
    rng = np.random.default_rng(seed)
    heap = rng.integers(6, size=count)
    xy = rng.random((6, 2))[heap] + 0.02 * rng.standard_normal((count, 2))
    wh = (0.05 + 0.3 * rng.random((6, 2)))[heap] * rng.uniform(0.7, 1.3, (count, 2))
    scores = rng.random((count, classes)) ** 2
    return Boxes(
        np.concatenate((xy, wh), axis=1).astype(np.float32),
        np.ones(count, np.float32),
        scores.astype(np.float32),
    )


def rows_of(images: list[Boxes], limits: Limits = EXACT) -> np.ndarray:
    """What Darknet's suppression leaves, as a file gives it: (m, 7)."""
    rows = [np.empty((0, 7), np.float32)]
    for image, boxes in enumerate(images):
        over = np.where(boxes.probabilities > limits.threshold, boxes.probabilities, 0)
        left = do_nms_sort(Boxes(boxes.xywh, boxes.objectness, over), limits.nms)
        box, kind = np.nonzero(left.probabilities)
        half = left.xywh[box, 2:] / 2
        centre, scores = left.xywh[box, :2], left.probabilities[box, kind]
        columns = (np.full(len(box), image), *(centre - half).T, *(centre + half).T, scores, kind)
        rows.append(np.stack(columns, axis=1).astype(np.float32))
    return np.concatenate(rows)


def boxes_of(*rows: tuple[float, ...], classes: int = 1) -> Boxes:
    """Boxes given as left, top, right, bottom, score, all of class 0."""
    table = np.array(rows, np.float64)
    corners = table[:, :4]
    xywh = np.concatenate(
        ((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), 1
    )
    scores = np.zeros((len(rows), classes), np.float32)
    scores[:, 0] = table[:, 4]
    return Boxes(xywh.astype(np.float32), np.ones(len(rows), np.float32), scores)


def file_of(*rows: tuple[float, ...]) -> np.ndarray:
    """Rows of image 0 and class 0, given as left, top, right, bottom, score."""
    return np.array([(0, *row, 0) for row in rows], np.float32)


# -- what passes -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_what_darknet_leaves_passes_in_any_order(seed: int) -> None:
    images = [drawn(seed), drawn(seed + 100)]
    rows = np.random.default_rng(seed).permutation(rows_of(images))
    assert 40 < len(rows) < 120
    pairing = pair(images, rows, NEAR)
    assert pairing.problems == []
    np.testing.assert_allclose(pairing.expected, rows, atol=1e-6)


def test_nothing_over_the_threshold_is_no_problem() -> None:
    boxes = boxes_of((0, 0, 1, 1, 0.2))
    pairing = pair([boxes], np.empty((0, 7), np.float32), NEAR)
    assert (pairing.expected.shape, pairing.problems) == ((0, 7), [])


NEAR_TIE = boxes_of((0, 0, 1, 1, 0.8), (0, 0, 1, 0.9, 0.800001))


@pytest.mark.parametrize("kept", [0, 1])
def test_of_two_that_are_nearly_alike_either_may_stay(kept: int) -> None:
    rows = file_of(((0, 0, 1, 1, 0.8), (0, 0, 1, 0.9, 0.800001))[kept])
    assert pair([NEAR_TIE], rows, NEAR).problems == []
    # Without any room it is the better one.
    assert len(pair([NEAR_TIE], rows, EXACT).problems) == 1 - kept


@pytest.mark.parametrize("score", [0.299995, 0.300005])
def test_a_score_at_the_threshold_may_come_and_go(score: float) -> None:
    boxes = boxes_of((0, 0, 1, 1, 0.8), (2, 2, 3, 3, score))
    both = file_of((0, 0, 1, 1, 0.8), (2, 2, 3, 3, 0.300005))
    for rows in (both, both[:1]):
        assert pair([boxes], rows, NEAR).problems == []


def test_an_overlap_at_the_limit_may_go_either_way_with_all_that_follows() -> None:
    # The first and the second overlap by 0.45000, as the second and the third do.
    side = 2 * 0.45 / 1.45  # of what two squares have in common
    first, second, third = (
        (0, 0, 1, 1, 0.9),
        (1 - side, 0, 2 - side, 1, 0.8),
        (2 - 2 * side, 0, 3 - 2 * side, 1, 0.7),
    )
    boxes = boxes_of(first, second, third)
    for kept in ((first, third), (first, second), (first, second, third)):
        assert pair([boxes], file_of(*kept), NEAR).problems == [], kept
    # The third is missing only if the second is.
    assert "is missing" in pair([boxes], file_of(first), NEAR).problems[0]


# -- what does not ---------------------------------------------------------------------------


def error_of(images: list[Boxes], rows: np.ndarray) -> float:
    difference = np.abs(pair(images, rows, NEAR).expected - rows)
    return float(np.where(np.isnan(difference), np.inf, difference).max())


def test_a_box_moved_or_a_score_changed_is_an_error_of_that_size() -> None:
    images = [drawn(0)]
    for column, change in ((1, 1e-3), (4, -2e-4), (5, 5e-4)):
        rows = rows_of(images)
        rows[7, column] += change
        assert error_of(images, rows) == pytest.approx(abs(change), rel=1e-2)


@pytest.mark.parametrize("seed", range(3))
def test_each_box_that_is_dropped_is_missed(seed: int) -> None:
    images = [drawn(seed)]
    rows = rows_of(images)
    for at, row in enumerate(rows):
        (problem, *_) = pair(images, np.delete(rows, at, axis=0), NEAR).problems
        assert problem.startswith("the box of class ")
        assert problem.endswith(" is missing")
        assert row[5] > 0.30002  # none of these is at the threshold


def test_each_box_that_is_doubled_is_one_too_many() -> None:
    images = [drawn(0)]
    rows = rows_of(images)
    for row in rows:
        twice = np.concatenate((rows, row[None]))
        # Its partner is taken: what is left is another box, or none.
        assert pair(images, twice, NEAR).problems or error_of(images, twice) > 1e-3


def test_each_box_that_suppression_takes_is_one_too_many() -> None:
    images = [drawn(0)]
    boxes, kept = images[0], rows_of(images)
    everything = rows_of(images, Limits(0.3, 1.0, 0, 0))
    gone = [row for row in everything if not (kept == row).all(axis=1).any()]
    assert len(gone) > 10
    for row in gone:
        (problem, *_) = pair([boxes], np.concatenate((kept, row[None])), NEAR).problems
        assert "are both present although they overlap" in problem


def test_another_class_or_image_is_refused() -> None:
    images = [drawn(0), drawn(1)]
    for column in (0, 6):
        rows = rows_of(images)
        rows[3, column] = 1 - min(rows[3, column], 1)
        assert pair(images, rows, NEAR).problems
        assert error_of(images, rows) > 1e-3
    for column, value in ((0, 2), (0, -1), (6, 3), (6, 0.5), (6, np.nan)):
        rows = rows_of(images)
        rows[3, column] = value
        assert "which do not exist" in pair(images, rows, NEAR).problems[0]


def test_a_lower_threshold_or_another_overlap_is_refused() -> None:
    images = [drawn(0)]
    low = rows_of(images, Limits(0.2, 0.45, 0, 0))
    assert "is not above the threshold" in pair(images, low, NEAR).problems[0]
    high = rows_of(images, Limits(0.4, 0.45, 0, 0))
    assert "is missing" in pair(images, high, NEAR).problems[0]
    for nms, problem in ((0.6, "though they overlap"), (0.3, "is missing")):
        rows = rows_of(images, Limits(0.3, nms, 0, 0))
        assert problem in pair(images, rows, NEAR).problems[0]


def test_small_boxes_have_no_room_to_excuse_each_other() -> None:
    # Less than the room across, and far apart: one cannot have suppressed the other.
    boxes = boxes_of((0.1, 0.1, 0.100005, 0.100005, 0.9), (0.5, 0.5, 0.500005, 0.500005, 0.8))
    problems = pair([boxes], file_of((0.1, 0.1, 0.100005, 0.100005, 0.9)), NEAR).problems
    assert "is missing" in problems[0]


def test_boxes_of_no_number_stay_and_suppress_nothing() -> None:
    boxes = boxes_of((np.nan, 0, 1, 1, 0.9), (0, 0, 1, 1, 0.8), (0, 0, 1, np.inf, 0.7))
    rows = file_of((np.nan, 0, np.nan, 1, 0.9), (0, 0, 1, 1, 0.8), (0, np.nan, 1, np.nan, 0.7))
    assert pair([boxes], rows, NEAR).problems == []
    assert pair([boxes], rows[:2], NEAR).problems == []  # whether they overlap is not known
    (problem,) = pair([boxes], rows[1:2], NEAR).problems
    assert problem.endswith("score 0.9 at nan, 0 to nan, 1 is missing")


def test_what_is_over_a_threshold_is_judged_by_one_of_two() -> None:
    images, others = [drawn(0, 5, 2)], [drawn(1, 5, 2)]
    mine, theirs = over_threshold(images, images, 0.3), over_threshold(others, images, 0.3)
    count = int((images[0].probabilities > 0.3).sum())
    assert mine.shape == theirs.shape == (count, 5)
    assert (mine[:, 4] > 0.3).all()
    box, kind = np.nonzero(images[0].probabilities > 0.3)
    np.testing.assert_array_equal(theirs[:, 4], others[0].probabilities[box, kind])
