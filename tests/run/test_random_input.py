"""Random inputs: of the right shape, and the same for the same seed."""

from __future__ import annotations

import numpy as np

from darknet_bn.run.random_input import random_input
from tests.support.builders import cfg_text, network_of, with_time_steps

CFG = cfg_text("[convolutional] filters=2", width=5, height=4)
NETWORK = network_of(CFG)


def test_it_is_the_input_of_one_sequence() -> None:
    x = random_input(NETWORK)
    assert (x.shape, x.dtype) == ((1, 3, 4, 5), np.float32)
    assert 0 <= x.min() < x.max() < 1
    recurrent = network_of(with_time_steps(cfg_text("[gru] output=4", width=2, height=1), 3))
    assert random_input(recurrent).shape == (3, 3, 1, 2)


def test_the_seed_tells_the_values() -> None:
    expected = np.random.default_rng(7).random((1, 3, 4, 5), np.float32)
    assert np.array_equal(random_input(NETWORK, 7), expected)
    assert not np.array_equal(random_input(NETWORK), expected)


def test_a_generator_goes_on() -> None:
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    for images, dims in ((2, (3, 4, 5)), (3, (3, 8, 9))):
        x = random_input(NETWORK, rng, images=images, dims=dims)
        assert np.array_equal(x, same.random((images, *dims), np.float32))
