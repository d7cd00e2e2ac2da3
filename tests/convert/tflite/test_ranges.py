"""Ranges for 256 levels."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.convert.tflite.export import tflite_bytes
from darknet_bn.convert.tflite.ranges import BINS, Spread, best_range, slopes_below_zero
from tests.support.builders import cfg_text, random_model


def spread_of(values: np.ndarray) -> Spread:
    low, high = float(values.min()), float(values.max())
    return Spread(low, high, np.histogram(values, BINS, (low, high))[0].astype(float))


def error(values: np.ndarray, low: float, high: float, slope: float = 1.0) -> float:
    """The mean squared error of 256 levels, behind a function with a slope below zero."""
    step = (high - low) / 255
    levels = np.clip(np.rint(values / step), np.rint(low / step), np.rint(high / step)) * step
    bent = [np.where(each < 0, slope * each, each) for each in (values, levels)]
    return float(np.mean((bent[0] - bent[1]) ** 2))


def test_all_is_kept_if_all_is_needed() -> None:
    values = np.random.default_rng(0).uniform(-1, 3, 10_000)
    low, high = best_range(spread_of(values))
    assert (low, high) == (values.min(), values.max())


@pytest.mark.parametrize("ends", [14, pytest.param(40, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("slope", [1.0, 0.1])
def test_rare_values_are_cut_off(slope: float, ends: int) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(100_000), [-30.0, 40.0]])
    low, high = best_range(spread_of(values), slope)
    assert -30 < low < 0 < high < 40
    best = error(values, low, high, slope)
    assert best < error(values, -30, 40, slope)
    # No other range of a grid is better by more than the grid and the bins explain.
    sides = np.linspace(1, 40, ends)
    least = min(error(values, -a, b, slope) for a in sides for b in sides)
    assert best < 1.1 * least


def test_what_leaky_makes_small_gets_fewer_levels() -> None:
    values = np.random.default_rng(0).normal(-4, 3, 100_000)
    spread = spread_of(values)
    plain, leaky = best_range(spread), best_range(spread, 0.1)
    assert leaky[0] > plain[0]
    assert error(values, *leaky, 0.1) < 0.7 * error(values, *plain, 0.1)


@pytest.mark.parametrize("value", [0.0, 2.0, -3.0])
def test_a_constant_has_a_range_with_zero(value: float) -> None:
    low, high = best_range(Spread(value, value, np.full(BINS, 1.0)))
    assert (low, high) == (min(value, 0.0), max(value, 0.0))


def test_slopes_are_of_what_leaky_alone_reads() -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    conv = "[convolutional] filters=4 size=1 activation"
    cfg = cfg_text(
        f"{conv}=leaky", f"{conv}=linear", "[activation] activation=relie", "[shortcut] from=1"
    )
    assert slopes_below_zero(tflite_bytes(random_model(cfg)).model) == {
        "layer_000/Conv": pytest.approx(0.1),
    }
