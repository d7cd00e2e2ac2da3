"""``[local_avgpool]`` against plain loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from darknet_bn.errors import ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.local_avgpool import LocalAvgPool
from darknet_bn.layers.shape import Shape

WINDOWS = [
    pytest.param(size, stride, padding, id=f"{size}/{stride} padding {padding}")
    for size, stride, padding in (
        *itertools.product((1, 2, 3, 5), (1, 2, 3), (None, 0, 1, 4)),
        (9, 1, None),
        (13, 1, None),
        (6, 4, 3),
        (2, 3, 2),
    )
]
IMAGES = [(1, 3, 13, 13), (2, 2, 7, 10), (3, 1, 8, 5), (1, 2, 1, 4)]


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize(("size", "stride", "padding"), WINDOWS)
def test_local_average_leaves_out_what_lies_outside(
    run: Callable[..., np.ndarray],
    windows: Callable[..., Any],
    shape: tuple[int, ...],
    size: int,
    stride: int,
    padding: int | None,
) -> None:
    x = np.random.default_rng(6).standard_normal(shape, dtype=np.float32)
    layer = LocalAvgPool(size=size, stride=stride, padding=padding)
    total = size - 1 if padding is None else padding
    if min(layer.window.out_hw(*shape[2:])) < 1:
        with pytest.raises(ShapeError, match="does not fit into the image"):
            run(layer, x)
        return
    y = run(layer, x)
    for at, values in windows(x, size, stride, stride, total):
        if values:
            # 169 float32 values of some 1 are added up: 169 * 6e-8, over 169
            np.testing.assert_allclose(y[at], np.mean(values, dtype=np.float64), atol=1e-6)
        else:
            assert np.isnan(y[at])


def test_local_average_of_unequal_strides(
    run: Callable[..., np.ndarray], windows: Callable[..., Any], read: Callable[..., Layer]
) -> None:
    x = np.random.default_rng(7).standard_normal((2, 3, 9, 11), dtype=np.float32)
    layer = read("[local_avg]\nsize=3\nstride=2\nstride_y=1")
    y = run(layer, x)
    assert y.shape == (2, 3, 9, 6)
    for at, values in windows(x, 3, 1, 2, 2):
        np.testing.assert_allclose(y[at], np.mean(values, dtype=np.float64), atol=1e-6)
    assert layer.size_text() == "3 x 3 / 2x1"


def test_cost_and_refusal(read: Callable[..., Layer]) -> None:
    layer = read("[local_avgpool]\nsize=2\nstride=2")
    assert layer.cost((Shape(3, 8, 6),)).flops == 4 * 3 * 3 * 4
    with pytest.raises(ShapeError, match="no image shape"):
        layer.out_shape((Shape(30, flat=True),))
