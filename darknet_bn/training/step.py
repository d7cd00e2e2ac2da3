"""One step of training: forward, backward, update.  C: ``train_network`` in ``src/network.c``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, TrainingError, Where
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network
from darknet_bn.run.run import as_input
from darknet_bn.training.batch_pass import BatchPass, parts_of
from darknet_bn.training.policy import learning_rate
from darknet_bn.training.state import TrainState
from darknet_bn.training.update import Update
from darknet_bn.values import brief, counted
from darknet_bn.work.threads import workers


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


class Step(Protocol):
    """What the loop needs of an engine: a step as `train_step` makes it."""

    def __call__(
        self, state: TrainState, x: F32, truth: F32, *, keep: bool
    ) -> tuple[TrainState, TrainStep]:
        """Train a model with one batch, and return the new state and what the step did."""


@runtime_checkable
class SharedStep(Protocol):
    """A step that several processes make together."""

    def places(self, network: Network, images: int) -> Sequence[int] | None:
        """Return which images of a batch this process uses; None for all of them."""


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
    images, given = batch_of(state.model, x, truth)
    parts = parts_of(len(images), network.net.subdivisions, network.time_steps)
    work = BatchPass(state, keep)
    with workers().hold_blas(), np.errstate(all="ignore"):
        for part in parts:
            some = part if len(parts) > 1 else slice(None)  # the whole batch is not copied
            work.run({-1: images[some]}, None if given is None else given[some], len(part))
        return _updated(state, work, parts)


def batch_of(model: Model, x: npt.ArrayLike, truth: npt.ArrayLike | None) -> tuple[F32, F32 | None]:
    """Return a batch and its truth as arrays that fit each other and the model.

    Raises
    ------
    ShapeError
        They do not.
    """
    images = as_input(model.network, x)
    given = None if truth is None else np.asarray(truth, np.float32)
    if given is not None and len(given) != len(images):
        raise ShapeError(
            "the truth does not belong to this batch",
            expected=f"{len(images)} rows",
            found=f"{len(given)}",
        )
    return images, given


def _updated(
    state: TrainState, work: BatchPass, parts: Sequence[npt.NDArray[np.intp]]
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
    step = TrainStep(
        sum(work.losses) / images,
        rate,
        _joined(work.outputs, order),
        _joined(work.deltas, order),
        tuple(applied),
    )
    require_finite(step.loss, iteration)
    after = replace(
        state,
        model=trained(model, params, work.seen),
        iteration=iteration,
        updates=tuple(left),
        squares=tuple(squares),
        memory=tuple(work.memory),
    )
    return after, step


def trained(model: Model, params: Sequence[Params], seen: int) -> Model:
    """Return a model with new parameters, of which each layer has its owner's."""
    return replace(
        model,
        params=tuple(params[node.owner] for node in model.network.nodes),
        header=replace(model.header, seen=seen),
    )


def require_finite(loss: float, iteration: int) -> None:
    """Refuse a loss that is not a finite number.

    Raises
    ------
    TrainingError
    """
    if not math.isfinite(loss):
        raise TrainingError(
            "the loss is not finite",
            where=Where(section="net", key="learning_rate"),
            found=f"{loss} in iteration {iteration}",
            hint="a lower learning rate, or burn_in=, may keep training stable",
        )


def _joined(parts: Mapping[int, list[F32]], order: npt.NDArray[np.intp]) -> dict[int, F32]:
    """Put the images of all parts into the order of the batch."""
    return {
        index: arrays[0] if len(arrays) == 1 else np.concatenate(arrays)[order]
        for index, arrays in sorted(parts.items())
    }
