"""``[cost]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.cost import CostLayer
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from tests.support.layer_training import delta_x, train_layer

# Truth minus output: below -1, -1 to 0, 0, 0 to 1, above 1.
APART = np.array([[-3.0, -0.5, 0.0, 0.25, 2.0]])
EXPECTED = {
    "sse": ([9, 0.25, 0, 0.0625, 4], [-3, -0.5, 0, 0.25, 2]),
    "seg": ([9, 0.25, 0, 0.0625, 4], [-3, -0.5, 0, 0.25, 2]),
    "wgan": ([9, 0.25, 0, 0.0625, 4], [-3, -0.5, 0, 0.25, 2]),
    "masked": ([9, 0.25, 0, 0.0625, 4], [-3, -0.5, 0, 0.25, 2]),
    "L1": ([3, 0.5, 0, 0.25, 2], [-1, -1, -1, 1, 1]),
    "smooth": ([5, 0.25, 0, 0.0625, 3], [-1, -0.5, 0, 0.25, 1]),
}


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 7)])
def test_without_truth_the_output_is_zero(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], shape: tuple[int, ...]
) -> None:
    layer = read("[cost]\ntype=masked\nscale=2")
    y = run(layer, np.ones(shape, np.float32))
    np.testing.assert_array_equal(y, np.zeros((shape[0], np.prod(shape[1:])), np.float32))
    assert layer.is_loss
    assert not layer.is_alias((Shape(3, 4, 5),))


def test_options(read: Callable[..., Layer]) -> None:
    assert read("[cost]").type == "sse"
    layer = read("[cost]\ntype=wgan\nratio=.5\nnoobj=.1\nthresh=.2", PJREDDIE)
    assert (layer.type, layer.ratio, layer.noobj, layer.thresh) == ("wgan", 0.5, 0.1, 0.2)
    with pytest.raises(CfgError, match=r"type: unknown word .*found 'ssd'\); did you mean 'sse'"):
        read("[cost]\ntype=ssd")


class TestTraining:
    """Deltas are half of the derivative if errors are squares, as in every program."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("kind", EXPECTED)
    def test_errors_and_deltas(self, kind: str, dtype: type) -> None:
        errors, deltas = EXPECTED[kind]
        x = np.arange(5, dtype=dtype).reshape(1, 5, 1, 1)
        truth = (x.reshape(1, 5) + APART).astype(dtype)
        layer = CostLayer(type=kind, scale=3.0, ratio=0.5, noobj=0.1, thresh=0.2)
        for dialect in (ALEXEYAB, ALEXEYAB.sound, PJREDDIE.sound):
            done = train_layer(layer, x, truth, dialect=dialect)
            np.testing.assert_array_equal(done.y, [errors])
            assert done.loss == sum(errors)  # without the scale
            given = done.back(np.zeros_like(done.y))
            np.testing.assert_array_equal(given.delta, [deltas])
            np.testing.assert_array_equal(given.deltas[0].reshape(-1), 3 * np.array(deltas))
            assert given.deltas[0].shape == x.shape
            assert done.y.dtype == given.deltas[0].dtype == dtype

    def test_pjreddies_smooth_climbs_where_the_error_is_large(self) -> None:
        x = np.zeros((1, 5))
        done = train_layer(CostLayer(type="smooth"), x, APART, dialect=PJREDDIE)
        np.testing.assert_array_equal(delta_x(done), [[1, -0.5, 0, 0.25, -1]])

    def test_what_is_masked_has_no_error(self) -> None:
        x, truth = np.ones((2, 3)), np.array([[-1234.0, 3, -1234], [0, -1234, 1]])
        masked = train_layer(CostLayer(type="masked"), x, truth)
        assert masked.loss == 5
        np.testing.assert_array_equal(masked.y, [[0, 4, 0], [1, 0, 0]])
        np.testing.assert_array_equal(delta_x(masked), [[0, 2, 0], [-1, 0, 0]])
        assert train_layer(CostLayer(), x, truth).loss > 1e6

    def test_without_truth(self) -> None:
        x = np.ones((2, 3, 1, 1))
        done = train_layer(CostLayer(), x)
        assert done.loss is None
        np.testing.assert_array_equal(done.y, np.zeros((2, 3)))
        np.testing.assert_array_equal(delta_x(done), np.zeros_like(x))

    def test_a_truth_that_does_not_fit(self) -> None:
        with pytest.raises(ShapeError, match=r"expected \(2, 3\), found \(2, 4\)"):
            train_layer(CostLayer(), np.zeros((2, 3, 1, 1)), np.zeros((2, 4)))
