"""Which classes are found as which: counted by hand, and by a slow loop."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.kernels.boxes.box import box_iou
from darknet_bn.predictions import Boxes


def boxes(*rows: tuple[tuple[float, ...], tuple[float, ...]]) -> Boxes:
    xywh = np.array([place for place, _ in rows], np.float32).reshape(-1, 4)
    probabilities = np.array([each for _, each in rows], np.float32).reshape(-1, 3)
    return Boxes(xywh, np.ones(len(rows), np.float32), probabilities)


def findings(found: list[Boxes], truths: list[list[tuple[float, ...]]]) -> dn.Findings:
    real = [np.array(each, np.float32).reshape(-1, 5) for each in truths]
    return dn.Findings(tuple(found), tuple(real), ((100, 100),) * len(found))


LEFT, RIGHT, BELOW = (0.2, 0.5, 0.2, 0.4), (0.7, 0.5, 0.2, 0.4), (0.5, 0.9, 0.1, 0.1)


def test_every_kind_of_box_is_in_its_place() -> None:
    given = findings(
        [
            boxes(
                (LEFT, (0.9, 0.1, 0)),  # right
                (RIGHT, (0, 0.3, 0.6)),  # of class 1, found as 2
                (BELOW, (0, 0.8, 0)),  # nothing is there
                (BELOW, (0, 0, 0.2)),  # not over the threshold
            ),
            boxes(),
        ],
        [[(*LEFT, 0), (*RIGHT, 1)], [(*BELOW, 2)]],  # the last is missed
    )
    counts = dn.confusion(given).counts
    expected = np.zeros((4, 4), int)
    expected[0, 0] = expected[1, 2] = expected[3, 1] = expected[2, 3] = 1
    np.testing.assert_array_equal(counts, expected)
    assert repr(dn.confusion(given)) == "<Confusion 1 right of 3 truths>"


def test_an_object_is_what_its_most_probable_box_says() -> None:
    near, far = (0.21, 0.5, 0.2, 0.4), (0.24, 0.5, 0.2, 0.4)
    for order in itertools.permutations(((far, (0.9, 0, 0)), (near, (0, 0.5, 0)))):
        counts = dn.confusion(findings([boxes(*order)], [[(*LEFT, 1)]])).counts
        assert counts[1, 0] == 1  # although the other is nearer, and right
        assert counts[3, 1] == 1
        assert counts.sum() == 2


def test_a_box_takes_the_truth_that_it_overlaps_most_of_those_that_are_free() -> None:
    places = [(0.5 + shift, 0.5, 0.4, 0.4) for shift in (0, 0.04, 0.1)]
    found = boxes(*((place, (0.9 - 0.1 * at, 0, 0)) for at, place in enumerate(places[:2])))
    # The first box is exactly the first truth; the second box is nearer to it than to the last.
    given = findings([found], [[(*places[2], 2), (*places[0], 1)]])
    counts = dn.confusion(given).counts
    assert counts[1, 0] == counts[2, 0] == 1
    assert counts.sum() == 2


def test_thresholds_are_those_that_are_given() -> None:
    given = findings([boxes(((0.24, 0.5, 0.2, 0.4), (0.5, 0, 0)))], [[(*LEFT, 0)]])  # IoU 2/3
    assert dn.confusion(given, iou_threshold=0.66).counts[0, 0] == 1
    assert dn.confusion(given, iou_threshold=0.67).counts[0, 3] == 1
    assert dn.confusion(given, threshold=0.5).counts.sum() == 1  # the box is not above it
    for wrong in ({"threshold": 2}, {"iou_threshold": -1}):
        with pytest.raises(dn.DarknetError, match="out of range"):
            dn.confusion(given, **wrong)


def test_a_class_that_does_not_exist_is_refused() -> None:
    with pytest.raises(dn.ShapeError, match="a class that does not exist"):
        dn.confusion(findings([boxes()], [[(*LEFT, 3)]]))


def test_it_is_what_a_slow_loop_counts() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        truths = np.hstack([rng.uniform(0.2, 0.8, (6, 4)), rng.integers(0, 3, (6, 1))])
        near = truths[rng.integers(0, 6, 9), :4] + rng.normal(0, 0.02, (9, 4))
        found = boxes(*zip(near.tolist(), rng.random((9, 3)).tolist(), strict=True))
        given = findings([found], [[tuple(row) for row in truths.tolist()]])
        counts = dn.confusion(given, threshold=0.6).counts
        expected = np.zeros((4, 4), int)
        real = given.truths[0]
        overlap = box_iou(found.xywh[:, None], real[None, :, :4])
        over = [row for row in range(9) if found.probabilities[row].max() > 0.6]
        free, left = set(over), set(range(6))
        for box in sorted(over, key=lambda each: -found.probabilities[each].max()):
            pairs = [(overlap[box, t], -t) for t in left if overlap[box, t] > 0.5]
            if pairs:
                truth = -max(pairs)[1]
                expected[int(real[truth, 4]), found.probabilities[box].argmax()] += 1
                free.remove(box)
                left.remove(truth)
        for box in free:
            expected[3, found.probabilities[box].argmax()] += 1
        for truth in left:
            expected[int(real[truth, 4]), 3] += 1
        np.testing.assert_array_equal(counts, expected)
        assert counts[:-1].sum() == 6
        assert counts[:, :-1].sum() == len(over)
