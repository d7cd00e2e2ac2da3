"""``[l2norm]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import ShapeError
from darknet_bn.layers.l2norm import L2Norm
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from tests.support.layer_training import delta_x, train_layer


@pytest.mark.parametrize("shape", [(1, 6, 5, 4), (3, 1, 2, 3), (2, 64, 60, 50)])
def test_every_pixel_has_length_one_and_its_direction(
    run: Callable[..., np.ndarray], shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * 3
    y = run(L2Norm(), x)
    expected = x / np.sqrt((x.astype(np.float64) ** 2).sum(1, keepdims=True))
    np.testing.assert_allclose(y, expected, rtol=3e-7)  # a root and a quotient in float32
    np.testing.assert_allclose((y.astype(np.float64) ** 2).sum(1), 1, rtol=1e-6)


def test_a_pixel_of_zeros_has_no_direction(run: Callable[..., np.ndarray]) -> None:
    x = np.zeros((1, 2, 1, 2), np.float32)
    x[0, 0, 0, 1] = -3
    np.testing.assert_array_equal(run(L2Norm(), x)[0, :, 0], [[np.nan, -1], [np.nan, 0]])


def test_it_needs_pixels(read: Callable[..., Layer]) -> None:
    with pytest.raises(ShapeError, match="no image shape"):
        read("[l2norm]", PJREDDIE).out_shape((Shape(60, flat=True),))


def test_the_program_lets_deltas_pass() -> None:
    rng = np.random.default_rng(2)
    x, way = rng.standard_normal((2, 2, 3, 4, 2))
    np.testing.assert_array_equal(delta_x(train_layer(L2Norm(), x, dialect=PJREDDIE), way), way)
    # What goes back exactly does not change the length of a pixel.
    exact = delta_x(train_layer(L2Norm(), x), way)
    np.testing.assert_allclose(np.sum(exact * x, axis=1), 0, atol=1e-14)
