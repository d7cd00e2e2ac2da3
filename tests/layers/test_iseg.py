"""``[iseg]``; that pjreddie's program agrees was seen with an empty truth, without it crashes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import ShapeError
from darknet_bn.layers.iseg import Iseg
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from tests.support.layer_training import delta_x, train_layer


@pytest.mark.parametrize(("n", "classes", "ids"), [(1, 4, 3), (3, 1, 2), (2, 0, 5), (2, 3, 0)])
def test_classes_are_squashed_and_embeddings_are_not(
    run: Callable[..., np.ndarray], n: int, classes: int, ids: int
) -> None:
    x = np.random.default_rng(1).standard_normal((n, classes + ids, 5, 3), dtype=np.float32) * 3
    y = run(Iseg(classes=classes, ids=ids), x)
    squashed = 1 / (1 + np.exp(-x[:, :classes].astype(float)))
    np.testing.assert_allclose(y[:, :classes], squashed, rtol=1e-6)  # e^x of values up to 10
    np.testing.assert_array_equal(y[:, classes:], x[:, classes:])


def test_options_and_what_does_not_fit(read: Callable[..., Layer]) -> None:
    layer = read("[iseg]", PJREDDIE)
    assert layer.out_shape((Shape(52, 8, 8),)) == Shape(52, 8, 8)
    assert layer.filters_per_class() == 1
    with pytest.raises(ShapeError, match=r"expected filters=52: 20 classes \+ 32 ids, found 25"):
        layer.out_shape((Shape(25, 8, 8),))
    with pytest.raises(ShapeError, match="no image shape"):
        layer.out_shape((Shape(52, flat=True),))


class TestTraining:
    LAYER = Iseg(classes=2, ids=1)

    def truth(self, *rows) -> np.ndarray:
        """Instances of one image of 1 x 4 pixels: class, mask."""
        return np.array([[*rows]], np.float64)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_by_hand(self, dtype: type) -> None:
        x = np.zeros((1, 3, 1, 4), dtype)
        x[0, 2, 0] = [1, 3, -1, 5]  # embeddings
        truth = self.truth([0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [-1, 0, 0, 0, 0])
        done = train_layer(self.LAYER, x, truth.astype(dtype))
        # Means are 2 and -1.  Of the embedding a tenth is drawn to zero; then 0.1 up or down to the
        # own mean, the other way from the other mean; the last pixel is of no instance.
        drawn = [-0.1 + 0.1 + 0.1, -0.3 - 0.1 + 0.1, 0.1 + 0.1 - 0.1, -0.5]
        expected = [[0.5, 0.5, -0.5, -0.5], [-0.5, -0.5, 0.5, -0.5], np.multiply(drawn, 0.01)]
        given = delta_x(done)
        np.testing.assert_allclose(given[0, :, 0], expected, atol=1e-8)  # float32
        assert given.dtype == dtype
        assert done.loss == pytest.approx(np.sum(np.square(expected)), rel=1e-6)

    def test_the_class_of_a_pixel_is_that_of_the_last_instance(self) -> None:
        x = np.zeros((1, 3, 1, 4))
        given = delta_x(train_layer(self.LAYER, x, self.truth([0, 1, 0, 0, 0], [0, 0.25, 0, 0, 0])))
        np.testing.assert_array_equal(given[0, 0, 0], [-0.25, -0.5, -0.5, -0.5])

    def test_without_truth_it_squashes(self) -> None:
        x = np.random.default_rng(0).standard_normal((2, 3, 1, 4))
        done = train_layer(self.LAYER, x)
        assert done.loss is None
        slope = done.y[:, :2] * (1 - done.y[:, :2])
        np.testing.assert_allclose(delta_x(done, 2.0)[:, :2], 2 * slope, rtol=1e-12)
        np.testing.assert_array_equal(delta_x(train_layer(self.LAYER, x), 2.0)[:, 2:], 2)
        coded = train_layer(self.LAYER, x, dialect=PJREDDIE)
        np.testing.assert_array_equal(delta_x(coded, 2.0), np.full_like(x, 2))

    def test_what_does_not_fit(self) -> None:
        x = np.zeros((1, 3, 1, 4))
        with pytest.raises(ShapeError, match=r"expected \(1, instances, 1 \+ 4\).*found \(1, 7\)"):
            train_layer(self.LAYER, x, np.zeros((1, 7)))
        with pytest.raises(ShapeError, match=r"class that does not exist .*0 to 1.*found 2"):
            train_layer(self.LAYER, x, self.truth([0, 0, 0, 0, 0], [2, 1, 1, 1, 1]))
        ended = self.truth([-1, 0, 0, 0, 0], [2, 1, 1, 1, 1])
        np.testing.assert_array_equal(delta_x(train_layer(self.LAYER, x, ended))[0, :2, 0], -0.5)
