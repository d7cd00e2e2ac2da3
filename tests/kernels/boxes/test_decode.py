"""What each detection head's output means: against loops over cells and anchors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.kernels.boxes.decode import (
    get_detection_detections,
    get_gaussian_yolo_detections,
    get_region_boxes,
    get_region_detections,
    get_yolo_detections,
)

F32 = npt.NDArray[np.float32]

ANCHORS = ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0))
CELLS = ((0.5, 1.25), (2.0, 0.75))
NET = (96, 160)  # height, width
H, W = 3, 5
THRESH = 0.3


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def output(planes: int, seed: int = 0) -> F32:
    """Values as of a head: from 0 to 1, but for those that become sizes."""
    return np.random.default_rng(seed).random((planes, H, W), dtype=np.float32)


def rows_of(boxes: Boxes) -> F32:
    return np.hstack((boxes.xywh, boxes.objectness[:, None], boxes.probabilities))


def over(values: list[float], thresh: float = THRESH) -> list[float]:
    return [value if value > thresh else 0 for value in values]


def assert_rows(found: Boxes, expected: list[list[float]]) -> None:
    assert found.xywh.dtype == found.objectness.dtype == found.probabilities.dtype == np.float32
    assert len(expected) > 5
    # one rounding of each product and quotient in float32, 6e-8 each; corners are differences
    np.testing.assert_allclose(rows_of(found), expected, rtol=4e-7, atol=1e-7)


def yolo_rows(y: F32, order: Iterator[tuple[int, int, int]], new_coords: bool) -> list[list[float]]:
    rows = []
    for row, column, anchor in order:
        x, yy, w, h, objectness, *classes = y.reshape(3, -1, H, W)[anchor, :, row, column].tolist()
        if objectness > THRESH:
            wide, high = (4 * w * w, 4 * h * h) if new_coords else (math.exp(w), math.exp(h))
            size = [wide * ANCHORS[anchor][0] / NET[1], high * ANCHORS[anchor][1] / NET[0]]
            scores = over([objectness * each for each in classes])
            rows.append([(column + x) / W, (row + yy) / H, *size, objectness, *scores])
    return rows


CELL_BY_CELL = list(itertools.product(range(H), range(W), range(3)))


class TestYolo:
    @pytest.mark.parametrize("new_coords", [False, True])
    def test_cell_by_cell(self, new_coords: bool) -> None:
        y = output(3 * 7)
        found = get_yolo_detections(y, ANCHORS, NET, THRESH, new_coords=new_coords)
        assert_rows(found, yolo_rows(y, iter(CELL_BY_CELL), new_coords))

    def test_anchor_by_anchor(self) -> None:
        y = output(3 * 7)
        found = get_yolo_detections(y, ANCHORS, NET, THRESH, by_anchor=True)
        order = sorted(CELL_BY_CELL, key=lambda each: each[2])
        assert_rows(found, yolo_rows(y, iter(order), new_coords=False))

    def test_the_threshold_itself_is_not_over_it(self) -> None:
        y = np.full((6, 1, 1), 0.5, np.float32)
        assert len(get_yolo_detections(y, ANCHORS[:1], NET, 0.5)) == 0
        assert get_yolo_detections(y, ANCHORS[:1], NET, 0.25).probabilities == 0
        assert get_yolo_detections(y, ANCHORS[:1], NET, 0.24).probabilities == 0.25

    def test_values_that_are_no_numbers(self) -> None:
        y = np.ones((4 * 7, 1, 1), np.float32)
        y[4], y[13], y[16] = np.nan, np.nan, 1000  # an objectness, a class, a width
        found = get_yolo_detections(y, (*ANCHORS, (1, 1)), NET, THRESH)
        assert len(found) == 3
        np.testing.assert_array_equal(found.probabilities, [[1, 0], [1, 1], [1, 1]])
        assert found.xywh[1, 2] == np.inf
        assert np.isfinite(np.delete(found.xywh, 6)).all()

    def test_without_classes(self) -> None:
        found = get_yolo_detections(output(15), ANCHORS, NET, THRESH)
        assert found.probabilities.shape == (len(found), 0)


class TestGaussian:
    @pytest.mark.parametrize(
        ("point", "shift"), [("center", 0), ("left_top", 0.5), ("right_bottom", -0.5)]
    )
    def test_against_loops(self, point: Any, shift: float) -> None:
        y = output(3 * 11)
        rows = []
        for row, column, anchor in CELL_BY_CELL:
            values = y.reshape(3, -1, H, W)[anchor, :, row, column].tolist()
            x, yy, w, h = values[0:8:2]
            objectness, *classes = values[8:]
            if objectness > THRESH:
                wide = math.exp(w) * ANCHORS[anchor][0] / NET[1]
                high = math.exp(h) * ANCHORS[anchor][1] / NET[0]
                certain = 1 - sum(values[1:8:2]) / 4
                scores = over([objectness * each * certain for each in classes], THRESH)
                left, top = (column + x) / W + shift * wide, (row + yy) / H + shift * high
                rows.append([left, top, wide, high, objectness, *scores])
        found = get_gaussian_yolo_detections(y, ANCHORS, NET, THRESH, yolo_point=point)
        assert found.probabilities.any()
        assert_rows(found, rows)


class TestRegion:
    @pytest.mark.parametrize("background", [False, True])
    @pytest.mark.parametrize("coords", [4, 6])
    def test_planes_of_pjreddie(self, coords: int, background: bool) -> None:
        y = output(2 * (coords + 4))
        rows = []
        for anchor, row, column in itertools.product(range(2), range(H), range(W)):
            values = y.reshape(2, -1, H, W)[anchor, :, row, column].tolist()
            x, yy, w, h = values[:4]
            scale = 1 if background else values[coords]
            if scale > THRESH:
                first = coords if background else coords + 1
                size = [math.exp(w) * CELLS[anchor][0] / W, math.exp(h) * CELLS[anchor][1] / H]
                scores = over([scale * each for each in values[first : first + 3]])
                rows.append([(column + x) / W, (row + yy) / H, *size, scale, *scores])
        found = get_region_detections(y, CELLS, THRESH, coords=coords, background=background)
        assert_rows(found, rows)

    @pytest.mark.parametrize("classfix", [-1, 0, 1])
    def test_cells_of_alexeyab(self, classfix: int) -> None:
        y = output(2 * 8)
        rows = []
        flat = iter(y.reshape(-1).tolist())
        for row, column, anchor in itertools.product(range(H), range(W), range(2)):
            x, yy, w, h, scale, *classes = itertools.islice(flat, 8)
            if classfix == -1 and scale < 0.5:
                scale = 0
            size = [math.exp(w) * CELLS[anchor][0] / W, math.exp(h) * CELLS[anchor][1] / H]
            centre = [(column + sigmoid(x)) / W, (row + sigmoid(yy)) / H]
            rows.append([*centre, *size, 1, *over([scale * each for each in classes])])
        found = get_region_boxes(y, CELLS, 3, THRESH, classfix=classfix)
        assert_rows(found, rows)

    def test_the_output_is_left_as_it_is(self) -> None:
        y = output(2 * 8)
        before = y.copy()
        get_region_boxes(y, CELLS, 3, THRESH)
        np.testing.assert_array_equal(y, before)


class TestDetection:
    @pytest.mark.parametrize("sqrt", [False, True])
    def test_against_loops(self, sqrt: bool) -> None:
        side, num, classes = 3, 2, 4
        y = np.random.default_rng(0).random(side * side * (classes + num * 5), dtype=np.float32)
        shares, scales = y[:36].reshape(9, 4), y[36:54].reshape(9, 2)
        values = y[54:].reshape(9, 2, 4)
        rows = []
        for cell, each in itertools.product(range(9), range(2)):
            x, yy, w, h = values[cell, each].tolist()
            scale = float(scales[cell, each])
            size = [w * w, h * h] if sqrt else [w, h]
            centre = [(cell % 3 + x) / 3, (cell // 3 + yy) / 3]
            scores = over([scale * share for share in shares[cell].tolist()])
            rows.append([*centre, *size, scale, *scores])
        found = get_detection_detections(y, side, num, classes, THRESH, sqrt=sqrt)
        assert_rows(found, rows)
