"""``[cost]``."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import CfgError
from darknet_bn.layers.base import Shape


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 7)])
def test_without_truth_the_output_is_zero(run, read, shape):
    layer = read("[cost]\ntype=masked\nscale=2")
    y = run(layer, np.ones(shape, np.float32))
    np.testing.assert_array_equal(y, np.zeros((shape[0], np.prod(shape[1:])), np.float32))
    assert layer.is_loss
    assert not layer.is_alias((Shape(3, 4, 5),))


def test_options(read):
    assert read("[cost]").type == "sse"
    layer = read("[cost]\ntype=wgan\nratio=.5\nnoobj=.1\nthresh=.2", PJREDDIE)
    assert (layer.type, layer.ratio, layer.noobj, layer.thresh) == ("wgan", 0.5, 0.1, 0.2)
    with pytest.raises(CfgError, match=r"type: unknown word .*found 'ssd'\); did you mean 'sse'"):
        read("[cost]\ntype=ssd")
