"""What batch norms see is what `calibrate` would store."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.doctor.seen import MOST, Seen, look, norms_of, readers_of
from darknet_bn.kernels.batchnorm.moments import Moments
from tests.support.builders import cfg_text, random_input, random_model

from .planted import digits, images

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"


def seen(
    mean: float, variance: float, *, stored_mean: float = 0.0, stored_variance: float = 1.0
) -> Seen:
    one = np.ones(1)
    moments = Moments(11, mean * one, 10 * variance * one)
    return Seen(moments, stored_mean * one, stored_variance * one, np.sqrt(stored_variance) * one)


@pytest.mark.parametrize("parts", [1, 3])
def test_moments_are_those_of_calibration_in_one_pass(parts: int) -> None:
    model, batches = digits(), np.array_split(images(96), parts)
    calibrated, _ = dn.calibrate(model, batches, method="one-pass")
    for layer, each in look(model, batches).items():
        now = calibrated.params[layer]
        np.testing.assert_array_equal(np.float32(each.moments.mean), now["rolling_mean"])
        np.testing.assert_array_equal(np.float32(each.moments.variance), now["rolling_variance"])


def test_divergence_is_that_of_two_normal_distributions() -> None:
    assert seen(0, 1).divergence == 0
    assert seen(3, 1).divergence == pytest.approx(4.5)
    assert seen(0, 4).divergence == pytest.approx((4 - 1 - np.log(4)) / 2)
    moved = seen(5, 8, stored_mean=1, stored_variance=2)
    assert moved.divergence == pytest.approx((4 - 1 - np.log(4)) / 2 + 16 / 2 / 2)
    assert seen(1e9, 1).divergence == MOST
    assert seen(np.nan, 1).divergence == MOST


def test_channels_that_were_constant_do_not_count() -> None:
    two = np.ones(2)
    each = Seen(Moments(11, 0 * two, 10 * two), 0 * two, np.array([1, 0]), np.array([1, 1e-6]))
    assert each.divergence == 0


def test_the_batch_norms_that_read_a_layer() -> None:
    model = random_model(
        cfg_text(
            CONV, "[maxpool] size=2 stride=2", CONV, "[shortcut] from=-2", CONV, "[route] layers=0"
        )
    )
    assert norms_of(model.network) == (0, 2, 4)
    assert readers_of(model.network) == {
        -1: (0,),
        0: (2, 4),
        1: (2, 4),
        2: (4,),
        3: (4,),
        4: (),
        5: (),
    }


def test_another_function_is_that_of_another_cfg() -> None:
    model, other = (
        random_model(cfg_text(CONV, CONV.replace("leaky", name), CONV))
        for name in ("leaky", "mish")
    )
    x = random_input(model)
    expected = look(other, [x])
    for layer, each in look(model, [x], activations={1: "mish"}).items():
        np.testing.assert_array_equal(each.moments.mean, expected[layer].moments.mean)
