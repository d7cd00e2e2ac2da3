"""What a terminal can show: the width of its lines, and whether it has colours."""

from __future__ import annotations

import os
import shutil
from typing import TextIO

import click

WRONG, ODD, RIGHT = "red", "yellow", "green"


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is shown to somebody; a program without streams has None."""
    return stream is not None and stream.isatty()


def width(stream: TextIO | None) -> int | None:
    """Return how many characters fit a line; None if it is not a terminal: any number fits."""
    return shutil.get_terminal_size().columns if is_terminal(stream) else None


def coloured(line: str, colour: str | None, stream: TextIO | None) -> str:
    """Return text in a colour, if the stream shows it and ``NO_COLOR`` does not forbid it.

    Notes
    -----
    The variable counts if it is not empty, as defined at https://no-color.org.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if colour is None or plain or not is_terminal(stream):
        return line
    return click.style(line, fg=colour)
