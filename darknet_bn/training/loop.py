"""The training loop: which pictures when, at which size, and how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import TrainingError, Where
from darknet_bn.layers.base import Shape
from darknet_bn.training.sizes import training_size
from darknet_bn.training.state import TrainState
from darknet_bn.training.step import train_step
from darknet_bn.values import brief

_FORGETS = 0.1  # share of the newest loss in the running average, as Darknet prints it


class Examples(Protocol):
    """What the loop asks of a data set."""

    def __len__(self) -> int: ...  # noqa: D105

    def batch(
        self, indices: list[int], rng: np.random.Generator, *, shape: Shape
    ) -> tuple[F32, F32]:
        """Return inputs (n, c, h, w) or (n, inputs), and the truth (n, ...)."""


@dataclass(frozen=True, eq=False)
class Progress:
    """How far training is, behind a step.

    Attributes
    ----------
    state : TrainState
    iteration : int
        The number of the update; the first is 1.
    epoch : float
        How often every example has been taken, on average.
    loss, average : float
        Of an image: in this step, and running over the last steps.
    rate : float
        The learning rate.
    images_per_second : float
    seconds_left : float
    done : bool
        Whether this was the last step.
    """

    state: TrainState
    iteration: int
    epoch: float
    loss: float
    average: float
    rate: float
    images_per_second: float
    seconds_left: float
    done: bool

    def __repr__(self) -> str:
        """Return one line about it."""
        loss = f"loss {self.loss:.4g}, average {self.average:.4g}, rate {self.rate:.4g}"
        return brief(self, f"iteration {self.iteration}, epoch {self.epoch:.2f}: {loss}")


def train(
    state: TrainState,
    examples: Examples,
    *,
    iterations: int | None = None,
    epochs: float | None = None,
    average: float | None = None,
) -> Iterator[Progress]:
    """Train a model with a data set, batch by batch.

    Every example is taken once before any is taken again, in an order of its own in each epoch.
    Batches have ``batch`` of ``[net]`` examples (`Model.with_batch` gives a model another number),
    also where an epoch ends inside of one: with 1, this is stochastic gradient descent, with the
    size of the data set, that of the full batch.

    Parameters
    ----------
    state : TrainState
    examples : Examples
        A data set.  For sequences, the time steps of each lie one behind the other.
    iterations : int, optional
        Until there were so many updates, those counted that the state comes with; by default,
        ``max_batches`` of ``[net]``.
    epochs : float, optional
        Instead, until the data set has been taken so often.
    average : float, optional
        The running average of the loss to go on from.

    Yields
    ------
    Progress
        Behind every step.  What it takes to go on is in its state: training that is broken off and
        continued gives the same bits as unbroken training.

    Raises
    ------
    TrainingError
        There is no end, or it has been reached, or nothing to train with; or a loss is not finite.
    """
    net, steps = state.model.network.net, state.model.network.time_steps
    images = net.batch * steps
    if len(examples) < steps:
        raise TrainingError("there is nothing to train with", found=f"{len(examples)} examples")
    last = _last(state, len(examples), images, iterations, epochs)
    if state.iteration >= last:
        raise TrainingError(
            "training is over already",
            expected=f"fewer than {last} iterations",
            found=f"{state.iteration}, by the images that the weights have seen",
            hint="with seen=0 in the header (--clear) it begins anew",
        )
    begun, first = time.monotonic(), state.iteration
    while state.iteration < last:
        size = training_size(state.model, state.iteration, last, state.seed)
        now = state if size is None else replace(state, model=state.model.resized(*size))
        x, truth = _batch(now, examples, net.batch, steps)
        after, step = train_step(now, x, truth, keep=False)
        state = replace(
            after, model=replace(state.model, params=after.model.params, header=after.model.header)
        )
        average = step.loss if average is None else average + _FORGETS * (step.loss - average)
        each = (time.monotonic() - begun) / (state.iteration - first)
        yield Progress(
            state,
            state.iteration,
            state.iteration * images / len(examples),
            step.loss,
            average,
            step.rate,
            images / each,
            each * (last - state.iteration),
            state.iteration == last,
        )


def _last(
    state: TrainState, examples: int, images: int, iterations: int | None, epochs: float | None
) -> int:
    if epochs is not None:
        return math.ceil(epochs * examples / images)
    last = state.model.network.net.max_batches if iterations is None else iterations
    if last < 1:
        raise TrainingError(
            "nothing says when training ends",
            where=Where(section="net", key="max_batches"),
            expected="max_batches=, or a number of iterations or epochs",
        )
    return last


def _batch(state: TrainState, examples: Examples, batch: int, steps: int) -> tuple[F32, F32]:
    """Take the examples of the next iteration; all that is random follows from its number."""
    sequences = len(examples) // steps
    places = range(state.iteration * batch, (state.iteration + 1) * batch)
    orders = {
        epoch: np.random.default_rng([state.seed, epoch]).permutation(sequences)
        for epoch in {place // sequences for place in places}
    }
    chosen = [int(orders[place // sequences][place % sequences]) for place in places]
    indices = [each * steps + step for step in range(steps) for each in chosen]
    rng = np.random.default_rng([state.seed, state.iteration, batch])
    return examples.batch(indices, rng, shape=state.model.network.input)
