"""That buffers are used again without harm."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.model.network import Network
from darknet_bn.run.order import Order
from darknet_bn.run.plan import Plan, Plans, Schedule, make_schedule
from tests.support.builders import LONG_RANGE as CFG
from tests.support.builders import cfg_text, network_of, random_input, random_model


def schedule_of(*wanted: int, batch: int = 2, cfg: bytes = CFG) -> Schedule:
    return make_schedule(Order(network_of(cfg, "pjreddie"), wanted), batch)


def live_ranges(network: Network, schedule: Schedule) -> dict[int, tuple[int, int]]:
    """First and last layer at which each array that has a buffer must hold its values."""
    ranges = {root: (root, root) for root in schedule.slots}
    for index in schedule.order.layers:
        for source in network.nodes[index].sources:
            root = source
            while root >= 0 and network.nodes[root].layer.is_alias(network.nodes[root].xs):
                root = network.nodes[root].sources[0]
            if root in ranges:
                ranges[root] = (root, index)
    return ranges


class TestSchedule:
    @pytest.mark.parametrize("wanted", [(14, 18), (18,), (0, 14), tuple(range(19)), (9,)])
    def test_no_two_arrays_that_live_at_once_share_a_buffer(self, wanted: tuple[int, ...]) -> None:
        network = network_of(CFG, "pjreddie")
        schedule = make_schedule(Order(network, wanted), 2)
        ranges = live_ranges(network, schedule)
        for a, (start, end) in ranges.items():
            for b, (other_start, other_end) in ranges.items():
                if a < b and schedule.slots[a] == schedule.slots[b]:
                    assert end < other_start or other_end < start, (a, b)
        for index, slot in schedule.slots.items():
            assert schedule.sizes[slot] >= 2 * network.nodes[index].y.size

    def test_what_is_wanted_has_no_buffer(self) -> None:
        assert not {14, 18, 0} & set(schedule_of(14, 18, 1).slots)
        assert schedule_of(*range(19)).slots == {}

    def test_a_chain_needs_two_buffers_however_long_it_is(self) -> None:
        cfg = cfg_text(*["[convolutional] filters=6 size=3 pad=1"] * 30)
        assert len(schedule_of(29, cfg=cfg).sizes) == 2

    def test_buffers_are_far_fewer_than_layers(self) -> None:
        schedule = schedule_of(14, 18)
        network = network_of(CFG, "pjreddie")
        assert len(schedule.sizes) <= 5
        assert sum(schedule.sizes) < 2 * sum(node.y.size for node in network.nodes) / 2

    def test_more_than_the_machine_has_is_refused(self) -> None:
        with pytest.raises(dn.ShapeError, match="not enough memory for the outputs") as caught:
            schedule_of(14, 18, batch=1 << 40)
        assert "a batch of 1099511627776" in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [partial(Plan, exact=exact, keeps=keeps) for exact in (False, True) for keeps in (True, False)],
)
class TestRunning:
    def test_every_layer_alone_gives_what_it_gives_among_all(
        self, make: Callable[..., Any]
    ) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model)
        everything = make(model).run(x, range(19))
        plan = make(model)
        for index in range(19):
            alone = plan.run(x, [index])
            assert list(alone) == [index]
            np.testing.assert_array_equal(alone[index], everything[index])
            assert alone[index].shape == (2, *model.network.nodes[index].y.dims)

    def test_pairs_too(self, make: Callable[..., Any]) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model)
        plan = make(model)
        everything = plan.run(x, range(19))
        for a in range(19):
            for b in range(0, 19, 3):
                for index, array in plan.run(x, [a, b]).items():
                    np.testing.assert_array_equal(array, everything[index])

    def test_changing_the_batch_and_the_wish_from_call_to_call(
        self, make: Callable[..., Any]
    ) -> None:
        model = random_model(CFG, "pjreddie")
        x = random_input(model, batch=5)
        plan = make(model)
        reference = make(model).run(x, [14, 18])
        for batch, wanted in ((5, [14, 18]), (1, [18]), (5, [9, 18]), (2, [14]), (5, [14, 18])):
            outputs = plan.run(x[:batch], wanted)
            for index in set(wanted) & {14, 18}:
                # Matrix products of other sizes may add in another order: some roundings of
                # float32 (6e-8) on values around 1.
                np.testing.assert_allclose(
                    outputs[index], reference[index][:batch], rtol=0, atol=2e-6
                )

    def test_a_second_input_goes_the_way_that_the_first_prepared(
        self, make: Callable[..., Any]
    ) -> None:
        model = random_model(CFG, "pjreddie")
        first, second = random_input(model), random_input(model)[::-1].copy()
        plan = make(model)
        before = plan.run(first, [14, 18])
        kept = {index: array.copy() for index, array in before.items()}
        after = plan.run(second, [14, 18])
        expected = make(model).run(second, [14, 18])
        for index in (14, 18):
            np.testing.assert_array_equal(before[index], kept[index])  # they belong to the caller
            np.testing.assert_array_equal(after[index], expected[index])

    def test_the_callback_comes_behind_every_layer(self, make: Callable[..., Any]) -> None:
        model = random_model(CFG, "pjreddie")
        calls: list[int] = []
        make(model).run(random_input(model), [6], after_layer=lambda: calls.append(1))
        assert len(calls) == 7

    def test_nothing_is_wanted(self, make: Callable[..., Any]) -> None:
        model = random_model(CFG, "pjreddie")
        assert make(model).run(random_input(model), []) == {}


def test_there_are_two_plans_of_a_model() -> None:
    plans = Plans(random_model(CFG, "pjreddie"))
    assert isinstance(plans.of(exact=False), Plan)
    assert plans.of(exact=False) is plans.of(exact=False)
    assert plans.of(exact=True) is not plans.of(exact=False)


def test_a_plan_does_not_keep_its_model() -> None:
    model = random_model(CFG, "pjreddie")
    plans, x, gone = Plans(model), random_input(model), weakref.ref(model)
    for exact in (False, True):
        plans.of(exact=exact).run(x, range(19))
    del model
    assert gone() is None  # at once: not even a circle kept it
