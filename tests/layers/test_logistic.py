"""``[logistic]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.logistic import Logistic
from darknet_bn.layers.shape import Shape
from tests.support.layer_training import delta_x, slope_of_loss, train_layer


@pytest.mark.parametrize("shape", [(1, 6, 5, 4), (3, 11), (2, 3, 200, 150)])
def test_every_value_is_squashed(
    run: Callable[..., np.ndarray], read: Callable[..., Layer], shape: tuple[int, ...]
) -> None:
    layer = read("[logistic]", PJREDDIE)
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * 5
    # e^x of values up to 25 has a relative error of some 1e-6
    np.testing.assert_allclose(run(layer, x), 1 / (1 + np.exp(-x.astype(float))), rtol=2e-6)
    assert layer.out_shape((Shape(11, flat=True),)) == Shape(11, flat=True)


class TestTraining:
    X = np.random.default_rng(3).standard_normal((2, 3, 2, 2)) * 2
    TRUTH = np.random.default_rng(4).random((2, 12))

    @pytest.mark.parametrize("dialect", [PJREDDIE, PJREDDIE.sound])
    def test_the_delta_is_that_of_the_cross_entropy(self, dialect) -> None:
        done = train_layer(Logistic(), self.X, self.TRUTH, dialect=dialect)
        y = 1 / (1 + np.exp(-self.X.reshape(2, 12)))
        entropy = -np.sum(self.TRUTH * np.log(y) + (1 - self.TRUTH) * np.log(1 - y))
        assert done.loss == pytest.approx(entropy, rel=1e-12)
        slope = slope_of_loss(Logistic(), self.X, self.TRUTH, dialect)
        # Central differences with a step of 1e-5, of a loss of some 20.
        np.testing.assert_allclose(delta_x(done), -slope, atol=1e-8)

    def test_what_reads_the_output(self) -> None:
        """It passes unchanged in the program."""
        way = self.TRUTH.reshape(self.X.shape)
        exact = train_layer(Logistic(), self.X)
        assert exact.loss is None
        np.testing.assert_allclose(delta_x(exact, way), way * exact.y * (1 - exact.y), rtol=1e-12)
        coded = train_layer(Logistic(), self.X, dialect=PJREDDIE)
        np.testing.assert_array_equal(delta_x(coded, way), way)

    def test_values_far_from_zero_have_a_finite_loss(self) -> None:
        x, truth = np.float32([[300, -300, 300]]), np.float32([[0, 1, 1]])
        done = train_layer(Logistic(), x, truth)
        assert done.loss == 600
        np.testing.assert_array_equal(delta_x(done), [[-1, 1, 0]])

    def test_a_truth_that_does_not_fit(self) -> None:
        with pytest.raises(ShapeError, match=r"expected \(2, 12\), found \(2, 13\)"):
            train_layer(Logistic(), self.X, np.zeros((2, 13)))
