"""``[implicit]``: trained values that read nothing."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers.shape import Shape
from tests.support.builders import cfg_text, network_of, random_input, random_model

CFG = cfg_text(
    "[convolutional] filters=6 size=1",
    "[implicit] filters=6 atoms=1",
    "[scale_channels] from=-2",
    "[implicit] filters=2 atoms=5 mean=1 std=0.1",
)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_it_gives_the_same_for_every_image(exact: bool, batch: int) -> None:
    model = random_model(CFG)
    x = random_input(model, batch)
    outputs = dn.forward(model, x, "all", exact=exact)
    for layer, shape in ((1, (6, 1, 1)), (3, (2, 5, 1))):
        weights = model.params[layer]["weights"].reshape(shape)
        np.testing.assert_array_equal(outputs[layer], np.broadcast_to(weights, (batch, *shape)))
    np.testing.assert_array_equal(outputs[2], outputs[0] * outputs[1])


def test_it_reads_nothing_and_is_stored_filter_by_filter() -> None:
    network = network_of(CFG)
    assert [node.sources for node in network.nodes] == [(-1,), (), (1, 0), ()]
    assert network.nodes[3].y == Shape(2, 5, 1)
    assert network.nodes[3].params[0].shape == (2, 5)
    assert network.outputs == (2, 3)
    assert network.stored_floats == 6 + 18 + 6 + 10


def test_first_values_lie_around_the_mean() -> None:
    weights = dn.load(CFG, None).params[3]["weights"]
    assert weights.dtype == np.float32
    assert 0.9 <= weights.min() < weights.max() <= 1.1


def test_a_layer_that_nobody_reads_is_an_output() -> None:
    cfg = cfg_text("[convolutional]", "[implicit]", "[dropout]")
    assert network_of(cfg).outputs == (0, 2)
