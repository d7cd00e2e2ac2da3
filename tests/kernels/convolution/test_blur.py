"""The blur of ``antialiasing`` against a convolution with its weights."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.kernels.convolution.blur import backward_blur_as_coded, blur, blurred_size


@pytest.mark.parametrize("mode", [1, 2, 3])
@pytest.mark.parametrize(("stride_x", "stride_y"), [(1, 1), (2, 2), (1, 3), (4, 2)])
@pytest.mark.parametrize("shape", [(1, 2, 7, 8), (3, 4, 2, 3), (2, 1, 5, 6), (2, 5, 180, 170)])
def test_weights_add_up_over_a_square(
    mode: int, stride_x: int, stride_y: int, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    n, c, h, w = shape
    oh, ow = blurred_size(h, mode, stride_y), blurred_size(w, mode, stride_x)
    whole = np.full((n, c * oh * ow + 3), np.nan, np.float32)
    out = whole[:, 1:-2].reshape(n, c, oh, ow)
    blur(x, mode, stride_x, stride_y, out)

    weights = np.full((2, 2), 1 / 4) if mode == 2 else np.outer([1, 2, 1], [1, 2, 1]) / 16
    edge = 0 if mode == 2 else 1
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    k = len(weights)
    assert (oh, ow) == ((h + 2 * edge - k) // stride_y + 1, (w + 2 * edge - k) // stride_x + 1)
    views = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))
    expected = (views[:, :, ::stride_y, ::stride_x] * weights).sum(axis=(4, 5))
    np.testing.assert_allclose(out, expected, atol=1e-6)  # nine float32 values of some 4


@pytest.mark.parametrize("stride", [1, 2])
def test_a_single_row_has_no_neighbours(stride: int) -> None:
    x = np.ones((1, 1, 1, 1), np.float32)
    out = np.empty_like(x)
    blur(x, 1, stride, stride, out)
    assert out[0, 0, 0, 0] == 0.25


def test_a_blur_that_the_program_leaves_out() -> None:
    delta = np.arange(1, 2 * 3 * 2 * 2 + 1, dtype=np.float32).reshape(2, 3, 2, 2)
    given = backward_blur_as_coded(delta, (4, 3))
    assert given.shape == (2, 3, 4, 3)
    np.testing.assert_array_equal(given.ravel(), [*range(1, 25), *[0] * 48])
