"""A training from the command line: what it writes, when, and what it reports."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import darknet_bn as dn
from darknet_bn.cli import options, output
from darknet_bn.cli.status import status_line
from darknet_bn.cli.targets import make_folder
from darknet_bn.data.base import many
from darknet_bn.formats.writing import is_same_file, require_possible, write_files
from darknet_bn.optional import load_extra
from darknet_bn.training.chart import loss_chart
from darknet_bn.training.checkpoint import due, final, next_state_path, state_path, stopped
from darknet_bn.training.log import Log, open_log
from darknet_bn.training.loop import Hook, train
from darknet_bn.training.step import Step
from darknet_bn.training.tensorboard import open_tensorboard

_LONGEST = "_10000000.weights"  # the longest suffix of a checkpoint's name


class TrainingRun:
    """A training, and the files that it writes.

    Parameters
    ----------
    base : str
        The beginning of all file names.
    model : Model
    weights : str or None
        The weights that it starts with.
    force : bool
        Whether to overwrite weights of other runs, and the weights that it starts with.
    tensorboard : bool
        Whether to write event files too.

    Attributes
    ----------
    target : str
        The weights at the end.
    interrupted : str
        The weights of an interrupted run.
    iteration : int
        The number of the last update.
    loss : float
        The running average of the loss.
    """

    def __init__(
        self, base: str, model: dn.Model, weights: str | None, *, force: bool, tensorboard: bool
    ) -> None:
        self._base, self._start, self._force = base, weights, force
        self._detects = model.network.is_detector
        self.target = base + final(model, detects=self._detects)
        self.interrupted = base + stopped(model)
        self.iteration, self.loss = 0, float("nan")
        self._weights: list[str] = []
        self._others = {"log": f"{base}_log.csv", "chart": f"{base}_chart.svg"}
        self._events = f"{base}_tensorboard" if tensorboard else None

    def require_free(self, inputs: Iterable[str], *, begins: bool) -> None:
        """Make the folder, and check that nothing will be lost.

        Parameters
        ----------
        inputs : iterable of str
            The files that were read.
        begins : bool
            Whether no iteration is done yet, so that an existing log and chart belong to another
            run.

        Raises
        ------
        DarknetError
            The folder cannot be made, or this run would overwrite an input or another run.
        """
        make_folder(Path(self._base).parent)
        for weights in (self.interrupted, self._base + _LONGEST):
            require_possible(next_state_path(weights))
        others = self._others.values() if begins else ()
        left = os.path.lexists(self.interrupted) and not self._is_start(self.interrupted)
        if left and not self._force:
            raise dn.DarknetError(
                "these weights belong to another run",
                where=dn.Where(file=self.interrupted),
                hint="give them as WEIGHTS to resume it, or use --force to overwrite them",
            )
        options.require_free([self.target, *others], force=self._force, inputs=inputs)
        if self._events is not None:
            load_extra("tensorboardX")
            if begins and not self._force and os.path.lexists(self._events):
                raise dn.DarknetError(
                    "these event files belong to another run",
                    where=dn.Where(file=self._events),
                    hint="--force adds to them",
                )

    def _is_start(self, weights: str) -> bool:
        return self._start is not None and is_same_file(weights, self._start)

    def train(
        self,
        state: dn.TrainState,
        examples: dn.Dataset,
        iterations: int | None,
        epochs: float | None,
        step: Step,
        workers: int,
    ) -> dn.TrainState:
        """Train to the end, and save on the way; save too if training is interrupted."""
        first, place = state.iteration, self.interrupted
        with ExitStack() as opened:
            log = opened.enter_context(open_log(self._others["log"], first))
            hooks: list[Hook] = [log.add]
            if self._events is not None:
                hooks.append(opened.enter_context(open_tensorboard(self._events, first)))

            def on_step(now: dn.Progress) -> None:
                for hook in hooks:
                    hook(now)

            before = log.averages[-1] if log.averages else None
            try:
                with status_line() as show:
                    for now in train(
                        state,
                        examples,
                        iterations=iterations,
                        epochs=epochs,
                        average=before,
                        step=step,
                        workers=workers,
                        on_step=on_step,
                    ):
                        ended = int(now.epoch) if int(now.epoch) > _epoch(state, examples) else None
                        state, self.iteration, self.loss = now.state, now.iteration, now.average
                        show(now)
                        for name in due(now.iteration, ended, state.model, detects=self._detects):
                            self._save(state, self._base + name, log)
                place = self.target
                self._save(state, place, log)
            except (KeyboardInterrupt, dn.TrainingError):
                if state.iteration > first:
                    self._save(state, place, log)  # once more, if the last save was interrupted
                raise
        return state

    def _save(self, state: dn.TrainState, weights: str, log: Log) -> None:
        if self._is_start(weights) and weights != self.interrupted and not self._force:
            output.warning(
                f"{weights}: this checkpoint is the input of the run and is not overwritten"
            )
            return
        dn.save_checkpoint(state, weights, force=True)  # checked before the run began
        if weights not in self._weights:
            self._weights.append(weights)
        chart = loss_chart(Path(self._base).name, log.iterations, log.losses, log.averages)
        place = Path(self._others["chart"])
        write_files({place: lambda stream: stream.write(chart.encode())}, force=True)

    def written(self) -> dict[str, Any]:
        """Return every file that was written."""
        checkpoints = [each for each in self._weights if each != self.target]
        final = {"weights": self.target} if self.target in self._weights else {}
        states = [state_path(each) for each in self._weights]
        others = self._others | {"tensorboard": self._events}
        return final | others | {"checkpoints": checkpoints, "states": states}

    def written_line(self) -> str:
        """Return a line about every file that was written."""
        files = self.written()
        kinds = ("weights", "tensorboard", "log", "chart")
        names = [files[kind] for kind in kinds if files.get(kind) is not None]
        count = len(files["checkpoints"])
        if count == 1:
            names[-2:-2] = files["checkpoints"]
        elif count:
            folder = os.path.join(os.path.dirname(self._base) or ".", "")
            names.append(f"{many(count, 'checkpoint')} in {folder}")
        listed = ", ".join(output.printable(each) for each in names)
        return f"written: {listed}; each weights file has its .state"

    def stopped_line(self, resume: str) -> str:
        """Return a line about a run that was interrupted, with the command that resumes it."""
        if not self._weights:
            return "stopped before the first iteration; no weights were written"
        if self.target in self._weights:
            return f"stopped after the last iteration; {output.printable(self.target)} is complete"
        return f"stopped after iteration {self.iteration}; resume with: {resume}"

    def tell_written(self) -> None:
        """Print on stderr what was written before the run ended early."""
        if self._weights:
            output.aside(self.written_line())


def _epoch(state: dn.TrainState, examples: dn.Dataset) -> int:
    """Return how many epochs are complete."""
    images = state.model.network.net.batch * state.model.network.time_steps
    return state.iteration * images // len(examples)
