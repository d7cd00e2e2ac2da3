"""``[scale_channels]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.scale_channels import ScaleChannels
from darknet_bn.layers.shape import Shape


def arrays(*shapes, n=2) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal((n, *shape), dtype=np.float32) for shape in shapes]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("shape", [(5, 3, 4), (1, 2, 2), (9, 130, 140)])
def test_a_value_for_each_channel(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], shape: tuple[int, ...], n: int
) -> None:
    factors, x = arrays((shape[0], 1, 1), shape, n=n)
    y = run(read("[scale_channels]\nfrom=-4"), factors, x)
    np.testing.assert_array_equal(y, factors * x)


@pytest.mark.parametrize("shape", [(5, 3, 4), (1, 2, 2), (9, 130, 140)])
def test_a_value_for_each_pixel(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], shape: tuple[int, ...]
) -> None:
    factors, x = arrays((1, *shape[1:]), shape)
    y = run(read("[scale_channels]\nfrom=-4\nscale_wh=1\nactivation=relu"), factors, x)
    np.testing.assert_array_equal(y, np.maximum(factors * x, 0))


def test_sources(read: Callable[..., Layer]) -> None:
    layer = read("[scale_channels]\nfrom=-4")
    assert layer.sources(9) == (8, 5)
    assert ScaleChannels(from_=2).sources(9) == (8, 2)
    assert layer.reference_keys() == ("from",)


def test_what_does_not_fit_is_refused(read: Callable[..., Layer]) -> None:
    with pytest.raises(CfgError, match="'from' is missing"):
        read("[scale_channels]")
    x = Shape(5, 3, 4)
    with pytest.raises(ShapeError, match=r"each channel .*expected 1 x 1 x 5, found 1 x 1 x 4"):
        ScaleChannels(from_=0).out_shape((Shape(4), x))
    with pytest.raises(ShapeError, match=r"each pixel .*expected 4 x 3 x 1, found 1 x 1 x 5"):
        ScaleChannels(from_=0, scale_wh=True).out_shape((Shape(5), x))
    with pytest.raises(ShapeError, match="the layer of from= has no image shape"):
        ScaleChannels(from_=0).out_shape((Shape(5), Shape(60, flat=True)))
