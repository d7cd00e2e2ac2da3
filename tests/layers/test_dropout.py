"""``[dropout]`` and what else leaves its input as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.passes import TrainingContext
from darknet_bn.layers.shape import Shape


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 7)])
def test_nothing_happens_in_inference(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    layer = read("[dropout]\nprobability=.9")
    assert layer.is_alias((Shape(3, 4, 5),))
    np.testing.assert_array_equal(run(layer, x), x)


def test_default_probability_is_the_dialects(read: Callable[..., Layer]) -> None:
    assert read("[dropout]", PJREDDIE).probability == 0.5
    assert read("[dropout]", ALEXEYAB).probability == 0.2
    assert read("[dropout]\nprobability=.25").size_text() == "p = 0.25"
    assert read("[dropout]\ndropblock=1\ndropblock_size_abs=7").dropblock


def trained(layer, x, seed=1) -> tuple[np.ndarray, np.ndarray | None]:
    """Output in training, and what comes back of ones."""
    training = TrainingContext(
        ALEXEYAB.sound, np.random.default_rng(seed), Shape(1, 8, 8), batch=len(x)
    )
    done = layer.train([x], {}, training)
    return done.y, done.back(np.ones_like(done.y)).deltas[0]


@pytest.mark.parametrize("dropblock", ["", "\ndropblock=1\ndropblock_size_abs=3"])
def test_training_drops_and_scales_up(read: Callable[..., Layer], dropblock: str) -> None:
    layer = read("[dropout]\nprobability=.3" + dropblock)
    x = np.random.default_rng(1).uniform(1, 2, (4, 50, 20, 10)).astype(np.float32)
    y, factors = trained(layer, x)
    np.testing.assert_array_equal(np.unique(factors), np.float32([0, 1 / 0.7]))
    np.testing.assert_array_equal(y, x * factors)
    # 40000 values, each with probability 0.3: 5 standard deviations of 0.0023; and the same with
    # halves of the images, channels and pixels, of which none is treated alike.
    for part in (factors, factors[:2], factors[:, :25], factors[:, :, 10:], factors[..., ::2]):
        assert abs((part == 0).mean() - 0.3) < 5 * np.sqrt(0.21 / part.size)
    assert 0.4 < np.mean(factors[0] == factors[1]) < 0.65  # 0.58 if they are independent


def test_the_generator_decides(read: Callable[..., Layer]) -> None:
    layer = read("[dropout]\nprobability=.5")
    x = np.ones((2, 100), np.float32)
    np.testing.assert_array_equal(trained(layer, x, 1)[0], trained(layer, x, 1)[0])
    assert (trained(layer, x, 1)[0] != trained(layer, x, 2)[0]).any()


@pytest.mark.parametrize(("probability", "factor"), [(0, 1), (1, 0)])
def test_nothing_and_everything(read: Callable[..., Layer], probability: int, factor: int) -> None:
    x = np.ones((2, 100), np.float32)
    y, given = trained(read(f"[dropout]\nprobability={probability}"), x)
    np.testing.assert_array_equal(y, factor * x)
    np.testing.assert_array_equal(given, factor * x)
