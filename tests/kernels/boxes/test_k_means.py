"""Sizes fitted to boxes: planted clusters are found, whatever the threads and the order."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.kernels.boxes.k_means import best_anchors, fit_sizes
from darknet_bn.work import threads

CLUSTERS = np.array([[10, 20], [30, 12], [50, 80], [120, 60], [200, 210]], np.float64)


def planted(count: int = 400, spread: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(1)
    return CLUSTERS[rng.integers(5, size=count)] * rng.normal(1, spread, (count, 2))


def test_the_iou_of_boxes_with_the_same_centre() -> None:
    sizes = np.array([[2, 4], [10, 10], [4, 2]], np.float64)
    nearest, ious = best_anchors(sizes, np.array([[4, 4], [10, 5], [2, 2]], np.float64))
    assert nearest.tolist() == [0, 1, 0]  # the first of equal ones: 8 / 16, 4 / 8
    np.testing.assert_array_equal(ious, [8 / 16, 50 / 100, 8 / 16])


def test_more_boxes_than_are_compared_at_once() -> None:
    sizes = np.tile(planted(100), (400, 1))
    nearest, ious = best_anchors(sizes, CLUSTERS)
    again, same = best_anchors(sizes[:100], CLUSTERS)
    np.testing.assert_array_equal(nearest, np.tile(again, 400))
    np.testing.assert_array_equal(ious, np.tile(same, 400))


@pytest.mark.parametrize("seed", range(5))
def test_planted_clusters_are_found(seed: int) -> None:
    sizes = planted()
    found = fit_sizes(sizes, 5, seed)
    # Each is the median of its boxes, which are some 80 with a spread of 2 %.
    np.testing.assert_allclose(found[np.argsort(found.prod(axis=1))], CLUSTERS, rtol=0.01)


def test_the_result_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.random.default_rng(2).uniform(5, 200, (500, 2))
    found = []
    for count in (1, 2, 5):
        pool = threads.Workers(count)
        monkeypatch.setattr("darknet_bn.kernels.boxes.k_means.workers", lambda pool=pool: pool)
        found.append(fit_sizes(sizes, 6, 3))
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()
    assert fit_sizes(sizes, 6, 4).tobytes() != found[0].tobytes()


def test_it_is_never_worse_than_a_given_start() -> None:
    sizes = np.random.default_rng(3).uniform(5, 200, (300, 2))
    for seed in range(5):
        first = np.random.default_rng(seed).uniform(5, 200, (4, 2))
        _, before = best_anchors(sizes, first)
        _, after = best_anchors(sizes, fit_sizes(sizes, 4, seed, first))
        assert after.mean() >= before.mean()


@pytest.mark.parametrize("count", [7, 8])
def test_one_size_is_the_median_of_all(count: int) -> None:
    sizes = np.random.default_rng(5).uniform(50, 60, (count, 2))
    found = fit_sizes(sizes, 1, 0, np.median(sizes, axis=0)[None])
    _, ious = best_anchors(sizes, np.median(sizes, axis=0)[None])
    assert best_anchors(sizes, found)[1].mean() >= ious.mean()
    np.testing.assert_allclose(found, np.median(sizes, axis=0)[None], rtol=0.05)


def test_more_boxes_than_starts_are_compared_on() -> None:
    sizes = planted(30_000)
    found = fit_sizes(sizes, 5, 0)
    np.testing.assert_allclose(found[np.argsort(found.prod(axis=1))], CLUSTERS, rtol=0.001)
    few = np.tile(CLUSTERS[:1], (30_000, 1))  # a sample may have fewer sizes than are asked for
    few[:4] = CLUSTERS[1:]
    assert fit_sizes(few, 5, 0).shape == (5, 2)


def test_as_many_sizes_as_different_boxes_fit_exactly() -> None:
    sizes = np.repeat(CLUSTERS, 3, axis=0)
    found = fit_sizes(sizes, 5, 0)
    assert sorted(found.tolist()) == sorted(CLUSTERS.tolist())
