"""The training loop: which pictures to take when, at which size, and how far training is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import TrainingError
from darknet_bn.layers.shape import Shape
from darknet_bn.training.ahead import made_ahead
from darknet_bn.training.sizes import training_size
from darknet_bn.training.state import TrainState
from darknet_bn.training.step import SharedStep, Step, train_step
from darknet_bn.values import brief

_FORGETS = 0.1  # share of the newest loss in the running average, as Darknet prints it


class Examples(Protocol):
    """What the loop needs from a data set."""

    def __len__(self) -> int: ...  # noqa: D105

    def batch(
        self, indices: list[int], rng: np.random.Generator, *, shape: Shape
    ) -> tuple[F32, F32]:
        """Return inputs (n, c, h, w) or (n, inputs), and the truth (n, ...)."""


@runtime_checkable
class Divisible(Protocol):
    """A data set that also prepares some of the examples of a batch only."""

    def part_of_batch(
        self,
        indices: list[int],
        rng: np.random.Generator,
        places: Sequence[int],
        *,
        shape: Shape,
    ) -> tuple[F32, F32]:
        """Return a batch in which only some places are filled, as `Examples.batch` fills them."""


@dataclass(frozen=True, eq=False)
class Progress:
    """How far training is, after a step.

    Attributes
    ----------
    state : TrainState
    iteration : int
        The number of the update; the first is 1.
    epoch : float
        How often every example has been used, on average.
    loss, average : float
        The loss per image: in this step, and as a running average over the last steps.
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


Hook: TypeAlias = "Callable[[Progress], object]"
"""What may be called after each step, such as a log."""


def train(
    state: TrainState,
    examples: Examples,
    *,
    iterations: int | None = None,
    epochs: float | None = None,
    average: float | None = None,
    step: Step = train_step,
    workers: int = 0,
    on_step: Hook | None = None,
) -> Iterator[Progress]:
    """Train a model with a data set, batch by batch.

    `darknet_bn.train` does this with the step of the engine that it is given.

    Parameters
    ----------
    state, examples, iterations, epochs, average, workers, on_step
        As of `darknet_bn.train`.
    step : Step
        What makes a step of a batch; by default our own `train_step`.
        A `SharedStep` also says which examples of a batch it uses; others are not prepared.

    Yields
    ------
    Progress
        After every step.  Its state holds all that is needed to resume: training that is
        interrupted and continued gives the same bits as uninterrupted training.

    Raises
    ------
    TrainingError
        There is no end, or it has been reached, or there is nothing to train with; or a loss is not
        finite.
    """
    net, steps = state.model.network.net, state.model.network.time_steps
    images = net.batch * steps
    last = last_iteration(state, len(examples), iterations=iterations, epochs=epochs)
    begun, first = time.monotonic(), state.iteration
    model, seed = state.model, state.seed
    own = step.places(model.network, images) if isinstance(step, SharedStep) else None

    def prepare(iteration: int) -> tuple[tuple[int, int] | None, F32, F32]:
        size = training_size(model, iteration, last, seed)
        shape = (model if size is None else model.resized(*size)).network.input
        return size, *_batch(iteration, seed, examples, net.batch, steps, shape, own)

    for size, x, truth in made_ahead(prepare, range(first, last), workers):
        now = state if size is None else replace(state, model=state.model.resized(*size))
        after, done = step(now, x, truth, keep=False)
        state = replace(
            after, model=replace(state.model, params=after.model.params, header=after.model.header)
        )
        average = done.loss if average is None else average + _FORGETS * (done.loss - average)
        each = (time.monotonic() - begun) / (state.iteration - first)
        progress = Progress(
            state,
            state.iteration,
            state.iteration * images / len(examples),
            done.loss,
            average,
            done.rate,
            images / each,
            each * (last - state.iteration),
            state.iteration == last,
        )
        if on_step is not None:
            on_step(progress)
        yield progress


def last_iteration(
    state: TrainState,
    examples: int,
    *,
    iterations: int | None = None,
    epochs: float | None = None,
) -> int:
    """Return the number of the last update of a training that is about to start.

    Parameters
    ----------
    state : TrainState
    examples : int
        The number of examples in the data set.
    iterations, epochs : int, float, optional
        As in `train`.

    Raises
    ------
    TrainingError
        There is no end, or it has been reached, or there is nothing to train with.
    """
    net, steps = state.model.network.net, state.model.network.time_steps
    images = net.batch * steps
    if examples < steps:
        raise TrainingError("there is nothing to train on", found=f"{examples} examples")
    option = state.model.cfg.where(0, "max_batches")
    if epochs is not None:
        last = math.ceil(epochs * examples / images)
    else:
        last = net.max_batches if iterations is None else iterations
    if last < 1:
        raise TrainingError(
            "the end of training is not specified",
            where=option,
            expected="max_batches=N in [net], or --iterations N, or --epochs N",
        )
    if state.iteration < last:
        return last
    done = f"{state.iteration} iterations ({state.seen} images seen, {images} an iteration)"
    if epochs is not None:
        end, more = f"{epochs:g} epochs are {last} iterations", "--epochs N with a larger N"
    else:
        end = f"max_batches={last}" if iterations is None else f"--iterations is {last}"
        more = f"--iterations N with N above {state.iteration}"
    raise TrainingError(
        f"training is already finished: the weights have had {done}, and {end}",
        where=option if iterations is None and epochs is None else None,
        hint=f"{more} continues, --clear starts the count at 0 again",
    )


def _batch(
    iteration: int,
    seed: int,
    examples: Examples,
    batch: int,
    steps: int,
    shape: Shape,
    own: Sequence[int] | None = None,
) -> tuple[F32, F32]:
    """Take the examples of the next iteration; everything random follows from its number."""
    sequences = len(examples) // steps
    places = range(iteration * batch, (iteration + 1) * batch)
    orders = {
        epoch: np.random.default_rng([seed, epoch]).permutation(sequences)
        for epoch in {place // sequences for place in places}
    }
    chosen = [int(orders[place // sequences][place % sequences]) for place in places]
    indices = [each * steps + step for step in range(steps) for each in chosen]
    rng = np.random.default_rng([seed, iteration, batch])
    if own is not None and isinstance(examples, Divisible):
        return examples.part_of_batch(indices, rng, own, shape=shape)
    return examples.batch(indices, rng, shape=shape)
