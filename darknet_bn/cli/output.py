"""How commands answer: text or JSON on stdout, errors and warnings on stderr, one line each.

A result is a ``text``.  What only accompanies it is a ``note`` or, on stderr, an ``aside``, which
``--quiet`` suppresses.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import logging
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click

import darknet_bn as dn
from darknet_bn.cli.terminal import ODD, RIGHT, WRONG, coloured, width
from darknet_bn.errors import printable as printable  # commands print with it too

if TYPE_CHECKING:
    from darknet_bn.pictures.prepare import Fit

_MOST_PROBLEMS = 20  # lines below an error or a warning
_LONG = 2.0  # seconds after which a command prints its duration


@dataclasses.dataclass
class State:
    """The state of one command line: it is the ``obj`` of its context.

    Attributes
    ----------
    quiet : bool
        Whether to print only results.
    answered : bool
        Whether the single JSON object has been printed.
    """

    quiet: bool = False
    answered: bool = False


def text(line: str, colour: str | None = None) -> None:
    """Print a result, in a colour if one is given and stdout is a terminal."""
    click.echo(coloured(line, colour, sys.stdout))


def note(line: str, colour: str | None = None) -> None:
    """Print what accompanies a result, unless ``--quiet`` was given."""
    if not is_quiet():
        text(line, colour)


def aside(line: str) -> None:
    """Print on stderr what does not belong to a table, unless ``--quiet`` was given."""
    if not is_quiet():
        click.echo(line, err=True)


def took(seconds: float, count: int, what: str) -> None:
    """Print on stderr how long some work took, and if it had several pieces, how long each took.

    If JSON was printed, it has already said so.

    Parameters
    ----------
    seconds : float
        For all pieces.
    count : int
        How many pieces there were.
    what : str
        The name of a piece, in the singular.
    """
    state = _state()
    if state is not None and state.answered:
        return
    line = f"took: {_duration(seconds)}"
    if count > 1:
        line += f", {_duration(seconds / count)} {'an' if what[0] in 'aeiou' else 'a'} {what}"
    aside(line)


def took_long(seconds: float) -> None:
    """Print on stderr how long some work took, if it was longer than anybody likes to wait."""
    if seconds > _LONG:
        took(seconds, 1, "")


def _duration(seconds: float) -> str:
    """Return a time in words, with about three digits."""
    if seconds < 1:
        return f"{1000 * seconds:#.2g} ms" if seconds < 0.0095 else f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def be_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Set the option ``--quiet``."""
    ctx.ensure_object(State).quiet = value


def is_quiet() -> bool:
    """Return whether only results are to be printed."""
    state = _state()
    return state is not None and state.quiet


