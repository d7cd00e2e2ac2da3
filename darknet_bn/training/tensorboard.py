"""The log of a training for TensorBoard: event files with a number for each iteration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from darknet_bn.errors import DarknetError, Where, reason_of
from darknet_bn.optional import load_extra
from darknet_bn.training.loop import Hook, Progress

SCALARS = ("epoch", "loss", "average", "rate", "images_per_second")
"""What is logged of each iteration, under these names: the columns of the log in CSV."""


@contextmanager
def open_tensorboard(folder: str | os.PathLike[str], iteration: int) -> Iterator[Hook]:
    """Open the event files of a training that has reached an iteration.

    Parameters
    ----------
    folder : path
        It gets a new file; TensorBoard ignores what older ones say of later iterations.
    iteration : int

    Yields
    ------
    add : function
        Logs a step, as ``on_step`` of `darknet_bn.train`.

    Raises
    ------
    DarknetError
        The package tensorboardx is not installed, or a file cannot be written.
    """
    library = load_extra("tensorboardX")
    try:
        # The name of a file has the second in which it was made; a resumed run may be as quick.
        writer = library.SummaryWriter(
            os.fspath(folder), purge_step=iteration + 1, filename_suffix=f".{iteration}"
        )
        try:

            def add(progress: Progress) -> None:
                for name in SCALARS:
                    writer.add_scalar(name, getattr(progress, name), progress.iteration)

            yield add
        finally:
            writer.close()
    except OSError as error:
        problem = f"cannot be written: {reason_of(error)}"
        raise DarknetError(problem, where=Where(file=os.fspath(folder))) from error
