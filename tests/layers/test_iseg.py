"""``[iseg]``; that pjreddie's program agrees was seen with an empty truth, without it crashes."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import ShapeError
from darknet_bn.layers.base import Shape
from darknet_bn.layers.iseg import Iseg


@pytest.mark.parametrize(("n", "classes", "ids"), [(1, 4, 3), (3, 1, 2), (2, 0, 5), (2, 3, 0)])
def test_classes_are_squashed_and_embeddings_are_not(run, n, classes, ids):
    x = np.random.default_rng(1).standard_normal((n, classes + ids, 5, 3), dtype=np.float32) * 3
    y = run(Iseg(classes=classes, ids=ids), x)
    squashed = 1 / (1 + np.exp(-x[:, :classes].astype(float)))
    np.testing.assert_allclose(y[:, :classes], squashed, rtol=1e-6)  # e^x of values up to 10
    np.testing.assert_array_equal(y[:, classes:], x[:, classes:])


def test_options_and_what_does_not_fit(read):
    layer = read("[iseg]", PJREDDIE)
    assert layer.out_shape((Shape(52, 8, 8),)) == Shape(52, 8, 8)
    assert layer.filters_per_class() == 1
    with pytest.raises(ShapeError, match=r"expected filters=52: 20 classes \+ 32 ids, found 25"):
        layer.out_shape((Shape(25, 8, 8),))
    with pytest.raises(ShapeError, match="no image shape"):
        layer.out_shape((Shape(52, flat=True),))
