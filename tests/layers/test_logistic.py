"""``[logistic]``."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.layers.base import Shape


@pytest.mark.parametrize("shape", [(1, 6, 5, 4), (3, 11), (2, 3, 200, 150)])
def test_every_value_is_squashed(run, read, shape):
    layer = read("[logistic]", PJREDDIE)
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * 5
    # e^x of values up to 25 has a relative error of some 1e-6
    np.testing.assert_allclose(run(layer, x), 1 / (1 + np.exp(-x.astype(float))), rtol=2e-6)
    assert layer.out_shape((Shape(11, flat=True),)) == Shape(11, flat=True)
