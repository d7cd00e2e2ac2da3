"""``[softmax]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.formats.tree import parse_tree
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.softmax import Softmax
from tests.support.layer_training import delta_x, slope_of_loss, train_layer

TREE = parse_tree(b"a\nb\nc 0\n")
LAYERS = {
    "plain": (Softmax(groups=2, temperature=3.0), 8),
    "tree": (
        Softmax(tree=parse_tree(b"a\nb\nc\nd 0\ne 0\nf 1\ng 1\nh 3\n"), temperature=0.7),
        8,
    ),
}


def softmax(x, temperature) -> np.ndarray:
    e = np.exp((x - x.max(axis=-1, keepdims=True)).astype(np.float64) / temperature)
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 0.3, 5.0])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(1, 12), (3, 3, 2, 4)])
def test_shares_of_each_group(
    run: Callable[..., np.ndarray], shape: tuple[int, ...], groups: int, temperature: float
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * 4
    y = run(Softmax(groups=groups, temperature=temperature), x)
    assert y.shape == (shape[0], x[0].size)
    expected = softmax(x.reshape(shape[0], groups, -1), temperature)
    # x/temperature is some 40, so that e^it has a relative error of 40 * 6e-8
    np.testing.assert_allclose(y.reshape(expected.shape), expected, atol=3e-6)


@pytest.mark.parametrize("shape", [(1, 3), (3, 3, 1, 1), (2, 1, 3, 1)])
def test_shares_of_each_group_of_a_tree(
    run: Callable[..., np.ndarray], shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    y = run(Softmax(tree=TREE, temperature=0.5), x)
    assert y.shape == (shape[0], 3)
    flat = x.reshape(shape[0], 3)
    np.testing.assert_allclose(y[:, :2], softmax(flat[:, :2], 0.5), rtol=1e-6)  # x is small
    np.testing.assert_array_equal(y[:, 2], np.ones(shape[0]))


def test_large_values_do_not_overflow(run: Callable[..., np.ndarray]) -> None:
    x = np.array([[1e30, -1e30, 1e30, 0]], np.float32)
    np.testing.assert_array_equal(run(Softmax(), x), [[0.5, 0, 0.5, 0]])


def test_nan_does_not_hide_the_largest(run: Callable[..., np.ndarray]) -> None:
    # one NaN makes all shares NaN, as the sum is
    assert np.isnan(run(Softmax(), np.array([[np.nan, 200, 1]], np.float32))).all()


def test_spatial_counts_on_the_gpu_only(
    run: Callable[..., np.ndarray], read: Callable[..., Layer]
) -> None:
    x = np.random.default_rng(2).standard_normal((2, 3, 2, 2), dtype=np.float32)
    np.testing.assert_array_equal(run(read("[soft]\nspatial=1"), x), run(Softmax(), x))


def test_what_does_not_fit_is_refused(read: Callable[..., Layer]) -> None:
    with pytest.raises(ShapeError, match=r"groups: .*expected a divisor of 60, found 7"):
        Softmax(groups=7).out_shape((Shape(3, 4, 5),))
    with pytest.raises(ShapeError, match=r"tree: .*number of lines.*expected 60, found 3\)"):
        Softmax(tree=TREE).out_shape((Shape(3, 4, 5),))
    with pytest.raises(CfgError, match=r"tree: 'data/9k\.tree': file names are not allowed here"):
        read("[softmax]\ntree=data/9k.tree")


class TestTraining:
    def data(self, size) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(5)
        return rng.standard_normal((3, size)), rng.random((3, size))

    @pytest.mark.parametrize("name", LAYERS)
    def test_the_delta_is_that_of_the_cross_entropy(self, name: str) -> None:
        layer, size = LAYERS[name]
        x, truth = self.data(size)
        if name == "tree":
            truth[0, 3:5] = truth[2, 5:7] = -1234  # of whole groups
        done = train_layer(layer, x, truth)
        known = truth >= 0
        assert done.loss == pytest.approx(-np.sum(truth[known] * np.log(done.y[known])), rel=1e-12)
        slope = slope_of_loss(layer, x, truth, PJREDDIE.sound)
        # Central differences with a step of 1e-5, of a loss of some 10.
        np.testing.assert_allclose(delta_x(done), -slope, atol=1e-8)

    @pytest.mark.parametrize("name", LAYERS)
    def test_what_reads_the_shares_goes_back_through_them(self, name: str) -> None:
        layer, size = LAYERS[name]
        x, way = self.data(size)
        given = delta_x(train_layer(layer, x), way)
        for place in np.ndindex(*x.shape):
            step = np.zeros_like(x)
            step[place] = 1e-5
            rise = train_layer(layer, x + step).y - train_layer(layer, x - step).y
            assert given[place] == pytest.approx(np.sum(way * rise) / 2e-5, abs=1e-8)

    def test_a_truth_of_zeros_and_ones_has_one_loss_in_both_forms(self) -> None:
        x, _ = self.data(8)
        truth = np.eye(8)[[1, 4, 4]]
        for dialect in (PJREDDIE, ALEXEYAB):
            coded = train_layer(Softmax(temperature=2.0), x, truth, dialect=dialect)
            exact = train_layer(Softmax(temperature=2.0), x, truth, dialect=dialect.sound)
            assert coded.loss == exact.loss
            np.testing.assert_allclose(delta_x(coded) / 2, delta_x(exact), rtol=1e-12)

    def test_without_loss(self) -> None:
        x, truth = self.data(8)
        for dialect in (PJREDDIE, PJREDDIE.sound):
            silent = train_layer(Softmax(noloss=True), x, truth, dialect=dialect)
            alone = train_layer(Softmax(), x, dialect=dialect)
            assert silent.loss is None
            assert alone.loss is None
            np.testing.assert_array_equal(delta_x(silent, truth), delta_x(alone, truth))
        assert not delta_x(train_layer(Softmax(noloss=True), x, truth)).any()

    def test_a_share_of_nothing_has_a_finite_loss(self) -> None:
        x = np.array([[0, 500]], np.float32)
        done = train_layer(Softmax(), x, np.array([[1, 0]], np.float32))
        assert done.loss is not None
        assert 80 < done.loss < 100
        np.testing.assert_array_equal(delta_x(done), [[1, -1]])

    def test_a_truth_that_does_not_fit(self) -> None:
        with pytest.raises(ShapeError, match=r"expected \(3, 8\), found \(3, 7\)"):
            train_layer(Softmax(), np.zeros((3, 8)), np.zeros((3, 7)))
