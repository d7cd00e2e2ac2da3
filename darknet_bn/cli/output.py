"""How commands answer: text or JSON on stdout, one line each for errors and warnings on stderr.

What was found is a ``text``.  What only accompanies it is a ``note`` or, on stderr, an ``aside``,
and stays away with ``--quiet``.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import click

import darknet_bn as dn
from darknet_bn.cli.terminal import ODD, RIGHT, WRONG, coloured, width
from darknet_bn.errors import printable as printable  # commands print with it too

if TYPE_CHECKING:
    from darknet_bn.pictures.prepare import Fit

_MOST_PROBLEMS = 20  # lines under an error or a warning
_LONG = 2.0  # seconds after which a command says how long it took


@dataclasses.dataclass
class State:
    """What is so for one command line: it is the ``obj`` of its context.

    Attributes
    ----------
    quiet : bool
        Whether only what was found is to be said.
    answered : bool
        Whether the one JSON object has been printed.
    """

    quiet: bool = False
    answered: bool = False


def text(line: str, colour: str | None = None) -> None:
    """Print a result; on a terminal in a colour, if one is given."""
    click.echo(coloured(line, colour, sys.stdout))


def note(line: str, colour: str | None = None) -> None:
    """Print what accompanies a result, unless ``--quiet`` was given."""
    if not is_quiet():
        text(line, colour)


def aside(line: str) -> None:
    """Print on stderr what belongs to no table, unless ``--quiet`` was given."""
    if not is_quiet():
        click.echo(line, err=True)


def took(seconds: float, count: int, what: str) -> None:
    """Say on stderr how long some work took, and if it had several pieces, how long each.

    JSON has said so itself, if that was printed.

    Parameters
    ----------
    seconds : float
        For all pieces.
    count : int
        How many there were.
    what : str
        What a piece is called, in the singular.
    """
    state = _state()
    if state is not None and state.answered:
        return
    line = f"took: {_duration(seconds)}"
    if count > 1:
        line += f", {_duration(seconds / count)} {'an' if what[0] in 'aeiou' else 'a'} {what}"
    aside(line)


def took_long(seconds: float) -> None:
    """Say on stderr how long some work took, if it was longer than anybody likes to wait."""
    if seconds > _LONG:
        took(seconds, 1, "")


def _duration(seconds: float) -> str:
    """Return a time in words, with three digits or so."""
    if seconds < 1:
        return f"{1000 * seconds:#.2g} ms" if seconds < 0.0095 else f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def be_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Take the option ``--quiet``."""
    ctx.ensure_object(State).quiet = value


def is_quiet() -> bool:
    """Tell whether only what was found is to be said."""
    state = _state()
    return state is not None and state.quiet


def _state() -> State | None:
    """Return the state of the command that runs, if one does."""
    ctx = click.get_current_context(silent=True)
    return ctx.find_object(State) if ctx is not None else None


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of an answer; a plain str stands for one that only accompanies a result.

    Attributes
    ----------
    text : str
    colour : str or None
        On a terminal.
    found : bool
        Whether it is a result, which is printed quietly too.
    """

    text: str
    colour: str | None = None
    found: bool = True


Lines: TypeAlias = "list[Line | str]"


def show(facts: Mapping[str, Any], lines: Iterable[Line | str], *, as_json: bool) -> None:
    """Print what a command answers: its facts as one JSON object, or its lines."""
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
    """Yield how two models compare; quietly, only the layers that differ."""
    heading, *rows = report.table(width(sys.stdout))
    verdict, *offenders = report.verdict()
    yield Line(heading, found=not report.ok)
    for row, each in zip(rows, report.differences, strict=True):
        yield Line(row, None if each.ok else WRONG, found=not each.ok)
    yield Line(verdict, RIGHT if report.ok else WRONG, found=not report.ok)
    for line in offenders:
        yield Line(line, found=not report.ok)


def columns(line: str) -> str:
    """Return text in one line as `printable`, with its tabs as they are."""
    return "\t".join(printable(part) for part in line.split("\t"))


def as_csv(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    r"""Yield the lines of a table, without their ends.

    Control characters in names are escaped, but for ``\n`` and tabs, which a cell may have.
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


def error(message: str) -> None:
    """Say in one line on stderr what is wrong."""
    click.echo(f"{coloured('error:', WRONG, sys.stderr)} {printable(message)}", err=True)


def warning(message: str) -> None:
    """Say in one line on stderr what is odd."""
    click.echo(f"{coloured('warning:', ODD, sys.stderr)} {printable(message)}", err=True)


def usage(ctx: click.Context) -> None:
    """Say on stderr how a command is used, and where more is said."""
    click.echo(f"{ctx.get_usage()}\n{help_line(ctx)}", err=True)


def help_line(ctx: click.Context) -> str:
    """Return the command line that shows the help of a command."""
    return f"For help: {ctx.command_path} -h"


def facts(problem: dn.DarknetError) -> dict[str, Any]:
    """Return what JSON tells about an error."""
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
    """Name on stderr, one a line, the places after the first, which stands in the line above."""
    for each in found[1:_MOST_PROBLEMS]:
        click.echo(f"  {printable(str(each))}", err=True)
    if len(found) > _MOST_PROBLEMS:
        click.echo(f"  and {len(found) - _MOST_PROBLEMS} more; --json names all", err=True)


def about_labels(dataset: dn.Dataset) -> dict[str, Any]:
    """Return what the JSON of a command tells about label files."""
    return {
        "bad_labels": [facts(each) for each in dataset.left_out],
        "without_labels": list(dataset.without_labels),
    }


def dialect(model: dn.Model) -> str:
    """Tell which dialect is in force, and why."""
    return f"dialect: {model.dialect.name} ({printable(model.reason)})"


def fit(model: dn.Model, way: Fit, *, given: bool, label: str = "input") -> str:
    """Tell how pictures are made the input, and why."""
    words = {
        "letterbox": "letterboxed to {}",
        "stretch": "stretched to {}",
        "crop": "scaled and cropped to {}",
    }
    size = model.network.input
    reason = "given" if given else f"as {model.dialect.program} does"
    return f"{label}: {words[way].format(f'{size.w} x {size.h}')} ({reason})"


def header(model: dn.Model) -> str:
    """Tell what the header of the weights says."""
    head = model.header
    return f"header: version {head.version}, {head.size} bytes; {head.seen} images seen in training"


def about(model: dn.Model, cfg: str, weights: str | None) -> dict[str, Any]:
    """Return what the JSON of every command tells about the model."""
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
    """Within, show every warning once and in one line, without the place in the code."""
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


def escape_what_cannot_be_encoded() -> None:
    """Print file names and characters that the terminal has no way to show as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def close_if_broken() -> None:
    """Close stdout if what it holds cannot be written, so that Python does not try at its end."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        try:
            sys.stdout.flush()
        except OSError:
            with contextlib.suppress(OSError):
                sys.stdout.close()