def _state() -> State | None:
    """Return the state of the current command, if there is one."""
    ctx = click.get_current_context(silent=True)
    return ctx.find_object(State) if ctx is not None else None


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of an answer; a plain str is a line that only accompanies a result.

    Attributes
    ----------
    text : str
    colour : str or None
        The colour on a terminal.
    found : bool
        Whether it is a result, which is printed even with ``--quiet``.
    """

    text: str
    colour: str | None = None
    found: bool = True


Lines: TypeAlias = "list[Line | str]"


def show(facts: Mapping[str, Any], lines: Iterable[Line | str], *, as_json: bool) -> None:
    """Print the answer of a command: its facts as one JSON object, or its lines."""
    if as_json:
        print_json(facts)
        return
    for line in lines:
        if isinstance(line, str):
            note(line)
        elif line.found:
            text(line.text, line.colour)
        else:
            note(line.text, line.colour)


def report_lines(report: dn.Report) -> Iterator[Line]:
    """Yield how two models compare; with ``--quiet``, only the layers that differ."""
    heading, *rows = report.table(width(sys.stdout))
    verdict, *offenders = report.verdict()
    yield Line(heading, found=not report.ok)
    for row, each in zip(rows, report.differences, strict=True):
        yield Line(row, None if each.ok else WRONG, found=not each.ok)
    yield Line(verdict, RIGHT if report.ok else WRONG, found=not report.ok)
    for line in offenders:
        yield Line(line, found=not report.ok)


def folded(line: Line | str, indent: str = "  ") -> Iterator[Line | str]:
    """Yield a line of words in as many lines as a terminal needs; in a pipe it stays one."""
    wide = width(sys.stdout)
    text = line if isinstance(line, str) else line.text
    if wide is None or len(text) <= wide:
        yield line
        return
    for part in textwrap.wrap(text, wide, subsequent_indent=indent, break_long_words=False):
        yield part if isinstance(line, str) else dataclasses.replace(line, text=part)


def columns(line: str) -> str:
    """Return text in one line like `printable`, with its tabs unchanged."""
    return "\t".join(printable(part) for part in line.split("\t"))


def as_csv(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    r"""Yield the lines of a table, without their ends.

    Control characters in names are escaped, except ``\n`` and tabs, which a cell may have.
    """
    for row in rows:
        line = io.StringIO()
        cells = (_cell(each) if isinstance(each, str) else each for each in row)
        csv.writer(line, lineterminator="").writerow(cells)
        yield line.getvalue()


def _cell(text: str) -> str:
    return "\n".join(columns(line) for line in text.split("\n"))


def print_json(facts: Mapping[str, Any]) -> None:
    """Print facts as one JSON object."""
    from darknet_bn.values import json_text

    click.echo(json_text(facts))
    state = _state()
    if state is not None:
        state.answered = True


def json_line(facts: Mapping[str, Any]) -> str:
    """Return facts as JSON in one line."""
    from darknet_bn.values import json_line

    return json_line(facts)


def error(message: str) -> None:
    """Print on stderr in one line what is wrong."""
    click.echo(f"{coloured('error:', WRONG, sys.stderr)} {printable(message)}", err=True)


def warning(message: str) -> None:
    """Print on stderr in one line what is odd."""
    click.echo(f"{coloured('warning:', ODD, sys.stderr)} {printable(message)}", err=True)


def usage(ctx: click.Context) -> None:
    """Print on stderr how to use a command, and how to get its help."""
    click.echo(f"{ctx.get_usage()}\n{help_line(ctx)}", err=True)


def help_line(ctx: click.Context) -> str:
    """Return the command line that shows the help of a command."""
    return f"For help: {ctx.command_path} -h"


def facts(problem: dn.DarknetError) -> dict[str, Any]:
    """Return the facts about an error for JSON."""
    where = problem.where
    told = {
        "file": where.file,
        "line": where.line,
        "section": where.section,
        "layer": where.layer,
        "message": f"{where.key}: {problem.problem}" if where.key else problem.problem,
        "expected": problem.expected,
        "found": problem.found,
        "hint": problem.hint,
    }
    several = [facts(each) for each in problem.problems]
    return told | {"problems": several} if several else told


def problems(found: Sequence[dn.DarknetError]) -> None:
    """Print the places after the first, one per line; the line above has the first."""
    for each in found[1:_MOST_PROBLEMS]:
        click.echo(f"  {printable(str(each))}", err=True)
    if len(found) > _MOST_PROBLEMS:
        click.echo(f"  and {len(found) - _MOST_PROBLEMS} more; --json lists all", err=True)


def about_labels(dataset: dn.Dataset) -> dict[str, Any]:
    """Return the facts about label files for JSON."""
    return {
        "bad_labels": [facts(each) for each in dataset.left_out],
        "without_labels": list(dataset.without_labels),
    }


def dialect(model: dn.Model) -> str:
    """Say which dialect is in force, and why."""
    return f"dialect: {model.dialect.name} ({printable(model.reason)})"


def fit(model: dn.Model, way: Fit, *, given: bool, label: str = "input") -> str:
    """Say how pictures are made the input, and why."""
    words = {
        "letterbox": "letterboxed to {}",
        "stretch": "stretched to {}",
        "crop": "scaled and cropped to {}",
    }
    size = model.network.input
    reason = "given" if given else f"as {model.dialect.program} does"
    return f"{label}: {words[way].format(f'{size.w} x {size.h}')} ({reason})"


def header(model: dn.Model) -> str:
    """Say what the header of the weights contains."""
    head = model.header
    return f"header: version {head.version}, {head.size} bytes; {head.seen} images seen in training"


def about(model: dn.Model, cfg: str, weights: str | None) -> dict[str, Any]:
    """Return the facts about the model for the JSON of every command."""
    head = model.header
    return {
        "cfg": cfg,
        "weights": weights,
        "header": {"version": head.version, "bytes": head.size, "seen": head.seen}
        if weights is not None
        else None,
        "dialect": model.dialect.name,
        "reason": model.reason,
        "layers_loaded": model.loaded,
        "oddities": model.oddities,
    }


@contextlib.contextmanager
def short_warnings() -> Iterator[None]:
    """In the block, show every warning once and in one line, without the place in the code."""
    said: set[str] = set()

    def show(message: Warning | str, *args: object, **extra: object) -> None:
        if str(message) in said:
            return
        said.add(str(message))
        warning(str(message))
        if isinstance(message, dn.DataWarning):
            problems(message.problems)

    with warnings.catch_warnings():
        warnings.simplefilter("always", dn.DarknetWarning)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def log_on_stderr(state: State) -> Iterator[None]:
    """In the block, show what this package logs, such as that it compiles, unless it is quiet."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not state.quiet:  # of the command, whatever thread this is
                click.echo(record.getMessage(), err=True)

    logger, handler = logging.getLogger("darknet_bn"), Handler()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def escape_what_cannot_be_encoded() -> None:
    """Print characters and file names that the terminal cannot show as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def close_if_broken() -> None:
    """Close stdout if it cannot be flushed, so that Python does not try again when it exits."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        try:
            sys.stdout.flush()
        except OSError:
            with contextlib.suppress(OSError):
                sys.stdout.close()
