"""The line that shows how far training is: one line of a terminal, as wide as that is."""

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
_WIDTH = 80  # columns of a terminal that does not say


@contextlib.contextmanager
def status_line() -> Iterator[Callable[[dn.Progress], None]]:
    """Show how far training is; the line goes away at the end.

    Yields
    ------
    show : function
        To be called after every step.  It does nothing unless stderr is a terminal, or quietly.
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
    """Return a line about how far training is, without the fields for which there is no room.

    Parameters
    ----------
    now : Progress
    columns : int
        How many columns there are.
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
