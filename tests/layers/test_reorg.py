"""``[reorg]`` against the loops of ``reorg_cpu``."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.reorg import Reorg
from darknet_bn.layers.shape import Shape

SHAPES = [(1, 4, 4, 6, 2), (2, 8, 2, 4, 2), (3, 9, 3, 6, 3), (2, 5, 3, 2, 1)]


def reorg_loops(image, dims, stride, forward) -> np.ndarray:
    """What C does with one image, flat, whose shape it believes to be ``dims``."""
    c, h, w = dims
    x, out = image.reshape(-1), np.full(image.size, np.nan, np.float32)
    depth = c // stride**2
    for k, j, i in itertools.product(range(c), range(h), range(w)):
        small = i + w * (j + h * k)
        offset, plane = divmod(k, depth)
        column = i * stride + offset % stride
        row = j * stride + offset // stride
        large = column + w * stride * (row + h * stride * plane)
        if forward:
            out[large] = x[small]
        else:
            out[small] = x[large]
    return out


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("n", "c", "h", "w", "stride"), SHAPES)
def test_c_takes_the_input_for_the_small_image(
    run: Callable[..., np.ndarray], n: int, c: int, h: int, w: int, stride: int, reverse: bool
) -> None:
    x = np.random.default_rng(1).standard_normal((n, c, h, w), dtype=np.float32)
    y = run(Reorg(stride=stride, reverse=reverse), x)
    for image, result in zip(x, y, strict=True):
        expected = reorg_loops(image, (c, h, w), stride, reverse)
        np.testing.assert_array_equal(result.reshape(-1), expected)


def test_shapes(read: Callable[..., Layer]) -> None:
    x = Shape(8, 4, 6)
    assert read("[reorg]\nstride=2").out_shape((x,)) == Shape(32, 2, 3)
    assert read("[reorg]\nstride=2\nreverse=1").out_shape((x,)) == Shape(2, 8, 12)
    assert read("[reorg]\nstride=2").size_text() == "/ 2"


def test_flatten_turns_planes_into_pixels_and_back(
    run: Callable[..., np.ndarray], read: Callable[..., Layer]
) -> None:
    x = np.random.default_rng(2).standard_normal((2, 3, 4, 5), dtype=np.float32)
    y = run(read("[reorg]\nflatten=1", PJREDDIE), x, dialect=PJREDDIE)
    np.testing.assert_array_equal(y.reshape(2, 4, 5, 3), x.transpose(0, 2, 3, 1))
    back = run(read("[reorg]\nflatten=1\nreverse=1", PJREDDIE), y, dialect=PJREDDIE)
    np.testing.assert_array_equal(back, x)


def test_extra_appends_zeros(run: Callable[..., np.ndarray], read: Callable[..., Layer]) -> None:
    x = np.random.default_rng(3).standard_normal((2, 3, 4, 5), dtype=np.float32)
    y = run(read("[reorg]\nextra=7", PJREDDIE), x, dialect=PJREDDIE)
    np.testing.assert_array_equal(y[:, :60], x.reshape(2, 60))
    np.testing.assert_array_equal(y[:, 60:], np.zeros((2, 7), np.float32))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected w and h divisible by 2, found 5 x 4 x 8"):
        Reorg(stride=2).out_shape((Shape(8, 4, 5),))
    with pytest.raises(ShapeError, match=r"expected channels divisible by 4, found 6"):
        Reorg(stride=2).out_shape((Shape(6, 4, 4),))
    with pytest.raises(ShapeError, match=r"expected channels divisible by 4, found 6"):
        Reorg(stride=2, reverse=True).out_shape((Shape(6, 4, 4),))
    with pytest.raises(ShapeError, match="extra and flatten cannot be used together"):
        Reorg(extra=2, flatten=True).out_shape((Shape(4, 4, 4),))
    with pytest.raises(ShapeError, match="no image shape"):
        Reorg().out_shape((Shape(64, flat=True),))
