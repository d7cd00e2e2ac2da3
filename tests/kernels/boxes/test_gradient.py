"""Slopes of overlaps, against central differences of the overlaps themselves."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.kernels.boxes.gradient import dx_box_iou

STEP = 1e-6
TOLERANCE = 1e-7  # of central differences: 1e-12 of the third derivative, 1e-10 of rounding


def edges(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return box[:2] - box[2:] / 2, box[:2] + box[2:] / 2


def parts(a: np.ndarray, b: np.ndarray) -> tuple[float, float, np.ndarray]:
    """The area in common, the area of both, and the sides of the smallest box around them."""
    (la, ha), (lb, hb) = edges(a), edges(b)
    common = np.prod(np.minimum(ha, hb) - np.maximum(la, lb))
    return common, a[2] * a[3] + b[2] * b[3] - common, np.maximum(ha, hb) - np.minimum(la, lb)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    common, union, _ = parts(a, b)
    return common / union


def giou(a: np.ndarray, b: np.ndarray) -> float:
    common, union, around = parts(a, b)
    return common / union + union / np.prod(around)


def slopes(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    steps = np.eye(len(at)) * STEP
    return np.array([function(at + step) - function(at - step) for step in steps]) / (2 * STEP)


def overlapping(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes of which each is the outer one at some edge."""
    a = np.array([*rng.uniform(0.4, 0.6, 2), *rng.uniform(0.3, 0.6, 2)])
    return a, a + rng.uniform(0.03, 0.12, 4) * rng.choice([-1, 1], 4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("kind", "overlap"), [("iou", iou), ("giou", giou)])
def test_overlap(kind: str, overlap: Callable[..., float], seed: int) -> None:
    a, b = overlapping(np.random.default_rng(seed))
    exact = slopes(lambda box: overlap(box, b), a)
    # The program leaves the half out by which an edge moves when the side grows.
    np.testing.assert_allclose(dx_box_iou(a, b, kind), exact * [1, 1, 2, 2], atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(8))
def test_giou_of_boxes_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = np.array([0.2, *rng.uniform(0.3, 0.6, 1), 0.1, 0.2])
    b = np.array([0.8, *rng.uniform(0.3, 0.6, 1), 0.3, 0.1])

    def filled(box: np.ndarray) -> float:
        _, union, around = parts(box, b)
        return union / np.prod(around)

    exact = slopes(filled, a) * [1, 1, 2, 2]
    np.testing.assert_allclose(dx_box_iou(a, b, "giou"), exact, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("apart", [False, True])
def test_distance_of_the_centres(seed: int, apart: bool) -> None:
    a, b = overlapping(np.random.default_rng(seed))
    if apart:
        b[0] += 2
    diagonal = float(np.square(parts(a, b)[2]).sum())
    distance = float(np.square(a[:2] - b[:2]).sum())
    nearer = slopes(lambda box: -np.square(box[:2] - b[:2]).sum() / diagonal, a)
    wider = slopes(lambda box: -distance / np.square(parts(box, b)[2]).sum(), a)
    # The program has the sign of the second turned for x and y.
    pull = nearer + wider * [-1, -1, 1, 1]
    before = 0 if apart else dx_box_iou(a, b, "iou")
    np.testing.assert_allclose(dx_box_iou(a, b, "diou"), before + pull, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(8))
def test_ratio_of_the_sides(seed: int) -> None:
    a, b = overlapping(np.random.default_rng(seed))

    def ratio(box: np.ndarray) -> float:
        turn = math.atan(b[2] / b[3]) - math.atan(box[2] / box[3])
        return 4 / math.pi**2 * turn**2

    weight = ratio(a) / (1 - iou(a, b) + ratio(a) + 1e-6)
    # The program leaves the square of the diagonal out, by which this is divided.
    pull = slopes(lambda box: -weight * ratio(box), a) * (a[2] ** 2 + a[3] ** 2)
    expected = dx_box_iou(a, b, "diou") + pull
    np.testing.assert_allclose(dx_box_iou(a, b, "ciou"), expected, atol=TOLERANCE)


def test_arrays_of_boxes() -> None:
    rng = np.random.default_rng(0)
    pairs = [overlapping(rng) for _ in range(6)]
    a, b = (np.array(each) for each in zip(*pairs, strict=True))
    for kind in ("iou", "giou", "diou", "ciou"):
        together = dx_box_iou(a, b, kind)
        alone = np.array([dx_box_iou(*pair, kind) for pair in pairs])
        assert np.array_equal(together, alone)
    assert np.isfinite(dx_box_iou(np.array([0.5, 0.5, 0, 0]), b[0], "ciou")).all()
