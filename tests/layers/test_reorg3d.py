"""``[reorg3d]`` against its definition."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.errors import ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.reorg3d import Reorg3d
from darknet_bn.layers.shape import Shape


@pytest.mark.parametrize(
    ("n", "c", "h", "w", "s"), [(1, 3, 4, 6, 2), (3, 2, 3, 6, 3), (2, 3, 2, 2, 1)]
)
def test_space_to_depth(
    run: Callable[..., np.ndarray], n: int, c: int, h: int, w: int, s: int
) -> None:
    x = np.random.default_rng(1).standard_normal((n, c, h, w), dtype=np.float32)
    y = run(Reorg3d(stride=s), x)
    assert y.shape == (n, c * s * s, h // s, w // s)
    for dy, dx in itertools.product(range(s), range(s)):
        part = (dy * s + dx) * c
        np.testing.assert_array_equal(y[:, part : part + c], x[:, :, dy::s, dx::s])


@pytest.mark.parametrize(("n", "c", "h", "w", "s"), [(2, 16, 2, 3, 2), (1, 32, 3, 2, 2)])
def test_reverse_takes_the_output_for_the_small_image(
    run: Callable[..., np.ndarray], n: int, c: int, h: int, w: int, s: int
) -> None:
    x = np.random.default_rng(2).standard_normal((n, c, h, w), dtype=np.float32)
    y = run(Reorg3d(stride=s, reverse=True), x)
    assert y.shape == (n, c // s**2, h * s, w * s)
    parts = x.reshape(n, s, s, c // s**4, h * s, w * s)
    expected = parts.transpose(0, 3, 4, 1, 5, 2).reshape(y.shape)
    np.testing.assert_array_equal(y, expected)


def test_options_and_refusal(read: Callable[..., Layer]) -> None:
    layer = read("[reorg3d]\nstride=2")
    assert layer.extended
    assert layer.size_text() == "/ 2"
    with pytest.raises(ShapeError, match="divisible by 2"):
        layer.out_shape((Shape(4, 3, 4),))
    with pytest.raises(ShapeError, match=r"channels of the output .*divisible by 4, found 2"):
        Reorg3d(stride=2, reverse=True).out_shape((Shape(8, 4, 4),))
