"""A progress bar on stderr: for long work, on a terminal, gone when the work is done."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

import click

from darknet_bn.cli import output
from darknet_bn.cli.terminal import is_terminal, width

_DELAY = 0.5  # seconds of work before the bar appears
_PERIOD = 0.1  # seconds between two drawings
_WIDTH = 30


class Bar:
    """A bar that can be removed while something else is printed.

    It appears after half a second, even if the first step takes longer.  Without a number of steps
    it is only a label, or with ``time_left`` a count.

    Parameters
    ----------
    label : str
    steps : int or None
    time_left : bool
        Whether it shows the time that the rest takes at the same speed.
    """

    def __init__(self, label: str, steps: int | None, *, time_left: bool = False) -> None:
        self._label = label
        self._time_left = time_left
        self._begin = time.monotonic()
        self._steps = steps
        self._done = 0
        self._drawn = ""
        self._due = time.monotonic() + _DELAY
        self._on = is_terminal(sys.stderr) and not output.is_quiet()
        self._drawing = threading.Lock()
        self._timer = threading.Timer(_DELAY, self._appear)
        self._timer.daemon = True
        if self._on and steps != 0:
            self._timer.start()

    def __bool__(self) -> bool:
        """Return whether the bar may appear: on a terminal, and not with ``--quiet``."""
        return self._on

    def step(self, count: int = 1) -> None:
        """Count a completed step, or several."""
        with self._drawing:
            self._timer.cancel()
            self._done += count
            if self._on and time.monotonic() >= self._due:
                self._due = time.monotonic() + _PERIOD
                self._draw()

    def hide(self) -> None:
        """Remove the bar until the next step."""
        with self._drawing:
            self._timer.cancel()
            if self._drawn:
                click.echo(f"\r{' ' * len(self._drawn)}\r", nl=False, err=True)
                self._drawn = ""

    def _appear(self) -> None:
        """Show that the first step is not done yet, unless it is, or the bar must not appear."""
        with self._drawing:
            if not self._timer.finished.is_set():
                self._draw()

    def _draw(self) -> None:
        line = f"{self._label} ..."
        if self._steps is not None:
            full = min(_WIDTH, _WIDTH * self._done // self._steps)
            field = f"{'#' * full}{'-' * (_WIDTH - full)}"
            line = f"{self._label} [{field}] {self._done}/{self._steps}"
        elif self._time_left and self._done:
            line = f"{self._label} ... {self._done}"
        if self._time_left and self._steps is not None and 0 < self._done <= self._steps:
            each = (time.monotonic() - self._begin) / self._done
            line += f", {_clock(each * (self._steps - self._done))} left"
        line = line[: (width(sys.stderr) or len(line) + 1) - 1]
        click.echo(f"\r{line.ljust(len(self._drawn))}", nl=False, err=True)
        self._drawn = line.ljust(len(self._drawn))


def _clock(seconds: float) -> str:
    """Return a time as a clock shows it: minutes and seconds, and hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def bar(label: str, steps: int) -> Iterator[Callable[[], None] | None]:
    """Show how far a piece of work is.

    Parameters
    ----------
    label : str
        The name of the work.
    steps : int
        The number of steps.

    Yields
    ------
    step : function or None
        To be called after each step; None if no bar may appear.
    """
    shown = Bar(label, steps)
    try:
        yield shown.step if shown else None
    finally:
        shown.hide()


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str, int | None], Callable[[], None] | None]]:
    """Show the progress of work that has several parts.

    Yields
    ------
    stage : function
        ``stage(label, steps)``, to be called when a part begins; ``steps`` is None if their number
        is unknown.  Returns what `bar` yields.
    """
    shown: list[Bar] = []

    def stage(label: str, steps: int | None) -> Callable[[], None] | None:
        for each in shown:
            each.hide()
        shown[:] = [Bar(label, steps)]
        return shown[0].step if shown[0] else None

    try:
        yield stage
    finally:
        for each in shown:
            each.hide()
