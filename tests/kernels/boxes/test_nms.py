"""Suppression against the loops of the programs, on boxes of every kind."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from darknet_bn.kernels.boxes.box import Boxes, box_diounms, box_iou
from darknet_bn.kernels.boxes.nms import diounms_sort, do_nms_obj, do_nms_sort
from darknet_bn.work import measured

F32 = npt.NDArray[np.float32]
THRESHOLD = 0.45


def crowd(seed: int, count: int = 40, classes: int = 4) -> Boxes:
    """Boxes in heaps, some twice, some empty, infinite or NaN; with ties, and without classes."""
    rng = np.random.default_rng(seed)
    centres = rng.random((5, 2))[rng.integers(0, 5, count)] + rng.normal(0, 0.04, (count, 2))
    xywh = np.hstack((centres, rng.uniform(0.05, 0.4, (count, 2)))).astype(np.float32)
    xywh[rng.integers(0, count, count // 4)] = xywh[rng.integers(0, count, count // 4)]
    for strange in (0, np.inf, np.nan):
        xywh[rng.integers(0, count, 2), rng.integers(2, 4)] = strange
    probabilities = rng.integers(0, 8, (count, classes)).astype(np.float32) / 8  # many ties
    probabilities[rng.random((count, classes)) < 0.3] = 0
    probabilities[:, -1] *= seed % 2  # a class that nothing has
    objectness = rng.integers(0, 6, count).astype(np.float32) / 5
    return Boxes(xywh, objectness, probabilities)


def overlaps(a: F32, b: F32, beta: float | None) -> bool:
    return bool((box_iou(a, b) if beta is None else box_diounms(a, b, beta)) > THRESHOLD)


@functools.cache
def loops_of_c(seed: int, beta: float | None = None) -> Boxes:
    """One class after another, one box after another, with Python's stable sort."""
    boxes = crowd(seed)
    xywh, objectness = boxes.xywh, boxes.objectness
    probabilities = boxes.probabilities.copy()
    order = [i for i in range(len(boxes)) if objectness[i] != 0]
    rest = [i for i in range(len(boxes)) if objectness[i] == 0]
    for k in range(probabilities.shape[1]):
        order.sort(key=lambda i: -probabilities[i, k])
        for at, i in enumerate(order):
            if probabilities[i, k] != 0:
                for j in order[at + 1 :]:
                    if overlaps(xywh[i], xywh[j], beta):
                        probabilities[j, k] = 0
    return Boxes(xywh, objectness, probabilities).take(np.array(order + rest))


@functools.cache
def loops_by_objectness(seed: int) -> Boxes:
    boxes = crowd(seed)
    objectness, probabilities = boxes.objectness.copy(), boxes.probabilities.copy()
    order = [i for i in range(len(boxes)) if objectness[i] != 0]
    rest = [i for i in range(len(boxes)) if objectness[i] == 0]
    order.sort(key=lambda i: -objectness[i])
    for at, i in enumerate(order):
        if objectness[i] != 0:
            for j in order[at + 1 :]:
                if overlaps(boxes.xywh[i], boxes.xywh[j], None):
                    objectness[j] = probabilities[j] = 0
    return Boxes(boxes.xywh, objectness, probabilities).take(np.array(order + rest))


def assert_same(found: Boxes, expected: Boxes) -> None:
    np.testing.assert_array_equal(found.xywh, expected.xywh)
    np.testing.assert_array_equal(found.objectness, expected.objectness)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.fixture(params=["together", "small tiles", "few at once", "in turn"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to settle who stays: as usual, in many parts, and one by one."""
    name = str(request.param)
    if name == "small tiles":
        monkeypatch.setattr(measured, "NMS_PAIRS", 64)
    elif name == "few at once":
        monkeypatch.setattr(measured, "NMS_OVERLAPS", 150)
    elif name == "in turn":
        monkeypatch.setattr(measured, "NMS_OVERLAPS", 0)
    return name


@pytest.mark.usefixtures("way")
class TestAgainstLoops:
    @pytest.mark.parametrize("seed", range(4))
    def test_do_nms_sort(self, seed: int) -> None:
        boxes = crowd(seed)
        found = do_nms_sort(boxes, THRESHOLD)
        assert_same(found, loops_of_c(seed))
        assert 0 < np.count_nonzero(found.probabilities) < np.count_nonzero(boxes.probabilities)

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize(
        ("kind", "beta", "expected"),
        [
            ("greedynms", 0.9, 0.6),
            ("diounms", 0.9, 0.9),
            ("diounms", 0.0, 0.0),
            ("cornersnms", 0.9, None),
            ("default", 0.9, None),
        ],
    )
    def test_diounms_sort(self, seed: int, kind: str, beta: float, expected: float | None) -> None:
        found = diounms_sort(crowd(seed), THRESHOLD, kind, beta)
        assert_same(found, loops_of_c(seed, expected))

    @pytest.mark.parametrize("seed", range(4))
    def test_do_nms_obj(self, seed: int) -> None:
        assert_same(do_nms_obj(crowd(seed), THRESHOLD), loops_by_objectness(seed))

    @pytest.mark.parametrize("count", [0, 1, 2])
    @pytest.mark.parametrize("classes", [0, 1, 3])
    def test_few_boxes(self, count: int, classes: int) -> None:
        boxes = Boxes(
            np.ones((count, 4), np.float32),
            np.ones(count, np.float32),
            np.ones((count, classes), np.float32),
        )
        one = np.zeros((count, classes), np.float32)
        one[:1] = 1
        np.testing.assert_array_equal(do_nms_sort(boxes, THRESHOLD).probabilities, one)
        np.testing.assert_array_equal(do_nms_obj(boxes, THRESHOLD).probabilities, one)


def test_the_arrays_given_are_left_as_they_are() -> None:
    boxes, copy = crowd(1), crowd(1)
    for suppress in (do_nms_sort, do_nms_obj):
        suppress(boxes, THRESHOLD)
        assert_same(boxes, copy)


def test_the_threshold_itself_does_not_suppress() -> None:
    xywh = np.array([[0.5, 0.5, 1, 1], [0.25, 0.5, 0.5, 1]], np.float32)  # an IoU of 1/2
    boxes = Boxes(xywh, np.ones(2, np.float32), np.array([[0.9], [0.8]], np.float32))
    assert np.count_nonzero(do_nms_sort(boxes, 0.5).probabilities) == 2
    assert np.count_nonzero(do_nms_sort(boxes, 0.499).probabilities) == 1


def test_a_chain_is_settled_from_its_best_end() -> None:
    # each box overlaps the next; the best suppresses the second, so that the third stays
    xywh = np.ones((60, 4), np.float32)
    xywh[:, 0] = np.arange(60) * 0.3
    boxes = Boxes(xywh, np.ones(60, np.float32), np.linspace(1, 0.1, 60, dtype=np.float32)[:, None])
    stays = do_nms_sort(boxes, THRESHOLD).probabilities[:, 0] != 0
    np.testing.assert_array_equal(stays, np.arange(60) % 2 == 0)


def test_it_takes_no_memory_for_all_pairs() -> None:
    # all alike: 18 million pairs overlap, which would take 288 MB as pairs, 144 MB as float32
    count = 6000
    boxes = Boxes(
        np.full((count, 4), 0.5, np.float32),
        np.ones(count, np.float32),
        np.random.default_rng(0).random((count, 3), dtype=np.float32),
    )
    tracemalloc.start()
    try:
        found = do_nms_sort(boxes, THRESHOLD)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.count_nonzero(found.probabilities) == 3
    assert peak < 60e6
