"""``[softmax]``."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.base import Shape
from darknet_bn.layers.softmax import Softmax
from darknet_bn.tree import parse_tree

TREE = parse_tree(b"a\nb\nc 0\n")


def softmax(x, temperature):
    e = np.exp((x - x.max(axis=-1, keepdims=True)).astype(np.float64) / temperature)
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 0.3, 5.0])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(1, 12), (3, 3, 2, 4)])
def test_shares_of_each_group(run, shape, groups, temperature):
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * 4
    y = run(Softmax(groups=groups, temperature=temperature), x)
    assert y.shape == (shape[0], x[0].size)
    expected = softmax(x.reshape(shape[0], groups, -1), temperature)
    # x/temperature is some 40, so that e^it has a relative error of 40 * 6e-8
    np.testing.assert_allclose(y.reshape(expected.shape), expected, atol=3e-6)


@pytest.mark.parametrize("shape", [(1, 3), (3, 3, 1, 1), (2, 1, 3, 1)])
def test_shares_of_each_group_of_a_tree(run, shape):
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    y = run(Softmax(tree=TREE, temperature=0.5), x)
    assert y.shape == (shape[0], 3)
    flat = x.reshape(shape[0], 3)
    np.testing.assert_allclose(y[:, :2], softmax(flat[:, :2], 0.5), rtol=1e-6)  # x is small
    np.testing.assert_array_equal(y[:, 2], np.ones(shape[0]))


def test_large_values_do_not_overflow(run):
    x = np.array([[1e30, -1e30, 1e30, 0]], np.float32)
    np.testing.assert_array_equal(run(Softmax(), x), [[0.5, 0, 0.5, 0]])


def test_nan_does_not_hide_the_largest(run):
    # one NaN makes all shares NaN, as the sum is
    assert np.isnan(run(Softmax(), np.array([[np.nan, 200, 1]], np.float32))).all()


def test_spatial_counts_on_the_gpu_only(run, read):
    x = np.random.default_rng(2).standard_normal((2, 3, 2, 2), dtype=np.float32)
    np.testing.assert_array_equal(run(read("[soft]\nspatial=1"), x), run(Softmax(), x))


def test_what_does_not_fit_is_refused(read):
    with pytest.raises(ShapeError, match=r"groups: .*expected a divisor of 60, found 7"):
        Softmax(groups=7).out_shape((Shape(3, 4, 5),))
    with pytest.raises(ShapeError, match=r"tree: .*as many lines.*expected 60, found 3\)"):
        Softmax(tree=TREE).out_shape((Shape(3, 4, 5),))
    with pytest.raises(CfgError, match=r"tree: 'data/9k\.tree': files cannot be named here"):
        read("[softmax]\ntree=data/9k.tree")
