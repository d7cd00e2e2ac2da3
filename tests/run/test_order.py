"""Which layers run, which arrays they have in common, and when an array goes."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.run.order import Order
from tests.support.builders import LONG_RANGE as CFG
from tests.support.builders import cfg_text, network_of

CONV = "[convolutional] filters=3 size=3 pad=1"


def order_of(*wanted: int, cfg: bytes = CFG) -> Order:
    return Order(network_of(cfg, "pjreddie"), wanted)


def dummy(index: int, xs: list[np.ndarray]) -> np.ndarray:
    return np.full((1, 1), index, np.float32)


def test_only_what_is_needed_runs() -> None:
    assert order_of(0).layers == (0,)
    assert order_of(6).layers == (0, 1, 2, 3, 4, 5, 6)
    assert order_of(18).layers == (*range(9), 15, 16, 17, 18)
    assert order_of(14, 18).layers == tuple(range(19))
    assert order_of().layers == ()


def test_layers_that_change_nothing_share_an_array() -> None:
    roots = order_of(14, 18).roots
    shared = {index: root for index, root in roots.items() if index != root and index >= 0}
    assert shared == {1: 0, 5: 4, 7: 6, 12: 11, 15: 8, 17: 16}


def test_an_array_is_used_until_the_last_layer_that_reads_it_under_any_name() -> None:
    cfg = cfg_text(CONV, "[dropout]", CONV, "[shortcut] from=-2", CONV)
    order = order_of(4, cfg=cfg)
    assert order.roots == {-1: -1, 0: 0, 1: 0, 2: 2, 3: 3, 4: 4}
    assert order.last_use == {-1: 0, 0: 3, 2: 3, 3: 4, 4: 4}
    assert order.spent == {0: (-1,), 3: (0, 2), 4: (3, 4)}


def test_what_is_held_before_a_layer() -> None:
    order = order_of(4, cfg=cfg_text(CONV, "[dropout]", CONV, "[shortcut] from=-2", CONV))
    image = 3 * 8 * 8
    assert [order.live(layer) for layer in range(5)] == [image * each for each in (1, 1, 1, 2, 1)]


@pytest.mark.parametrize("wanted", [(14, 18), (18,), (0, 14), (9,)])
def test_a_walk_hands_over_sources_and_forgets_what_nobody_reads(wanted: tuple[int, ...]) -> None:
    order = order_of(*wanted)
    arrays = {-1: np.full((1, 1), -1, np.float32)}
    computed = []

    def compute(index: int, xs: list[np.ndarray]) -> np.ndarray:
        sources = order.network.nodes[index].sources
        assert [int(x[0, 0]) for x in xs] == [order.roots[source] for source in sources]
        computed.append(index)
        return dummy(index, xs)

    walked = []
    for index in order.walk(arrays, compute):
        walked.append(index)
        held = {root for root, use in order.last_use.items() if root <= index <= use}
        assert set(arrays) == held
    assert tuple(walked) == order.layers
    assert computed == [index for index in order.layers if order.roots[index] == index]
    assert arrays == {}


def test_a_walk_can_be_taken_in_parts() -> None:
    order = order_of(14, 18)
    whole = list(order.walk({-1: np.zeros((1, 1))}, dummy))
    arrays = {-1: np.zeros((1, 1))}
    first = list(order.walk(arrays, dummy, range(9)))
    again = dict(arrays)
    assert first + list(order.walk(arrays, dummy, range(9, 19))) == whole
    assert list(order.walk(again, dummy, range(9, 12))) == [9, 10, 11]


def test_in_training_each_layer_has_an_array_that_stays() -> None:
    network = network_of(CFG, "pjreddie")
    order = Order.of_all(network)
    arrays = {-1: np.zeros((1, 1))}
    assert list(order.walk(arrays, dummy)) == list(range(19))
    assert list(arrays) == list(range(-1, 19))
    sizes = [network.input.size, *(node.y.size for node in network.nodes)]
    assert order.live(18) == sum(sizes[:19])


def test_layers_that_share_parameters_know_each_other() -> None:
    cfg = cfg_text(CONV, f"{CONV} share_index=0", CONV, f"{CONV} share_index=1")
    order = Order.of_all(network_of(cfg, "alexeyab"))
    assert [order.sharing(layer) for layer in range(4)] == [(0, 1, 3), (0, 1, 3), (2,), (0, 1, 3)]
