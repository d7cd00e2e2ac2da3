"""The options of ``darknet-bn detect`` for a video, a stream or a camera."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import click

from darknet_bn.cli import kinds
from darknet_bn.cli.options import Command

Line: TypeAlias = "tuple[float, float, float, float]"

_RETRIES = 5


@dataclass(frozen=True)
class Options:
    """What a command line says about a video.

    Attributes
    ----------
    every : int
        Of how many frames one is looked at.
    track : bool
    line : tuple of four float, or None
        In pixels or in parts of the picture.
    retries : int
    given : mapping from str to bool
        Which of the options were typed.
    """

    every: int
    track: bool
    line: Line | None
    retries: int
    given: Mapping[str, bool]


@dataclass(frozen=True)
class Answer:
    """How to answer: the file to write, the font in it, and JSON."""

    out: str | None
    force: bool
    font: str | None
    as_json: bool
    as_lines: bool


def options(command: Command) -> Command:
    """Add the options for videos; they come as ``video``."""

    @click.option(
        "--every",
        type=click.IntRange(min=1),
        metavar="N",
        help="In a video, look at one of N frames; the others are written with the boxes of the "
        "one before.  [default: 1]",
    )
    @click.option(
        "--track", is_flag=True, help="In a video, give each object a number that it keeps."
    )
    @click.option(
        "--line",
        callback=_line,
        metavar="X1,Y1,X2,Y2",
        help="Count who crosses a line in a video, by class and direction; in pixels, or if no "
        "number is above 1, in parts of width and height.  With it, objects are tracked.",
    )
    @click.option(
        "--retries",
        type=click.IntRange(min=0),
        metavar="N",
        help="How often to connect again if a stream or a camera breaks off.  "
        f"[default: {_RETRIES}]",
    )
    @functools.wraps(command)
    def wrapped(
        every: int | None,
        track: bool,
        line: Line | None,
        retries: int | None,
        **rest: Any,
    ) -> Any:
        given = {"--every": every is not None, "--track": track}
        given |= {"--line": line is not None, "--retries": retries is not None}
        tries = _RETRIES if retries is None else retries
        video = Options(every or 1, track or line is not None, line, tries, given)
        return command(video=video, **rest)

    return wrapped  # type: ignore[return-value]  # click calls it with all of them


def _line(ctx: click.Context, param: click.Parameter, value: str | None) -> Line | None:
    if value is None:
        return None
    try:
        x1, y1, x2, y2 = (float(each) for each in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is not X1,Y1,X2,Y2, such as 0,360,1280,360") from error
    if not all(0 <= each < float("inf") for each in (x1, y1, x2, y2)) or (x1, y1) == (x2, y2):
        raise click.BadParameter(f"'{value}' is not a line between two points of the picture")
    return x1, y1, x2, y2


def is_video(words: Sequence[str]) -> bool:
    """Return whether the words name a video, a stream or a camera.

    Raises
    ------
    click.UsageError
        They name more than that.
    """
    found = [each for each in words if kinds.is_moving(each)]
    if found and len(words) > 1:
        raise click.UsageError(f"a video is looked at alone: {found[0]}")
    return bool(found)


def require_unused(given: Mapping[str, object], why: str) -> None:
    """Refuse options that have no meaning here."""
    for name, value in given.items():
        if value:
            raise click.UsageError(f"{name} is {why}")
