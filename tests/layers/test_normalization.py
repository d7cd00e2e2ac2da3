"""``[normalization]`` against the running sums of the program, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.normalization import Normalization
from darknet_bn.layers.shape import Shape
from tests.support.layer_training import train_layer


def running_sums(image, size, alpha, beta, kappa) -> np.ndarray:
    """What C does with one image (c, h, w)."""
    square = image.astype(np.float64) ** 2
    norms = np.zeros_like(square)
    norms[0] = kappa
    for k in range(min(size // 2, len(image))):
        norms[0] += alpha * square[k]
    for k in range(1, len(image)):
        norms[k] = norms[k - 1]
        before, behind = k - (size - 1) // 2 - 1, k + size // 2
        if before >= 0:
            norms[k] -= alpha * square[before]
        if behind < len(image):
            norms[k] += alpha * square[behind]
    return image * norms**-beta


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 20])
@pytest.mark.parametrize("shape", [(1, 7, 5, 6), (3, 1, 2, 3), (2, 4, 90, 100)])
def test_channels_around_count(
    run: Callable[..., np.ndarray], shape: tuple[int, ...], size: int
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    layer = Normalization(size=size, alpha=0.05, beta=0.6, kappa=3)
    expected = [running_sums(image, size, 0.05, 0.6, 3) for image in x]
    # a power, and a few roundings
    np.testing.assert_allclose(run(layer, x), expected, rtol=1e-6)


def test_the_square_of_one_channel_is_never_seen(run: Callable[..., np.ndarray]) -> None:
    # Channel size//2 is missing in every sum, even where its window would have it.
    x = np.zeros((1, 5, 1, 1), np.float32)
    x[0, 1] = 2
    y = run(Normalization(size=3, alpha=1, beta=1, kappa=8), x)
    np.testing.assert_array_equal(y[0, :, 0, 0], np.float32([0, 0.25, 0, 0, 0]))  # 2 / (8 + 4 - 4)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 20])
def test_a_dialect_may_mend_that(run: Callable[..., np.ndarray], size: int) -> None:
    mended = replace(PJREDDIE, normalization_misses_one=False)
    x = np.random.default_rng(1).standard_normal((2, 7, 3, 4), dtype=np.float32)
    layer = Normalization(size=size, alpha=0.05, beta=0.6, kappa=3)
    sums = np.stack(
        [
            (x[:, max(0, k - (size - 1) // 2) : k + size // 2 + 1].astype(np.float64) ** 2).sum(1)
            for k in range(7)
        ],
        axis=1,
    )
    expected = x * (3 + 0.05 * sums) ** -0.6
    np.testing.assert_allclose(run(layer, x, dialect=mended), expected, rtol=1e-6)  # as above


def test_a_sum_below_zero_is_not_a_number(run: Callable[..., np.ndarray]) -> None:
    x = np.array([[[[1]], [[2]], [[0]], [[1]]]], np.float32)
    y = run(Normalization(size=3, alpha=1, beta=0.5, kappa=1), x)
    # 1 + 1, 1 + 1, 1 + 0, and 1 + 1 - 4 when the channel that was never added leaves the window
    expected = running_sums(x[0, :3], 3, 1, 0.5, 1)
    np.testing.assert_allclose(y[0, :3], expected, rtol=1e-6)
    assert np.isnan(y[0, 3])


def test_options(read: Callable[..., Layer]) -> None:
    layer = read("[lrn]")
    assert (layer.size, layer.alpha, layer.beta, layer.kappa) == (5, 1e-4, 0.75, 1)
    assert layer.out_shape((Shape(3, 4, 5),)) == Shape(3, 4, 5)
    with pytest.raises(ShapeError, match="no image shape"):
        layer.out_shape((Shape(60, flat=True),))
    with pytest.raises(CfgError, match="size: the value is too small"):
        read("[normalization]\nsize=0")


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB])
def test_the_program_lets_the_divisors_alone_on_the_way_back(dialect) -> None:
    rng = np.random.default_rng(2)
    x, way = rng.standard_normal((2, 2, 6, 4, 2))
    done = train_layer(Normalization(size=3, alpha=0.05, kappa=3), x, dialect=dialect)
    given = done.back(way.copy())
    np.testing.assert_allclose(given.deltas[0], way * done.y / x, rtol=1e-12)
    assert given.overwrites
    exact = train_layer(Normalization(size=3, alpha=0.05, kappa=3), x, dialect=dialect.sound)
    assert not exact.back(way.copy()).overwrites
