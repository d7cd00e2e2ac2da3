"""``[upsample]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.errors import ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.upsample import Upsample


@pytest.mark.parametrize("scale", [1.0, 0.5, -3.0])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (3, 2, 1, 7), (2, 9, 60, 70)])
def test_pixels_are_repeated(
    run: Callable[..., np.ndarray], shape: tuple[int, ...], stride: int, scale: float
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    y = run(Upsample(stride=stride, scale=scale), x)
    expected = x.repeat(stride, axis=2).repeat(stride, axis=3) * np.float32(scale)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_negative_stride_adds_up(
    run: Callable[..., np.ndarray], stride: int, scale: float
) -> None:
    x = np.random.default_rng(2).standard_normal((2, 3, 4 * stride, 5 * stride), dtype=np.float32)
    y = run(Upsample(stride=-stride, scale=scale), x)
    blocks = x.astype(np.float64).reshape(2, 3, 4, stride, 5, stride)
    # nine float32 values of some 2 are added up
    np.testing.assert_allclose(y, scale * blocks.sum(axis=(3, 5)), atol=2e-6)


def test_defaults(read: Callable[..., Layer]) -> None:
    layer = read("[upsample]")
    assert layer.out_shape((Shape(3, 4, 5),)) == Shape(3, 8, 10)
    assert layer.size_text() == "2x"
    assert layer.cost((Shape(3, 4, 5),)).flops == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="must not be 0"):
        Upsample(stride=0).out_shape((Shape(3, 4, 5),))
    with pytest.raises(ShapeError, match=r"expected w and h divisible by 2, found 5 x 4 x 3"):
        Upsample(stride=-2).out_shape((Shape(3, 4, 5),))
    with pytest.raises(ShapeError, match="no image shape"):
        Upsample().out_shape((Shape(30, flat=True),))
