"""An inference plan: the steps of a model, built once, with reusable buffers."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where, located
from darknet_bn.layers.passes import Inference, InferenceContext, bound
from darknet_bn.model.model import Model
from darknet_bn.run.order import Order
from darknet_bn.work.memory import require_memory
from darknet_bn.work.threads import workers


class RecurrentState:
    """What layers remember from one call to the next.

    Several plans may share it, so that a sequence may continue in any of them; only one plan runs
    at a time.

    Parameters
    ----------
    layers : int
        Number of layers.

    Attributes
    ----------
    states : list of dict from name to float32 array
        One per layer; only recurrent layers store anything there.
    """

    def __init__(self, layers: int) -> None:
        self.states: list[dict[str, F32]] = [{} for _ in range(layers)]
        self._batch: int | None = None
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Let all sequences start again."""
        with self._lock:
            self._clear()

    @contextmanager
    def during(self, batch: int, *, keep: bool) -> Iterator[None]:
        """Hold it for a call; the old state is kept only on request, and if it fits the batch."""
        with self._lock:
            if not keep or batch != self._batch:
                self._clear()
            self._batch = None  # after a failed call there is nothing to continue from
            yield
            self._batch = batch

    def _clear(self) -> None:
        for state in self.states:
            state.clear()


class Plan:
    """The forward steps of every layer, and the buffers between them.

    A plan may be called from several threads; calls run one at a time.  It does not refer to the
    model, so that plans cached for a model are freed with it.

    Parameters
    ----------
    model : Model
    memory : RecurrentState, optional
        The state of another plan, to continue its sequences; by default the plan has its own.
    exact : bool
        Whether to keep Darknet's order of operations, instead of folding batch norm and using the
        fastest algorithms.
    keeps : bool
        Whether the step of a layer is kept for the next call.
    """

    def __init__(
        self, model: Model, memory: RecurrentState | None = None, *, exact: bool, keeps: bool = True
    ) -> None:
        self._network, self._params = model.network, model.params
        self._keeps = keeps
        self._steps: list[Inference | None] = [None] * len(model.network.nodes)
        self._memory = memory or RecurrentState(len(model.network.nodes))
        self._setting = InferenceContext(model.dialect, exact, model.network.time_steps)
        self._schedule: Schedule | None = None
        self._places: dict[int, F32] = {}  # where unrequested outputs go
        self._calls: dict[int, Callable[[], None]] = {}  # what computes these from each other

    def run(
        self,
        x: F32,
        wanted: Sequence[int],
        after_layer: Callable[[], None] | None = None,
        *,
        keep_state: bool = False,
    ) -> dict[int, F32]:
        """Compute the outputs of some layers.

        Parameters
        ----------
        x : float32 array (n, c, h, w), or (n, inputs)
        wanted : layer numbers
        after_layer : function, optional
            Called after each layer.
        keep_state : bool
            Whether sequences continue from the state after the last call.

        Returns
        -------
        outputs : dict from layer number to float32 array (n, *shape)
            Arrays that belong to the caller.
        """
        memory = self._memory.during(len(x), keep=keep_state)
        with memory, workers().hold_blas(), np.errstate(all="ignore"):
            order = self._prepare(len(x), tuple(wanted)).order
            roots, nodes, calls = order.roots, self._network.nodes, self._calls
            arrays = {-1: x}  # with those that belong to the caller
            for root in {roots[index] for index in wanted} - {-1}:
                arrays[root] = np.empty((len(x), *nodes[root].y.dims), np.float32)
            for index in order.layers:
                if roots[index] == index:
                    (calls.get(index) or self._call(index, order, arrays))()
                if after_layer is not None:
                    after_layer()
            return {
                index: arrays[index] if roots[index] == index else arrays[roots[index]].copy()
                for index in wanted
            }

    def _call(self, index: int, order: Order, arrays: dict[int, F32]) -> Callable[[], None]:
        """Return what computes a layer; it is kept if it only uses arrays of the plan."""
        roots = [order.roots[source] for source in self._network.nodes[index].sources]
        xs = [arrays[root] if root in arrays else self._places[root] for root in roots]
        y = arrays[index] if index in arrays else self._places[index]
        if not self._keeps or not arrays.keys().isdisjoint((index, *roots)):
            return partial(self._step(index), xs, y)
        return self._calls.setdefault(index, bound(self._step(index), xs, y))

    def _step(self, index: int) -> Inference:
        step = self._steps[index]
        if step is None:
            node = self._network.nodes[index]
            context = replace(self._setting, state=self._memory.states[index])
            step = node.layer.infer(node.xs, self._params[index], context)
            self._steps[index] = step if self._keeps else None
        return step

    def _prepare(self, batch: int, wanted: tuple[int, ...]) -> Schedule:
        schedule = self._schedule
        if schedule is None or (schedule.batch, schedule.order.wanted) != (batch, wanted):
            schedule = make_schedule(Order(self._network, wanted), batch)
            buffers = [np.empty(size, np.float32) for size in schedule.sizes]
            places = {}
            for index, slot in schedule.slots.items():
                shape = (batch, *self._network.nodes[index].y.dims)
                places[index] = buffers[slot][: math.prod(shape)].reshape(shape)
            self._schedule, self._places, self._calls = schedule, places, {}  # set all, or none
        return schedule


