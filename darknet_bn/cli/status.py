"""The line that shows the progress of training: one line, as wide as the terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

import darknet_bn as dn
from darknet_bn.cli import output
from darknet_bn.cli.terminal import is_terminal, width

_PERIOD = 0.2  # seconds between two drawings
_WIDTH = 80  # columns of a terminal that does not report its width


@contextlib.contextmanager
def status_line() -> Iterator[Callable[[dn.Progress], None]]:
    """Show the progress of training; the line disappears at the end.

    Yields
    ------
    show : function
        To be called after each step.  It does nothing without a terminal on stderr, or with
        ``--quiet``.
    """
    shown, due_at = "", 0.0
    on = is_terminal(sys.stderr) and not output.is_quiet()
    columns = (width(sys.stderr) or _WIDTH) - 1  # the last column would begin a new line

    def show(now: dn.Progress) -> None:
        nonlocal shown, due_at
        if on and (time.monotonic() >= due_at or now.done):
            due_at = time.monotonic() + _PERIOD
            text = progress_text(now, columns)
            click.echo(f"\r{text:<{min(len(shown), columns)}}", nl=False, err=True)
            shown = text

    try:
        yield show
    finally:
        if shown:
            click.echo(f"\r{' ' * len(shown)}\r", nl=False, err=True)


def progress_text(now: dn.Progress, columns: int) -> str:
    """Return a line about the progress of training, without the fields that do not fit.

    Parameters
    ----------
    now : Progress
    columns : int
        The number of columns.
    """
    left = round(now.seconds_left)
    fields = {  # in the order in which they are shown
        "loss": f"loss {now.loss:.4f}",
        "average": f"average {now.average:.4f}",
        "rate": f"rate {now.rate:.3g}",
        "speed": f"{now.images_per_second:.1f} images/s",
        "epoch": f"epoch {now.epoch:.2f}",
        "left": f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left",
    }
    start = f"{now.iteration}: "
    for name in ("rate", "epoch", "speed", "loss", "left", "average"):
        if len(start) + len(", ".join(fields.values())) <= columns:
            break
        del fields[name]
    return (start + ", ".join(fields.values())).rstrip(": ")
