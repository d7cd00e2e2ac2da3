"""``[dropout]`` and what else leaves its input as it is."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.layers.base import Shape


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 7)])
def test_nothing_happens_in_inference(run, read, shape):
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    layer = read("[dropout]\nprobability=.9")
    assert layer.is_alias((Shape(3, 4, 5),))
    np.testing.assert_array_equal(run(layer, x), x)


def test_default_probability_is_the_dialects(read):
    assert read("[dropout]", PJREDDIE).probability == 0.5
    assert read("[dropout]", ALEXEYAB).probability == 0.2
    assert read("[dropout]\nprobability=.25").size_text() == "p = 0.25"
    assert read("[dropout]\ndropblock=1\ndropblock_size_abs=7").dropblock
