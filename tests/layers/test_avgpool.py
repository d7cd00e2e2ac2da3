"""``[avgpool]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.errors import ShapeError
from darknet_bn.layers.avgpool import AvgPool
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (3, 4, 1, 1), (2, 3, 300, 250)])
def test_mean_of_each_channel(run: Callable[..., np.ndarray], shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) + 1
    y = run(AvgPool(), x)
    assert y.shape == (*shape[:2], 1, 1)
    # pairwise float32 sums of values of some 1: log2(75000) roundings of 6e-8
    np.testing.assert_allclose(y[:, :, 0, 0], x.mean(axis=(2, 3), dtype=np.float64), atol=1e-6)


def test_names_and_refusal(read: Callable[..., Layer]) -> None:
    assert read("[avg]").out_shape((Shape(4, 5, 6),)) == Shape(4)
    with pytest.raises(ShapeError, match="no image shape"):
        AvgPool().out_shape((Shape(30, flat=True),))
