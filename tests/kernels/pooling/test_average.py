"""The backward pass of the mean of windows, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.kernels.pooling.average import backward_local_avgpool_layer
from darknet_bn.kernels.pooling.windows import Window
from tests.support.pooling import windows


@pytest.mark.parametrize("over_inside", [True, False], ids=["exact", "as coded"])
def test_shares_of_a_mean(over_inside: bool) -> None:
    rng = np.random.default_rng(3)
    x = np.empty((2, 3, 7, 6))
    for window in (Window(2, 2, 2, 1), Window(3, 1, 1, 2), Window(3, 2, 1, 2)):
        delta = rng.standard_normal((2, 3, *window.out_hw(7, 6)))
        expected = np.zeros_like(x)
        for place, inside in windows(x, window):
            for at in inside:
                count = len(inside) if over_inside else window.size**2
                expected[at] += delta[place] / count
        given = backward_local_avgpool_layer(x, delta, window, over_inside=over_inside)
        np.testing.assert_allclose(given, expected, atol=1e-14)  # sums of nine in another order
