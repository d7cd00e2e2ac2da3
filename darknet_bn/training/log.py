"""The log of a training: a line of comma-separated values for each iteration."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from darknet_bn.errors import DarknetError, Where, reason_of
from darknet_bn.training.loop import Progress

COLUMNS = ("iteration", "epoch", "loss", "average", "rate", "images_per_second")


class Log:
    """What a training has logged so far.

    Attributes
    ----------
    iterations, losses, averages : list
        The values of every iteration, including those that were already in the file.
    """

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream
        self._writer = csv.writer(stream, lineterminator="\n")
        self.iterations: list[int] = []
        self.losses: list[float] = []
        self.averages: list[float] = []

    def add(self, progress: Progress) -> None:
        """Write a line."""
        self._writer.writerow(
            (
                progress.iteration,
                f"{progress.epoch:.4f}",
                f"{progress.loss:.6g}",
                f"{progress.average:.6g}",
                f"{progress.rate:.6g}",
                f"{progress.images_per_second:.1f}",
            )
        )
        self._stream.flush()
        self._remember(progress.iteration, progress.loss, progress.average)

    def read(self, before: int) -> None:
        """Read the rows up to an iteration from the file, and drop the rest."""
        self._stream.seek(0)
        rows = [row for row in csv.reader(self._stream) if row and row[0].isdigit()]
        kept = [row for row in rows if int(row[0]) <= before and len(row) == len(COLUMNS)]
        for row in kept:
            self._remember(int(row[0]), float(row[2]), float(row[3]))
        self._stream.seek(0)
        self._stream.truncate()
        self._writer.writerow(COLUMNS)
        self._writer.writerows(kept)
        self._stream.flush()

    def _remember(self, iteration: int, loss: float, average: float) -> None:
        self.iterations.append(iteration)
        self.losses.append(loss)
        self.averages.append(average)


@contextmanager
def open_log(path: str | os.PathLike[str], iteration: int) -> Iterator[Log]:
    """Open the log of a training that has reached an iteration; 0 begins a new one.

    Raises
    ------
    DarknetError
        It cannot be written, or is not a log.
    """
    where = Where(file=os.fspath(path))
    try:
        mode = "r+" if iteration and os.path.isfile(path) else "w+"
        with open(path, mode, encoding="utf-8", newline="") as stream:
            log = Log(stream)
            log.read(iteration)
            yield log
    except OSError as error:
        raise DarknetError(f"cannot be written: {reason_of(error)}", where=where) from error
    except (ValueError, csv.Error) as error:
        raise DarknetError(f"this is not a training log: {error}", where=where) from error
