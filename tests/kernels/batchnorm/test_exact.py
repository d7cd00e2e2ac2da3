"""The exact gradient of batch norm, whatever the mean of the filters."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.kernels import backward_batchnorm_layer, forward_batchnorm_layer

pytestmark = pytest.mark.usefixtures("each_kernel")


@pytest.mark.parametrize("dialect", [dn.PJREDDIE.sound, dn.ALEXEYAB.sound], ids=["pj", "ab"])
@pytest.mark.parametrize("mean", [0.0, 3.0, 50.0, 1000.0])
def test_float32_is_right_far_from_zero_too(mean: float, dialect: dn.Dialect) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((4, 3, 200)) + mean).astype(np.float32)
    delta = rng.standard_normal(x.shape).astype(np.float32)
    p = {
        "scales": np.array([1.5, -0.7, 2.0], np.float32),
        "biases": np.zeros(3, np.float32),
        "rolling_mean": np.zeros(3, np.float32),
        "rolling_variance": np.zeros(3, np.float32),
    }
    given = []
    for dtype in (np.float32, np.float64):
        q = {name: array.astype(dtype) for name, array in p.items()}
        saved = forward_batchnorm_layer(x.astype(dtype), q, train=True, dialect=dialect).saved
        given.append(backward_batchnorm_layer(delta.astype(dtype), q, saved, dialect=dialect))
    narrow, wide = given
    # The mean itself is rounded to float32, which is far_away * 6e-8 of a deviation.
    tolerance = 1e-5 + 2e-7 * mean
    for name in ("delta_x", "bias_updates", "scale_updates", "mean_delta", "variance_delta"):
        mine, exact = getattr(narrow, name), getattr(wide, name)
        assert mine.dtype == np.float32
        largest = max(1.0, float(np.abs(exact).max()))
        assert np.abs(mine - exact).max() <= tolerance * largest, name


def test_the_delta_of_the_input_sums_to_nothing_and_is_at_right_angles_to_it() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((6, 2, 50))
    delta = rng.standard_normal(x.shape)
    p = dn.kernels.make_batchnorm_layer(2)
    p = {name: array.astype(np.float64) for name, array in p.items()}
    dialect = dn.PJREDDIE.sound
    saved = forward_batchnorm_layer(x, p, train=True, dialect=dialect).saved
    delta_x = backward_batchnorm_layer(delta, p, saved, dialect=dialect).delta_x
    assert np.abs(delta_x.sum(axis=(0, 2))).max() < 1e-10
    # Nearly: eps keeps the scale of the input from being wholly without effect.
    assert np.abs((delta_x * x).sum(axis=(0, 2))).max() < 1e-3