class Plans:
    """The two plans of a model, exact and fast, with the state that they share.

    Parameters
    ----------
    model : Model
        Not referred to afterwards.
    """

    def __init__(self, model: Model) -> None:
        self._memory = RecurrentState(len(model.network.nodes))
        self._exact, self._fast = (
            Plan(model, self._memory, exact=exact) for exact in (True, False)
        )

    def of(self, *, exact: bool) -> Plan:
        """Return the plan that keeps Darknet's order of operations, or the fast one."""
        return self._exact if exact else self._fast

    def forget(self) -> None:
        """Let all sequences start again."""
        self._memory.forget()


@dataclass(frozen=True)
class Schedule:
    """Where the outputs of the layers go for one request.

    Attributes
    ----------
    order : Order
    batch : int
    slots : dict
        The buffer of each root that was not requested.
    sizes : tuple of int
        Floats in each buffer.
    """

    order: Order
    batch: int
    slots: dict[int, int]
    sizes: tuple[int, ...]


def make_schedule(order: Order, batch: int) -> Schedule:
    """Share buffers among outputs that are not needed at the same time.

    Raises
    ------
    ShapeError
        The machine does not have enough memory.
    """
    nodes, roots = order.network.nodes, order.roots
    kept = {roots[index] for index in order.wanted}
    slots: dict[int, int] = {}
    sizes: list[int] = []
    free: list[int] = []
    for index in order.layers:
        if roots[index] == index and index not in kept:
            size = batch * nodes[index].y.size
            slot = _best(free, sizes, size)
            if slot is None:
                slot = len(sizes)
                sizes.append(0)
            else:
                free.remove(slot)
            slots[index] = slot
            sizes[slot] = max(sizes[slot], size)
        free.extend(slots[root] for root in order.spent.get(index, ()) if root in slots)

    outputs = sum(nodes[index].y.size for index in kept if index >= 0)
    with located(Where(section="net", key=f"a batch of {batch}"), ShapeError):
        require_memory(4 * (sum(sizes) + batch * outputs), "the outputs of the layers")
    return Schedule(order, batch, slots, tuple(sizes))


def _best(free: list[int], sizes: list[int], size: int) -> int | None:
    """Return the smallest free buffer that is large enough, or else the largest."""
    enough = [slot for slot in free if sizes[slot] >= size]
    if enough:
        return min(enough, key=lambda slot: sizes[slot])
    return max(free, key=lambda slot: sizes[slot], default=None)
