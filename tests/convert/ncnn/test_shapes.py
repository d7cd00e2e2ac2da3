"""Shapes and orders of axes as ncnn has them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from darknet_bn.convert.ncnn.net import NcnnLayer, NcnnNet
from darknet_bn.convert.ncnn.shapes import (
    aligned,
    blob_shape,
    permute_order,
    permuted,
    shape_options,
)
from tests.support.ncnn import run_net


@pytest.mark.parametrize(
    ("dims", "shape"), [((1, 3, 4, 5), (3, 4, 5)), ((1, 7), (7,)), ((4, 2), (4, 2)), ((), (1,))]
)
def test_the_batch_falls_away(dims: tuple[int, ...], shape: tuple[int, ...]) -> None:
    assert blob_shape(dims) == shape


def test_axes_are_aligned_at_the_last() -> None:
    assert aligned([(1, 6, 2), (6, 1), (1, 6, 2)]) == [(6, 2), (6, 1), (6, 2)]
    assert aligned([(1, 3, 4, 5), (5,)]) == [(3, 4, 5), (1, 1, 5)]


@pytest.mark.parametrize(
    ("dims", "perm"),
    [
        ((1, 4, 3, 2, 5, 2), (0, 3, 5, 1, 2, 4)),
        ((1, 2, 3, 4, 5, 6), (0, 3, 4, 1, 5, 2)),
        ((2, 3, 1), (2, 1, 0)),
        ((1, 3, 7, 4), (0, 3, 1, 2)),
        ((5, 1, 6), (0, 2, 1)),
    ],
)
def test_axes_that_stay_together_are_joined(dims: tuple[int, ...], perm: tuple[int, ...]) -> None:
    x = np.arange(np.prod(dims)).reshape(dims)
    shape, order = permuted(dims, perm)
    assert len(order) <= 4
    np.testing.assert_array_equal(
        x.reshape(shape).transpose(order).ravel(), x.transpose(perm).ravel()
    )


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_every_order_is_what_ncnn_takes_it_for(rank: int) -> None:
    pytest.importorskip("ncnn", reason="ncnn is not installed")
    shape = (2, 3, 4, 5)[-rank:]
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for perm in itertools.permutations(range(rank)):
        net = NcnnNet(
            (
                NcnnLayer("Input", "x", (), ("x",), shape_options(shape)),
                NcnnLayer("Permute", "y", ("x",), ("y",), {0: permute_order(perm)}),
            )
        )
        np.testing.assert_array_equal(run_net(net, {"x": x}, ["y"])["y"], x.transpose(perm))
