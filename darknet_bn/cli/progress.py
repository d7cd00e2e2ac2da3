"""A progress bar on stderr: for long work, on a terminal, gone when the work is done."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

_DELAY = 0.5  # seconds of work before the bar appears
_PERIOD = 0.1  # seconds between two drawings
_WIDTH = 30


@contextlib.contextmanager
def bar(label: str, steps: int) -> Iterator[Callable[[], None] | None]:
    """Show how far a piece of work is.

    Parameters
    ----------
    label : str
        What is done.
    steps : int
        How many steps there are.

    Yields
    ------
    step : function or None
        To be called behind every step; None where stderr is no terminal.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    done = 0
    drawn = ""
    due = time.monotonic() + _DELAY

    def step() -> None:
        nonlocal done, drawn, due
        done += 1
        if time.monotonic() >= due:
            due = time.monotonic() + _PERIOD
            full = min(_WIDTH, _WIDTH * done // steps)
            drawn = f"{label} [{'#' * full}{'-' * (_WIDTH - full)}] {done}/{steps}"
            click.echo(f"\r{drawn}", nl=False, err=True)

    try:
        yield step
    finally:
        if drawn:
            click.echo(f"\r{' ' * len(drawn)}\r", nl=False, err=True)
