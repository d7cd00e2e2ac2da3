"""Training on the engine of one's choice."""

from __future__ import annotations

from collections.abc import Iterator

from darknet_bn.engines.torch_processes import process_count
from darknet_bn.errors import DarknetError
from darknet_bn.training.loop import Examples, Hook, Progress
from darknet_bn.training.loop import train as train_with
from darknet_bn.training.state import TrainState
from darknet_bn.training.step import Step, train_step

ENGINES = ("numpy", "torch")
"""What can train."""


def train(
    state: TrainState,
    examples: Examples,
    *,
    iterations: int | None = None,
    epochs: float | None = None,
    average: float | None = None,
    engine: str = "numpy",
    device: str | None = None,
    workers: int = 0,
    sync_batch_norm: bool = False,
    on_step: Hook | None = None,
) -> Iterator[Progress]:
    """Train a model with a data set, batch by batch.

    Every example is used once before any is used again, in a new order in each epoch.  The number
    of examples in a batch is ``batch`` of ``[net]`` (`Model.with_batch` changes it), even if an
    epoch ends inside a batch.  With a batch of 1, this is stochastic gradient descent; with a batch
    as large as the data set, full-batch gradient descent.

    Parameters
    ----------
    state : TrainState
    examples : Dataset
        A data set.  For sequences, the time steps of each example follow one another.
    iterations : int, optional
        Stop after this many updates, including those that the state has already made; by default
        ``max_batches`` of ``[net]``.
    epochs : float, optional
        Stop after this many passes through the data set, instead of ``iterations``.
    average : float, optional
        The running average of the loss to resume from.
    engine : str
        What runs the net: ``numpy``, which is our own code, or ``torch``.
    device : str, optional
        With ``torch``: where it runs, as PyTorch calls it (``cuda:0``); by default ``cpu``.
    workers : int
        How many threads prepare the next batches, one each, while a step runs.  Their number
        changes no bit.
    sync_batch_norm : bool
        With ``torch`` in several processes, started by torchrun: whether batch norm has the
        statistics of all of them; if not, each process has its own, like subdivisions of a batch.
    on_step : function, optional
        Called with the `Progress` after each step, before it is handed out: the place for a log.

    Returns
    -------
    steps : iterator of Progress
        After every step.  Its state holds all that is needed to resume: training that is
        interrupted and continued gives the same bits as uninterrupted training.

    Raises
    ------
    DarknetError
        There is no such engine or device.
    TrainingError
        There is no end, or it has been reached, or there is nothing to train with; a layer cannot
        be trained; or a loss is not finite.
    """
    return train_with(
        state,
        examples,
        iterations=iterations,
        epochs=epochs,
        average=average,
        step=step_of(engine, device, sync_batch_norm=sync_batch_norm),
        workers=workers,
        on_step=on_step,
    )


def step_of(engine: str, device: str | None = None, *, sync_batch_norm: bool = False) -> Step:
    """Return what makes the steps of a training; the parameters are those of `train`.

    Raises
    ------
    DarknetError
        There is no such engine or device, or its package is not installed.
    """
    if engine == "torch":
        from darknet_bn.engines.torch_training import TorchStep

        return TorchStep(device or "cpu", sync_batch_norm=sync_batch_norm)
    if engine != "numpy":
        raise DarknetError(
            "there is no such engine for training", expected=" or ".join(ENGINES), found=engine
        )
    if process_count() > 1:
        raise DarknetError(
            "our own engine trains in one process",
            found=f"{process_count()} of torchrun",
            hint="engine torch trains in several",
        )
    if device is not None:
        raise DarknetError(
            "our own engine has no devices", found=device, hint="engine torch runs on any"
        )
    return train_step
