"""Moments of parts against moments of the whole, computed in exact fractions of float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.kernels.batchnorm.moments import Moments, moments

CLOSE = 1e-12  # float64 sums of some thousand values in another order


def merged(parts: list[np.ndarray]) -> Moments:
    total = moments(parts[0])
    for part in parts[1:]:
        total = total.merged(moments(part))
    return total


@pytest.mark.parametrize("shape", [(7, 5), (4, 3, 40), (6, 3, 13, 17), (5, 2, 1, 1)])
def test_they_are_mean_and_variance_of_all_pixels(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    values = x.astype(np.float64).swapaxes(0, 1).reshape(shape[1], -1)
    seen = moments(x)
    assert seen.count == values.shape[1]
    np.testing.assert_allclose(seen.mean, values.mean(axis=1), rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(seen.variance, values.var(axis=1, ddof=1), rtol=CLOSE)


def test_parts_of_different_sizes_give_those_of_the_whole() -> None:
    x = np.random.default_rng(1).standard_normal((11, 4, 30)).astype(np.float32)
    x[:, 1] *= 1e-3
    x[:5, 2] += 40  # parts that are far apart
    whole, parts = moments(x), merged([x[:1], x[1:8], x[8:]])
    assert parts.count == whole.count
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(parts.variance, whole.variance, rtol=CLOSE)


def test_values_far_from_zero_cancel_nothing() -> None:
    # The mean of squares less the square of the mean would have errors of 1e-16 * 1e12 here.
    x = (1e6 + np.random.default_rng(2).integers(0, 4, (8, 2, 500))).astype(np.float32)
    exact = [
        (np.array(row) - math.fsum(row) / len(row)).var(ddof=1)
        for row in x.swapaxes(0, 1).reshape(2, -1).tolist()
    ]
    np.testing.assert_allclose(merged([x[:3], x[3:]]).variance, exact, rtol=1e-9)


def test_a_dead_channel_has_variance_0() -> None:
    x = np.full((3, 2, 9), 0.1, np.float32)
    seen = merged([x, x])
    # The mean of equal values may be off by a rounding of float64, 1e-17, and is squared.
    assert np.abs(seen.variance).max() < 1e-30
    np.testing.assert_allclose(seen.mean, np.float64(np.float32(0.1)))


def test_a_single_value_has_no_variance() -> None:
    assert np.isnan(moments(np.ones((1, 2), np.float32)).variance).all()


def test_what_is_not_finite_stays_so() -> None:
    x = np.ones((2, 3, 4), np.float32)
    x[0, 1, 2] = np.inf
    seen = moments(x).merged(moments(x))
    assert [math.isfinite(value) for value in seen.variance] == [True, False, True]


def test_one_axis_is_refused() -> None:
    with pytest.raises(dn.ShapeError, match="two axes"):
        moments(np.ones(3, np.float32))
