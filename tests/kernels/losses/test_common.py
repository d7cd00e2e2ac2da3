"""What the losses of detection heads have in common."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.kernels.losses.common import (
    TrueBoxes,
    best_overlaps,
    finite,
    focal_slope,
    nearest,
    rounds,
)
from tests.support.plain_overlaps import iou


def test_boxes_end_where_x_is_0() -> None:
    truth = np.zeros((3, 4, 5), np.float32)
    truth[0, (0, 1, 3), 0] = 0.5  # the third is the end, whatever follows
    truth[2, :, 0] = 0.25
    truth[..., 4] = np.arange(4)
    true = TrueBoxes.read(truth)
    assert true.image.tolist() == [0, 0, 2, 2, 2, 2]
    assert true.kind.tolist() == [0, 1, 0, 1, 2, 3]
    assert [len(true.of(image).xywh) for image in range(3)] == [2, 0, 4]
    assert len(TrueBoxes.read(np.zeros((2, 0, 5), np.float32)).image) == 0


def test_cells() -> None:
    places = [(0.7, 0.5), (0.999, 0.0), (1.0, 0.5), (-0.05, 0.5), (-0.2, 0.5), (np.nan, 0.5)]
    xywh = np.array([(x, y, 1, 1) for x, y in places])
    zeros = np.zeros(len(places), np.intp)
    row, column, inside = TrueBoxes(zeros, xywh.astype(np.float32), zeros).cells(4, 10)
    assert inside.tolist() == [True, True, False, True, False, False]
    assert column[inside].tolist() == [7, 9, 0]  # 0.7 * 10 is 7 in float32 arithmetic
    assert row[inside].tolist() == [2, 0, 2]


def test_rounds_keep_the_order_of_what_is_the_same() -> None:
    places = np.random.default_rng(0).integers(0, 5, 40)
    left, seen = {each: np.flatnonzero(places == each).tolist() for each in range(5)}, 0
    for rows in rounds(places):
        assert len(set(places[rows])) == len(rows)
        for row in rows:
            assert left[int(places[row])].pop(0) == row
        seen += len(rows)
    assert seen == 40
    assert not list(rounds(np.zeros(0, np.intp)))


@pytest.mark.parametrize("count", [0, 1, 30])
@pytest.mark.parametrize("k", [1, 50, 40_000])  # the last goes through in several blocks
def test_best_overlaps(count: int, k: int) -> None:
    rng = np.random.default_rng(0)
    xywh, true = rng.uniform(0.05, 0.6, (k, 4)), rng.uniform(0.05, 0.6, (count, 4))
    best = best_overlaps(np.ascontiguousarray(xywh.T), true)
    for row in rng.integers(0, k, 20):
        expected = max((iou(xywh[row], each) for each in true), default=0)
        assert best[row] == pytest.approx(expected)
    assert best_overlaps(xywh.T.astype(np.float32), true).dtype == np.float32


def test_sizes_that_are_no_numbers_overlap_with_nothing() -> None:
    xywh = np.array([(0.5, 0.5, np.inf, 1), (0.5, 0.5, 0, 0), (0.5, 0.5, np.nan, 1)], np.float32).T
    true = np.array([(0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0, 0)], np.float32)
    assert best_overlaps(xywh, true).tolist() == [0, 0, 0]


def test_nearest_is_of_the_same_image() -> None:
    true = TrueBoxes(
        np.array([0, 0, 2]),
        np.array([(0.2, 0.2, 0.2, 0.2), (0.6, 0.6, 0.2, 0.2), (0.2, 0.2, 0.2, 0.2)], np.float32),
        np.zeros(3, np.intp),
    )
    boxes = np.array(
        [(0.6, 0.55, 0.2, 0.2), (0.6, 0.6, 0.9, 0.9), (0.2, 0.2, 0.2, 0.2)], np.float32
    )
    assert nearest(boxes, np.array([0, 2, 0]), true).tolist() == [1, 2, 0]


def test_focal_slope_is_a_derivative() -> None:
    """Half the derivative of ``-(1 - p)^2 log p`` by the input of the function, over ``1 - p``."""
    p, step = np.array([0.01, 0.3, 0.7, 0.99]), 1e-6

    def loss(x: np.ndarray) -> np.ndarray:
        share = 1 / (1 + np.exp(-x))
        return -((1 - share) ** 2) * np.log(share)

    x = np.log(p / (1 - p))
    slope = -(loss(x + step) - loss(x - step)) / (2 * step)
    np.testing.assert_allclose(focal_slope(p), slope / (1 - p) / 2, rtol=1e-6)
    assert focal_slope(np.array([-1.0])).tolist() == [0]


def test_finite() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 3, -3, 0.5])
    assert finite(values).tolist() == [0, 0, 0, 3, -3, 0.5]
    assert finite(values, 2).tolist() == [0, 0, 0, 2, -2, 0.5]
