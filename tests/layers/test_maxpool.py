"""``[maxpool]`` against plain loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB
from darknet_bn.errors import ShapeError
from darknet_bn.kernels.pooling.maximum import backward_maxpool_layer, forward_maxpool_layer
from darknet_bn.kernels.pooling.windows import LOWEST, Window
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.maxpool import MaxPool
from darknet_bn.layers.passes import TrainingContext
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


def largest(values) -> np.float32:
    result = np.float32(LOWEST)
    for value in values:
        if value > result:
            result = value
    return result


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize(("size", "stride", "padding"), WINDOWS)
def test_every_window_gives_its_largest_value(
    run: Callable[..., np.ndarray],
    windows: Callable[..., Any],
    shape: tuple[int, ...],
    size: int,
    stride: int,
    padding: int | None,
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    layer = MaxPool(size=size, stride=stride, padding=padding)
    total = size - 1 if padding is None else padding
    if min(layer.window.out_hw(*shape[2:])) < 1:
        with pytest.raises(ShapeError, match="does not fit into the image"):
            run(layer, x)
        return
    y = run(layer, x)
    for at, values in windows(x, size, stride, stride, total):
        assert y[at] == largest(values)


def test_strides_may_differ(
    run: Callable[..., np.ndarray], windows: Callable[..., Any], read: Callable[..., Layer]
) -> None:
    x = np.random.default_rng(2).standard_normal((2, 3, 9, 11), dtype=np.float32)
    layer = read("[maxpool]\nsize=3\nstride=2\nstride_x=1\nstride_y=4")
    y = run(layer, x)
    assert y.shape == (2, 3, 3, 11)
    for at, values in windows(x, 3, 4, 1, 2):
        assert y[at] == largest(values)
    assert layer.size_text() == "3 x 3 / 1x4"


@pytest.mark.parametrize("size", [2, 3])
def test_nan_and_infinity_count_as_in_c(
    run: Callable[..., np.ndarray], windows: Callable[..., Any], size: int
) -> None:
    x = np.full((1, 2, 6, 6), np.nan, np.float32)
    x[0, 0, :3] = -np.inf
    x[0, 0, 3, 2] = np.inf
    x[0, 1, 0, 0] = -1
    y = run(MaxPool(size=size, stride=size), x)
    for at, values in windows(x, size, size, size, size - 1):
        assert y[at] == largest(values)
    assert y.min() == np.float32(LOWEST)


def test_large_maps_are_cut_among_threads(run: Callable[..., np.ndarray]) -> None:
    x = np.random.default_rng(3).standard_normal((2, 5, 260, 200), dtype=np.float32)
    y = run(MaxPool(size=2, stride=2), x)
    np.testing.assert_array_equal(y, x.reshape(2, 5, 130, 2, 100, 2).max(axis=(3, 5)))


def test_depth_takes_every_so_manieth_channel(
    run: Callable[..., np.ndarray], read: Callable[..., Layer]
) -> None:
    x = np.random.default_rng(4).standard_normal((2, 7, 3, 4), dtype=np.float32)
    layer = read("[maxpool]\nmaxpool_depth=1\nout_channels=3\nsize=2\nstride=2")
    y = run(layer, x)
    expected = [x[:, [0, 3, 6]].max(axis=1), x[:, [1, 4]].max(axis=1), x[:, [2, 5]].max(axis=1)]
    np.testing.assert_array_equal(y, np.stack(expected, axis=1))
    assert layer.cost((Shape(7, 3, 4),)).flops == x[0].size


@pytest.mark.parametrize(("mode", "shape"), [(1, (1, 2, 4, 5)), (2, (1, 2, 4, 4))])
def test_antialiasing_strides_in_the_blur(
    run: Callable[..., np.ndarray], mode: int, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(5).standard_normal((1, 2, 8, 9), dtype=np.float32)
    sharp = run(MaxPool(size=2, stride=1), x).astype(np.float64)
    y = run(MaxPool(size=2, stride=2, antialiasing=mode), x)
    assert y.shape == shape
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16 if mode == 1 else np.full((2, 2), 0.25)
    before = 1 if mode == 1 else 0
    padded = np.pad(sharp, ((0, 0), (0, 0), (before, before), (before, before)))
    for i, j in np.ndindex(shape[2:]):
        patch = padded[:, :, 2 * i : 2 * i + len(weights), 2 * j : 2 * j + len(weights)]
        # a sum of nine float32 values of some 2
        np.testing.assert_allclose(y[:, :, i, j], (patch * weights).sum((2, 3)), atol=1e-6)


def test_defaults_follow_each_other(read: Callable[..., Layer]) -> None:
    assert read("[max]\nstride=3").window == MaxPool(size=3, stride=3, padding=2).window
    assert read("[maxpool]").out_shape((Shape(4, 5, 6),)) == Shape(4, 5, 6)
    assert read("[maxpool]\nsize=2\nstride=2").size_text() == "2 x 2 / 2"


def test_cost_is_that_of_the_programs_table(read: Callable[..., Layer]) -> None:
    # AlexeyAB prints 0.003 BF for the first pool of yolov4 at 416: 208*208*16 windows of 4.
    layer = read("[maxpool]\nsize=2\nstride=2")
    assert layer.cost((Shape(16, 416, 416),)).flops == 208 * 208 * 16 * 4


def test_a_flat_input_is_refused() -> None:
    with pytest.raises(ShapeError, match="no image shape"):
        MaxPool().out_shape((Shape(30, flat=True),))


def test_a_window_a_little_too_large_still_counts(run: Callable[..., np.ndarray]) -> None:
    # C cuts (1 - 2)/2 to 0; rounding down would give -1 and no window at all.
    x = np.float32([[[[3, -2, 5, 1]]]])
    np.testing.assert_array_equal(run(MaxPool(size=2, stride=2, padding=0), x), [[[[3, 5]]]])
    with pytest.raises(ShapeError, match=r"size 2 does not fit .*found 4 x 1, padding 0"):
        run(MaxPool(size=2, stride=1, padding=0), x)


def test_as_coded_the_way_back_leaves_the_blur_out(read: Callable[..., Layer]) -> None:
    layer = read("[maxpool]\nsize=2\nstride=2\nantialiasing=1")
    x = np.random.default_rng(1).standard_normal((2, 3, 6, 7), dtype=np.float32)
    training = TrainingContext(ALEXEYAB, np.random.default_rng(0), Shape(1, 6, 6), batch=2)
    done = layer.train([x], {}, training)
    delta = np.arange(1, done.y.size + 1, dtype=np.float32).reshape(done.y.shape)
    (given,) = done.back(delta.copy()).deltas
    # The delta is at the beginning of what belongs to windows that move by one pixel.
    window = Window(2, 1, 1, 1)
    sharp = np.empty_like(x)
    forward_maxpool_layer(x, window, sharp)
    laid = np.zeros_like(sharp)
    laid.ravel()[: delta.size] = delta.ravel()
    np.testing.assert_array_equal(given, backward_maxpool_layer(x, sharp, laid, window))
