"""Learning rates: the formulas of the programs, at places where they can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from darknet_bn.layers.net import Net
from darknet_bn.training import learning_rate


@pytest.mark.parametrize(
    ("options", "iteration", "rate"),
    [
        ({}, 7, 0.5),
        ({"burn_in": 10}, 5, 0.5 * 0.5**4),
        ({"burn_in": 10, "power": 2.0}, 5, 0.5 * 0.5**2),
        ({"burn_in": 10}, 10, 0.5),
        ({"policy": "step", "step": 10, "scale": 0.1}, 9, 0.5),
        ({"policy": "step", "step": 10, "scale": 0.1}, 25, 0.5 * 0.1**2),
        ({"policy": "steps", "steps": (10, 20), "scales": (0.1, 0.2)}, 9, 0.5),
        ({"policy": "steps", "steps": (10, 20), "scales": (0.1, 0.2)}, 10, 0.05),
        ({"policy": "steps", "steps": (10, 20), "scales": (0.1, 0.2)}, 99, 0.01),
        # Darknet stops at the first step that has not come, whatever comes after it.
        ({"policy": "steps", "steps": (20, 10), "scales": (0.1, 0.2)}, 15, 0.5),
        ({"policy": "exp", "gamma": 0.9}, 3, 0.5 * 0.9**3),
        ({"policy": "poly", "max_batches": 100, "power": 2.0}, 25, 0.5 * 0.75**2),
        ({"policy": "poly", "max_batches": 100, "power": 4.0}, 100, 0.0),
        ({"policy": "sigmoid", "gamma": 0.5, "step": 10}, 10, 0.25),
        ({"policy": "sigmoid", "gamma": 0.5, "step": 10}, 4, 0.5 / (1 + math.exp(-3))),
        ({"policy": "sigmoid", "gamma": 9.0, "step": 1}, 10_000, 0.0),
        ({"policy": "sgdr", "max_batches": 10, "learning_rate_min": 0.1}, 0, 0.5),
        ({"policy": "sgdr", "max_batches": 10, "learning_rate_min": 0.1}, 5, 0.3),
        ({"policy": "sgdr", "sgdr_cycle": 10, "learning_rate_min": 0.1}, 10, 0.1),
        # The second cycle is twice as long: 10 to 30.
        ({"policy": "sgdr", "sgdr_cycle": 10, "learning_rate_min": 0.1}, 20, 0.3),
        ({"policy": "sgdr", "sgdr_cycle": 10, "sgdr_mult": 1, "learning_rate_min": 0.1}, 15, 0.3),
        ({"policy": "sgdr", "sgdr_cycle": 10, "burn_in": 20}, 10, 0.5 * 0.5**4),
    ],
)
def test_rates(options: dict[str, object], iteration: int, rate: float) -> None:
    net = Net(learning_rate=0.5, **options)
    assert learning_rate(net, iteration) == pytest.approx(rate, rel=1e-12, abs=1e-300)


def test_random_rates_depend_on_the_seed_and_the_iteration_only() -> None:
    net = Net(learning_rate=0.5, policy="random", power=1.0)
    rates = np.array([learning_rate(net, iteration, seed=3) for iteration in range(400)])
    assert np.array_equal(rates, [learning_rate(net, i, seed=3) for i in range(400)])
    assert rates[5] != learning_rate(net, 5, seed=4)
    assert rates.min() >= 0
    assert rates.max() <= 0.5
    # The mean of 400 values, all alike from 0 to 0.5, is 0.25 with a deviation of 0.007.
    assert abs(rates.mean() - 0.25) < 0.03
