"""The passes of one batch, part by part, through all layers of a net or through its last ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, TrainingError, Where, located
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, TrainingContext
from darknet_bn.run.order import Order
from darknet_bn.training.state import TrainState

Back = Callable[[F32], Backward]


def parts_of(n: int, subdivisions: int, time_steps: int) -> list[npt.NDArray[np.intp]]:
    """Return the images of each part of a batch; all steps of a sequence are in one part.

    Raises
    ------
    ShapeError
        The batch cannot be split.
    """
    sequences = n // time_steps
    if sequences % subdivisions:
        raise ShapeError(
            "the batch cannot be divided",
            where=Where(section="net", key="subdivisions"),
            expected=f"a multiple of {subdivisions}",
            found=f"{sequences}",
        )
    numbers = np.arange(n).reshape(time_steps, subdivisions, sequences // subdivisions)
    return [numbers[:, part].ravel() for part in range(subdivisions)]


def stops(layer: Layer, iteration: int) -> bool:
    """Whether nothing goes back to a layer, or to those before it, in the step after so many."""
    return layer.stopbackward == 1 or layer.stopbackward > iteration


class BatchPass:
    """The parts of one batch, one after the other: what they change, and what they sum up.

    Parameters
    ----------
    state : TrainState
    keep : bool
        Whether all outputs and deltas are kept.
    layers : iterable of int, optional
        The layers that run, in order; by default all.  What they read and do not compute is given.

    Attributes
    ----------
    params : list of mappings from name to float32 array
        For each layer, with the rolling statistics that the parts have changed.
    updates : list of dicts from name to float32 array
        For each layer, the sum over all images.
    memory : list of dicts from name to float32 array
        What recurrent layers remember.
    losses : list of float
        The loss of each part, summed over its images: the mean over the layers that have one.
    seen : int
        Number of images that the model has been trained with.
    outputs, deltas : dict from layer number to list of float32 arrays
        Of each part, if they are kept.
    """

    def __init__(
        self, state: TrainState, keep: bool = False, layers: Iterable[int] | None = None
    ) -> None:
        self._state = state
        self._nodes = state.model.network.nodes
        self._layers = tuple(range(len(self._nodes)) if layers is None else layers)
        self._order = Order.of_all(state.model.network)
        self.params: list[Params] = list(state.model.params)
        self.updates: list[dict[str, F32]] = [{} for _ in self._nodes]
        self.memory: list[dict[str, F32]] = [dict(each) for each in state.memory]
        self.losses: list[float] = []
        self.seen = state.seen
        self._keep = keep
        self.outputs: dict[int, list[F32]] = {}
        self.deltas: dict[int, list[F32]] = {}

    def run(self, given: Mapping[int, F32], truth: F32 | None, images: int) -> dict[int, F32]:
        """Run the forward and backward pass for some images.

        Parameters
        ----------
        given : mapping from layer number to float32 array (n, *shape)
            The outputs of the layers that do not run; -1 is the network's input.
        truth : float32 array (n, ...), or None
        images : int
            How many images the model has seen when they are done, in addition to those before.

        Returns
        -------
        deltas : dict from layer number to float32 array (n, *shape)
            Of the layers that do not run, where something goes back to them.

        Raises
        ------
        ShapeError
            The truth does not fit.
        TrainingError
            There is no loss, or a layer cannot be trained.
        """
        self.seen += images
        outputs, backs, losses = self._forward(given, truth)
        if not losses:
            raise TrainingError(
                "there is nothing to compute a loss from",
                expected="a truth and a layer with a loss: [softmax], [cost], [yolo] ...",
            )
        self.losses.append(sum(losses.values()) / len(losses))
        return self._backward(outputs, backs, losses)

    def _forward(
        self, given: Mapping[int, F32], truth: F32 | None
    ) -> tuple[dict[int, F32], dict[int, Back], dict[int, float]]:
        outputs, backs, losses = dict(given), {}, {}
        batch = len(next(iter(given.values())))
        for index in self._layers:
            node, network, state = self._nodes[index], self._state.model.network, self._state
            context = TrainingContext(
                dialect=state.dialect,
                seed=(state.seed, self.seen, index),
                net=network.input,
                truth=truth,
                seen=self.seen,
                batch=batch,
                wants_delta=node.sources[:1] != (-1,),
                time_steps=network.time_steps,
                state=self.memory[index],
                arena=state.arena,
            )
            xs = [outputs[source] for source in node.sources]
            with located(state.model.cfg.where(index + 1)):
                done = node.layer.train(xs, self.params[index], context)
            outputs[index], backs[index] = done.y, done.back
            if done.loss is not None:
                losses[index] = done.loss
            if done.changes:
                self._change(node.owner, done.changes)
            if self._keep:
                self.outputs.setdefault(index, []).append(done.y.copy())
        return outputs, backs, losses

    def _change(self, owner: int, changes: Mapping[str, F32]) -> None:
        """Store new values, for all layers that share them."""
        changed = {**self.params[owner], **changes}
        for index in self._order.sharing(owner):
            self.params[index] = changed

    def _backward(
        self, outputs: dict[int, F32], backs: dict[int, Back], losses: dict[int, float]
    ) -> dict[int, F32]:
        deltas: dict[int, F32] = {}
        for index in reversed(self._layers):
            node = self._nodes[index]
            if stops(node.layer, self._state.iteration):
                return {}
            delta, back = deltas.pop(index, None), backs.pop(index)
            y = outputs.pop(index)
            if node.layer.onlyforward or (delta is None and index not in losses):
                continue
            if delta is None:
                delta = np.zeros_like(y)
            before = delta.copy() if self._keep else delta
            given = back(delta)
            if self._keep:
                after = before if given.delta is None else given.delta.copy()
                self.deltas.setdefault(index, []).append(after)
            self._add_updates(node.owner, given.updates)
            for source, array in zip(node.sources, _apart(given.deltas), strict=True):
                if source < 0 or array is None:
                    continue
                if source in deltas and not given.overwrites:
                    deltas[source] += array
                else:
                    deltas[source] = array
        return deltas

    def _add_updates(self, owner: int, updates: Mapping[str, F32]) -> None:
        sums = self.updates[owner]
        for name, update in updates.items():
            sums[name] = sums[name] + update if name in sums else update


def _apart(deltas: Sequence[F32 | None]) -> list[F32 | None]:
    """Copy deltas that share memory, as each will be changed separately."""
    own: list[F32 | None] = []
    for delta in deltas:
        shares = delta is not None and any(
            other is not None and np.may_share_memory(delta, other) for other in own
        )
        own.append(delta.copy() if shares and delta is not None else delta)
    return own
