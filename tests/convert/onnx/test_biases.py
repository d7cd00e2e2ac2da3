"""Biases that take back what rounding does to means."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.convert.onnx.biases import Means, rounded, rounded_weights, shift


def test_rounding_by_hand() -> None:
    x = np.array([-9, -1, -0.26, -0.24, 0, 0.24, 0.26, 100, 254], np.float32) / 2
    found = rounded(x, (-0.5, 127.0))
    np.testing.assert_array_equal(
        2 * found, np.array([-1, -1, 0, 0, 0, 0, 0, 100, 254], np.float32)
    )
    assert rounded(np.zeros(3, np.float32), (0.0, 0.0)).tolist() == [0, 0, 0]


def test_weights_have_a_step_for_each_filter() -> None:
    weights = np.zeros((3, 1, 1, 2), np.float32)
    weights[:2, 0, 0] = [[127, 3.4], [-1.27, 0.014]]
    found = rounded_weights(weights)[:, 0, 0]
    np.testing.assert_allclose(found, [[127, 3], [-1.27, 0.01], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_mean_is_right_again(groups: int) -> None:
    rng = np.random.default_rng(groups)
    x = rng.gamma(1.0, 1.0, (5, 4, 9, 9)).astype(np.float32)
    weights = rng.normal(size=(8, 4 // groups, 1, 1)).astype(np.float32)
    ends = (0.0, 2.0)  # cuts off a good part
    means = Means({"x": ends})
    means.add({"x": x[:2], "y": x[:2]})
    means.add({"x": x[2:], "y": x[2:]})
    moved = shift(weights, groups, means.of("x"))
    exact = convolved(x, weights, groups)
    found = convolved(rounded(x, ends), rounded_weights(weights).astype(np.float32), groups)
    assert np.abs(exact.mean((0, 2, 3)) - found.mean((0, 2, 3))).max() > 0.1
    np.testing.assert_allclose(exact.mean((0, 2, 3)), found.mean((0, 2, 3)) + moved, atol=1e-4)


def convolved(x: np.ndarray, weights: np.ndarray, groups: int) -> np.ndarray:
    """A convolution of single pixels, as its definition says."""
    n, c, h, w = x.shape
    parts = x.reshape(n, groups, c // groups, h, w)
    kernels = weights.reshape(groups, -1, c // groups)
    return np.einsum("ngchw,gfc->ngfhw", parts, kernels).reshape(n, -1, h, w)
