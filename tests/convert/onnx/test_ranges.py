"""Ranges of values by three methods."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.onnx.ranges import METHODS, Ranges, entropy, percentile


def ranges_of(*images: np.ndarray) -> Ranges:
    ranges = Ranges(["x"])
    for use in (ranges.widen, ranges.count):
        for each in images:
            use({"x": each.astype(np.float32), "of no interest": each})
    return ranges


def test_min_max_holds_every_value_and_zero() -> None:
    assert ranges_of(np.array([1.0, 2]), np.array([[3.0]])).by("min-max") == {"x": (0.0, 3.0)}
    assert ranges_of(np.array([-5.0, -2])).by("min-max") == {"x": (-5.0, 0.0)}


def test_the_percentile_cuts_off_what_is_far_out() -> None:
    x = np.append(np.linspace(-1, 1, 1_000_000), 100.0)
    low, high = ranges_of(x).by("percentile")["x"]
    assert (low, high) == (-1.0, pytest.approx(1.0, abs=100 / 2048))
    # One in 100 000 is what it keeps.
    few = np.append(np.linspace(-1, 1, 10_000), 100.0)
    assert ranges_of(few).by("percentile")["x"] == (-1.0, 100.0)


def test_entropy_cuts_off_a_long_tail() -> None:
    x = np.random.default_rng(0).laplace(size=500_000)
    low, high = ranges_of(x).by("entropy")["x"]
    assert 4 < high < 0.9 * x.max()
    assert low == -high or low == x.min().astype(np.float32)


def test_what_is_spread_evenly_is_kept_whole() -> None:
    x = np.linspace(0, 8, 200_001)
    for method in METHODS:
        low, high = ranges_of(x).by(method)["x"]
        assert (low, high) == (0.0, pytest.approx(8.0, rel=0.02))


def test_counts_do_not_depend_on_how_images_are_split() -> None:
    x = np.random.default_rng(1).normal(size=(6, 50))
    whole, split = ranges_of(x), ranges_of(*x)
    for method in METHODS:
        assert whole.by(method) == split.by(method)


def test_values_that_are_all_zero_have_an_empty_range() -> None:
    for method in METHODS:
        assert ranges_of(np.zeros(5)).by(method) == {"x": (0.0, 0.0)}


def test_a_tiny_first_image_costs_no_more_memory() -> None:
    ranges = ranges_of(np.full(9, 1e-30), np.linspace(0, 1, 10_000))
    assert ranges.by("entropy")["x"][1] == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_range(odd: float) -> None:
    with pytest.raises(dn.DarknetError, match=r"^x has values that are not finite"):
        ranges_of(np.array([1.0, odd]))


def test_functions_by_hand() -> None:
    counts = np.zeros(2048)
    counts[:1024] = 1000
    assert percentile(counts, int(counts.sum())) == 1024
    counts[2047] = 5  # of a million
    assert percentile(counts, int(counts.sum())) == 1024
    assert percentile(np.zeros(4), 10) == 1
    assert entropy(np.zeros(2048)) == 2048
