"""One step of training: forward, backward, update.  C: ``train_network`` in ``src/network.c``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, TrainingError, Where, located
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, TrainingContext
from darknet_bn.run.order import Order
from darknet_bn.run.run import as_input
from darknet_bn.training.policy import learning_rate
from darknet_bn.training.state import TrainState
from darknet_bn.training.update import Update
from darknet_bn.values import brief, counted
from darknet_bn.work.threads import workers

Back = Callable[[F32], Backward]


@dataclass(frozen=True, eq=False)
class TrainStep:
    """What a training step did.

    Attributes
    ----------
    loss : float
        The loss per image, as Darknet reports it: the mean over the layers that have one.
    rate : float
        The learning rate.
    outputs, deltas : mapping from layer number to float32 array (n, *shape)
        Deltas are minus the gradient of the loss, summed over the images, as Darknet leaves them:
        after the activation and batch norm of a layer with weights, before its weights.
    updates : tuple of mappings from name to float32 array
        What each layer was updated with: the sum over all images, plus what momentum has kept.
    """

    loss: float
    rate: float
    outputs: Mapping[int, F32]
    deltas: Mapping[int, F32]
    updates: tuple[Mapping[str, F32], ...]

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(
            self,
            f"loss {self.loss:.6g}, rate {self.rate:.4g}, {counted(len(self.outputs), 'output')}",
        )


def train_step(
    state: TrainState,
    x: npt.ArrayLike,
    truth: npt.ArrayLike | None = None,
    *,
    keep: bool = True,
) -> tuple[TrainState, TrainStep]:
    """Train a model with one batch.

    Parameters
    ----------
    state : TrainState
    x : float32 array (n, c, h, w), or (n, inputs) if the net has no image input
        The batch, of any size; it is split into ``subdivisions`` of ``[net]`` equal parts.  Batch
        norm uses the statistics of each part separately.
    truth : float32 array (n, ...)
        The target of the last layer, (n, outputs); for detectors (n, boxes, 5): x, y, w, h and
        class of each box, relative to the image, and zeros after the last.
    keep : bool
        Whether the step keeps all outputs and deltas, which takes memory.

    Returns
    -------
    state : TrainState
        The state with the new model.
    step : TrainStep

    Raises
    ------
    ShapeError
        The batch or the truth does not fit, or the batch cannot be split.
    TrainingError
        A layer cannot be trained.

    Notes
    -----
    C: ``train_network``, ``forward_network``, ``backward_network`` and ``update_network``.  The
    gradients of all images in the batch are summed, and the update divides them by their number.
    """
    network = state.model.network
    images = as_input(network, x)
    given = None if truth is None else np.asarray(truth, np.float32)
    if given is not None and len(given) != len(images):
        raise ShapeError(
            "the truth does not belong to this batch",
            expected=f"{len(images)} rows",
            found=f"{len(given)}",
        )
    parts = _parts(len(images), network.net.subdivisions, network.time_steps)
    work = _Pass(state, keep)
    with workers().hold_blas(), np.errstate(all="ignore"):
        for part in parts:
            work.run(images[part], None if given is None else given[part])
        return _updated(state, work, parts)


def _parts(n: int, subdivisions: int, time_steps: int) -> list[npt.NDArray[np.intp]]:
    """Return the images of each part; all steps of a sequence are in one part."""
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


class _Pass:
    """The parts of one batch, one after the other: what they change, and what they sum up."""

    def __init__(self, state: TrainState, keep: bool) -> None:
        self._state = state
        self._nodes = state.model.network.nodes
        self._order = Order.of_all(state.model.network)
        self.params: list[Params] = list(state.model.params)
        self.updates: list[dict[str, F32]] = [{} for _ in self._nodes]
        self.memory: list[dict[str, F32]] = [dict(each) for each in state.memory]
        self.losses: list[float] = []
        self.seen = state.seen
        self._keep = keep
        self.outputs: dict[int, list[F32]] = {}
        self.deltas: dict[int, list[F32]] = {}

    def run(self, x: F32, truth: F32 | None) -> None:
        """Run the forward and backward pass for some images."""
        self.seen += len(x)
        outputs, backs, losses = self._forward(x, truth)
        if not losses:
            raise TrainingError(
                "there is nothing to compute a loss from",
                expected="a truth and a layer with a loss: [softmax], [cost], [yolo] ...",
            )
        self.losses.append(sum(losses.values()) / len(losses))
        self._backward(outputs, backs, losses)

    def _forward(
        self, x: F32, truth: F32 | None
    ) -> tuple[dict[int, F32], dict[int, Back], dict[int, float]]:
        network, state = self._state.model.network, self._state
        outputs, backs, losses = {-1: x}, {}, {}

        def compute(index: int, xs: list[F32]) -> F32:
            node = self._nodes[index]
            context = TrainingContext(
                dialect=state.dialect,
                rng=np.random.default_rng([state.seed, self.seen, index]),
                net=network.input,
                truth=truth,
                seen=self.seen,
                batch=len(x),
                wants_delta=node.sources[:1] != (-1,),
                time_steps=network.time_steps,
                state=self.memory[index],
                arena=state.arena,
            )
            with located(state.model.cfg.where(index + 1)):
                done = node.layer.train(xs, self.params[index], context)
            backs[index] = done.back
            if done.loss is not None:
                losses[index] = done.loss
            if done.changes:
                self._change(node.owner, done.changes)
            return done.y

        for index in self._order.walk(outputs, compute):
            if self._keep:
                self.outputs.setdefault(index, []).append(outputs[index].copy())
        return outputs, backs, losses

    def _change(self, owner: int, changes: Mapping[str, F32]) -> None:
        """Store new values, for all layers that share them."""
        changed = {**self.params[owner], **changes}
        for index in self._order.sharing(owner):
            self.params[index] = changed

    def _backward(
        self, outputs: dict[int, F32], backs: dict[int, Back], losses: dict[int, float]
    ) -> None:
        deltas: dict[int, F32] = {}
        for index in reversed(range(len(self._nodes))):
            node = self._nodes[index]
            if node.layer.stopbackward == 1 or node.layer.stopbackward > self._state.iteration:
                return
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


def _updated(
    state: TrainState, work: _Pass, parts: Sequence[npt.NDArray[np.intp]]
) -> tuple[TrainState, TrainStep]:
    """Update all layers, and put the new state together."""
    order = np.argsort(np.concatenate(parts))
    images = len(order)
    model, nodes = state.model, state.model.network.nodes
    iteration = state.iteration + 1
    rate = learning_rate(model.network.net, iteration, state.seed)
    update = Update(model.network.net, state.dialect, iteration, rate, images)
    params, left, squares = list(work.params), list(state.updates), list(state.squares)
    applied: list[Mapping[str, F32]] = [{} for _ in nodes]
    for index, sums in enumerate(work.updates):
        if not sums:
            continue
        before = state.updates[index]
        applied[index] = {
            name: before[name] + total if name in before else total for name, total in sums.items()
        }
        done = update.apply(nodes[index].layer, params[index], applied[index], squares[index])
        for array in done.params.values():
            array.flags.writeable = False
        left[index], squares[index] = done.updates, done.squares
        params[index] = done.params
    new = replace(
        model,
        params=tuple(params[node.owner] for node in nodes),
        header=replace(model.header, seen=work.seen),
    )
    loss = sum(work.losses) / images
    step = TrainStep(
        loss, rate, _joined(work.outputs, order), _joined(work.deltas, order), tuple(applied)
    )
    if not math.isfinite(loss):
        raise TrainingError(
            "the loss is not finite",
            where=Where(section="net", key="learning_rate"),
            found=f"{loss} in iteration {iteration}",
            hint="a lower learning rate, or burn_in=, may keep training stable",
        )
    after = replace(
        state,
        model=new,
        iteration=iteration,
        updates=tuple(left),
        squares=tuple(squares),
        memory=tuple(work.memory),
    )
    return after, step


def _joined(parts: Mapping[int, list[F32]], order: npt.NDArray[np.intp]) -> dict[int, F32]:
    """Put the images of all parts into the order of the batch."""
    return {
        index: arrays[0] if len(arrays) == 1 else np.concatenate(arrays)[order]
        for index, arrays in sorted(parts.items())
    }
