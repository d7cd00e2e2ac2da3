"""Pooling to the largest value and its backward pass, against plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from darknet_bn.kernels.pooling.maximum import (
    backward_maxpool_depth,
    backward_maxpool_layer,
    forward_maxpool_depth,
    forward_maxpool_layer,
)
from darknet_bn.kernels.pooling.windows import LOWEST, Window
from darknet_bn.work import measured
from tests.support.pooling import deltas, windows

pytestmark = pytest.mark.usefixtures("each_kernel")

SIZES = (1, 2, 3, 5, 9, 13)
STRIDES = ((1, 1), (2, 2), (1, 2), (3, 2))


@pytest.mark.parametrize("stride", STRIDES, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_largest(size: int, stride: tuple[int, int]) -> None:
    rng = np.random.default_rng(size)
    odd = np.array([np.nan, -np.inf, np.inf, 0, 1], np.float32)
    for padding, hw in itertools.product((0, 1, size - 1, size + 1), ((6, 5), (7, 37), (1, 1))):
        window = Window(size, *stride, padding)
        oh, ow = window.out_hw(*hw)
        if oh < 1 or ow < 1:
            continue
        for x in (rng.standard_normal((1, 2, *hw), np.float32), rng.choice(odd, (1, 2, *hw))):
            expected = np.full((1, 2, oh, ow), LOWEST, np.float32)
            for place, inside in windows(x, window):
                expected[place] = max((x[at] for at in inside if x[at] > LOWEST), default=LOWEST)
            y = np.empty_like(expected)
            forward_maxpool_layer(x, window, y)
            np.testing.assert_array_equal(y, expected, str(window))


@pytest.mark.parametrize("row", [1, 99], ids=["long rows", "short rows"])
@pytest.mark.parametrize("stride", STRIDES, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_first_of_the_largest(
    size: int, stride: tuple[int, int], row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "POOL_BACK_LEAST", 1)
    monkeypatch.setattr(measured, "POOL_BACK_ROW", row)
    rng = np.random.default_rng(size)
    for padding, hw in itertools.product((0, 1, size - 1, size + 1), ((6, 5), (13, 14), (1, 1))):
        window = Window(size, *stride, padding)
        oh, ow = window.out_hw(*hw)
        if oh < 1 or ow < 1:
            continue
        # Few different numbers, so that many are equal.
        x = rng.integers(0, 4, (2, 3, *hw)).astype(np.float32)
        y = np.empty((2, 3, oh, ow), np.float32)
        forward_maxpool_layer(x, window, y)
        delta = deltas(rng, y.shape)
        expected = np.zeros_like(x)
        for place, inside in windows(x, window):
            if inside:
                expected[max(inside, key=lambda at: x[at])] += delta[place]  # the first, if equal
        given = backward_maxpool_layer(x, y, delta, window)
        np.testing.assert_array_equal(given, expected, str(window))


@pytest.mark.parametrize("stride", [1, 2])
def test_many_images_go_in_blocks(stride: int) -> None:
    rng = np.random.default_rng(1)
    window = Window(3, stride, stride, 2)
    x = rng.integers(0, 4, (3, 40, 90, 80)).astype(np.float32)
    y = np.empty((3, 40, *window.out_hw(90, 80)), np.float32)
    forward_maxpool_layer(x, window, y)
    delta = deltas(rng, y.shape)
    one_by_one = [
        backward_maxpool_layer(*(each[image : image + 1] for each in (x, y, delta)), window)
        for image in range(3)
    ]
    whole = backward_maxpool_layer(x, y, delta, window)
    np.testing.assert_array_equal(whole, np.concatenate(one_by_one))


@pytest.mark.parametrize("stride", [1, 2])
def test_nothing_goes_to_what_is_no_number(stride: int) -> None:
    x = np.array([[[[np.nan, 1, 2], [3, np.nan, 0], [1, 0, np.nan]]]], np.float32)
    window = Window(2, stride, stride, 0)
    y = np.empty((1, 1, *window.out_hw(3, 3)), np.float32)
    forward_maxpool_layer(x, window, y)
    given = backward_maxpool_layer(x, y, np.ones_like(y), window)
    expected = [[0, 0, 1], [2, 0, 1], [0] * 3] if stride == 1 else [[0] * 3, [1, 0, 0], [0] * 3]
    np.testing.assert_array_equal(given[0, 0], expected)


@pytest.mark.parametrize(("c", "f"), [(6, 2), (7, 3), (3, 5)])
def test_first_of_the_largest_channels(c: int, f: int) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 3, (2, c, 4, 5)).astype(np.float32)
    y = np.empty((2, f, 4, 5), np.float32)
    forward_maxpool_depth(x, y)
    delta = deltas(rng, y.shape)
    expected = np.zeros_like(x)
    for image, out, row, column in np.ndindex(y.shape):
        channels = range(out, c, f)
        if channels:
            first = max(channels, key=lambda k: x[image, k, row, column])
            expected[image, first, row, column] += delta[image, out, row, column]
    np.testing.assert_array_equal(backward_maxpool_depth(x, y, delta), expected)
