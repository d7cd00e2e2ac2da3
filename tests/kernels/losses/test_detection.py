"""The loss of ``[detection]``: a plain loop over everything says the same.

The loop is written from the description of the program, which is asked itself in another file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darknet_bn.kernels.losses.detection import DetectionLoss
from tests.support.plain_overlaps import iou

SIDE, NUM, CLASSES = 3, 2, 4
CELLS = SIDE * SIDE
OPTIONS: list[dict[str, Any]] = [
    {},
    {"sqrt": True, "rescore": True},
    {"forced": True},
    {"coord_scale": 5.0, "object_scale": 2.0, "noobject_scale": 0.5, "class_scale": 3.0},
]


def output(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.02, 0.98, (2, CELLS * (CLASSES + 5 * NUM)))


def cells(rng: np.random.Generator) -> np.ndarray:
    """Truth; some boxes are so far from any predicted that there is no overlap."""
    truth = np.zeros((2, CELLS, 1 + CLASSES + 4), np.float32)
    for image in range(2):
        for cell in rng.choice(CELLS, 6, replace=False):
            truth[image, cell, 0] = 1
            truth[image, cell, 1 + rng.integers(CLASSES)] = 1
            truth[image, cell, 5:7] = rng.random(2) + rng.choice([0, 9])
            truth[image, cell, 7:] = rng.uniform(0.1, 0.7, 2)
    return truth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_plain_loop_says_the_same(options: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = DetectionLoss(side=SIDE, num=NUM, classes=CLASSES, **options)
    y, truth = output(rng), cells(rng)
    delta, value = loss(y, truth, 0, rng)
    expected = np.stack([plain(loss, *each) for each in zip(y, truth, strict=True)])
    np.testing.assert_allclose(delta, expected, rtol=1e-6, atol=1e-7)  # overlaps in float32
    assert value == pytest.approx(float((expected**2).sum()), rel=1e-6)
    in_float32, _ = loss(y.astype(np.float32), truth, 0, rng)
    assert in_float32.dtype == np.float32


def test_any_box_learns_at_random_in_the_beginning() -> None:
    rng = np.random.default_rng(0)
    loss = DetectionLoss(side=SIDE, num=NUM, classes=CLASSES, random=True)
    y, truth = output(rng), cells(rng)
    truth[..., 5:7] %= 1
    settled, _ = DetectionLoss(side=SIDE, num=NUM, classes=CLASSES)(y, truth, 0, rng)
    late, _ = loss(y, truth, 64_000, rng)
    np.testing.assert_array_equal(late, settled)
    learning = set()
    for seed in range(8):
        early, _ = loss(y, truth, 63_999, np.random.default_rng(seed))
        again, _ = loss(y, truth, 63_999, np.random.default_rng(seed))
        np.testing.assert_array_equal(early, again)
        of_boxes = early[:, CELLS * (CLASSES + NUM) :].reshape(2, CELLS, NUM, 4)
        own = of_boxes.any(axis=-1)
        np.testing.assert_array_equal(own.sum(axis=-1), truth[..., 0])  # one in each cell
        learning.add(own.tobytes())
    assert len(learning) == 8


def test_forced_with_a_single_box() -> None:
    """Small ones are for the second box; here there is but one."""
    rng = np.random.default_rng(0)
    y, truth = rng.uniform(0.1, 0.9, (1, CELLS * (CLASSES + 5))), cells(rng)[:1]
    small = truth.copy()
    small[..., 7:] *= 0.2
    forced = DetectionLoss(side=SIDE, num=1, classes=CLASSES, forced=True)
    free = DetectionLoss(side=SIDE, num=1, classes=CLASSES)
    np.testing.assert_array_equal(forced(y, small, 0, rng)[0], free(y, small, 0, rng)[0])


def plain(loss: DetectionLoss, y: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The delta of one image, one cell after the other."""
    delta = np.zeros_like(y)
    for cell in range(CELLS):
        objectness = [CELLS * CLASSES + cell * NUM + k for k in range(NUM)]
        for at in objectness:
            delta[at] = loss.noobject_scale * (0 - y[at])
        there, true = truth[cell, 0], [float(each) for each in truth[cell, 1 + CLASSES :]]
        if not there:
            continue
        for k in range(CLASSES):
            at = cell * CLASSES + k
            delta[at] = loss.class_scale * (truth[cell, 1 + k] - y[at])
        aim = [true[0] / SIDE, true[1] / SIDE, true[2], true[3]]
        overlaps, distances = [], []
        for k in range(NUM):
            first = CELLS * (CLASSES + NUM) + (cell * NUM + k) * 4
            box = [y[first] / SIDE, y[first + 1] / SIDE, *y[first + 2 : first + 4]]
            if loss.sqrt:
                box[2:] = box[2] ** 2, box[3] ** 2
            overlaps.append(iou(box, aim))
            distances.append(sum((a - b) ** 2 for a, b in zip(box, aim, strict=True)))
        best = overlaps.index(max(overlaps))
        if max(overlaps) == 0:
            best = distances.index(min(distances))
        if loss.forced:
            best = 1 if true[2] * true[3] < 0.1 else 0
        own = objectness[best]
        delta[own] = loss.object_scale * ((overlaps[best] if loss.rescore else 1) - y[own])
        first = CELLS * (CLASSES + NUM) + (cell * NUM + best) * 4
        if loss.sqrt:
            true[2:] = true[2] ** 0.5, true[3] ** 0.5
        for k in range(4):
            delta[first + k] = loss.coord_scale * (true[k] - y[first + k])
    return delta
