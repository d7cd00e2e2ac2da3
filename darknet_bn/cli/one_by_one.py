"""Work on pictures one after the other, and report how it ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import click

import darknet_bn as dn
from darknet_bn.cli import arguments, kinds, output, progress, signals
from darknet_bn.cli.failures import FINDING, TROUBLE, out_of_memory
from darknet_bn.cli.pictures import FoundPictures, PictureStream, Problem
from darknet_bn.cli.terminal import is_terminal
from darknet_bn.errors import located


@dataclass(frozen=True)
class Failure:
    """A picture that could not be used, and why."""

    file: str
    problem: dn.DarknetError

    @property
    def facts(self) -> dict[str, Any]:
        """The facts for JSON: the same as for any error, and always which picture."""
        facts = output.facts(self.problem)
        if facts["file"] is None:
            facts["file"] = self.file
        elif facts["file"] != self.file:  # a list, or a file that could not be written
            facts |= {"file": self.file, "message": f"{facts['file']}: {facts['message']}"}
        return facts


@dataclass(frozen=True)
class Outcome:
    """How the work on pictures ended.

    Attributes
    ----------
    done, failed : int
        How many pictures were used, and how many could not be.
    count : int or None
        How many were found; None if they were found on the way.
    failures : list of Failure
        Those that nobody was told of at once.
    seconds : float
        The duration.
    next : str
        The picture that was being processed at the end.
    interrupt : KeyboardInterrupt or None
        The exception of Ctrl-C or SIGTERM; None if the work was completed.
    """

    done: int
    failed: int
    count: int | None
    failures: list[Failure]
    seconds: float
    next: str
    interrupt: KeyboardInterrupt | None

    @property
    def facts(self) -> dict[str, Any]:
        """The facts for JSON."""
        return {
            "failed": [failure.facts for failure in self.failures],
            "interrupted": self.interrupt is not None,
            "seconds": self.seconds,
        }

    def tell(self) -> None:
        """Print the duration, if anything was done."""
        if self.done:
            output.took(self.seconds, self.done, "picture")


def for_each(
    found: FoundPictures | PictureStream,
    label: str,
    work: Callable[[str], Iterable[str]],
    tell: Callable[[Failure], None] | None = None,
) -> Outcome:
    """Work on pictures one after the other; report those that fail, and continue.

    Ctrl-C ends the work without an exception, because what is done still has to be reported.

    Parameters
    ----------
    found : FoundPictures or PictureStream
    label : str
        The name of the work, for the progress bar.
    work : function
        Takes a path, and returns the lines to print.
    tell : function, optional
        Is told of each failure at once, and none is kept; without it all are in the outcome.

    Returns
    -------
    outcome : Outcome
    """
    failures: list[Failure] = []
    shown = progress.Bar(label, found.count)
    done, failed, path = 0, 0, ""
    interrupt: KeyboardInterrupt | None = None
    begin = time.monotonic()

    def fail(file: str, problem: dn.DarknetError) -> None:
        nonlocal failed
        failed += 1
        shown.hide()
        output.error(str(problem))
        if tell is None:
            failures.append(Failure(file, problem))
        else:
            tell(Failure(file, problem))

    try:
        for each in found:
            if isinstance(each, Problem):
                fail(each.word, each.error)
                continue
            path = each
            try:
                with located(_at_least_in(path), (dn.ImageError, dn.ShapeError)):
                    lines = work(path)
            except (dn.ImageError, dn.ShapeError) as error:
                fail(path, error)
            except MemoryError as error:
                fail(path, out_of_memory(error, path))
            else:
                done += 1
                shown.hide()
                for line in lines:
                    output.text(line)
            shown.step()
    except KeyboardInterrupt as error:
        interrupt = error
    finally:
        shown.hide()
    seconds = time.monotonic() - begin
    return Outcome(done, failed, found.count, failures, seconds, path, interrupt)


def tell_line(failure: Failure) -> None:
    """Print a failure as a line of JSON, in the place of the picture's."""
    output.text(output.json_line({"file": failure.file, "error": failure.facts}))


def _at_least_in(path: str) -> Callable[[dn.Where], dn.Where]:
    """Return a function that puts a place into a file, unless it is in one already."""
    return lambda inner: replace(inner, file=inner.file or path)


def show(
    facts: Mapping[str, Any],
    lines: Iterable[str],
    outcome: Outcome,
    *,
    as_json: bool,
    in_rows: bool,
) -> None:
    """Print what was done, after what was found; with rows for a program it goes to stderr."""
    if in_rows:
        for line in lines:
            output.aside(line)
    else:
        output.show(facts, lines, as_json=as_json)
    outcome.tell()


def end(
    ctx: click.Context,
    outcome: Outcome,
    words: Sequence[str],
    *,
    skipped: int = 0,
    resumable: bool = False,
) -> NoReturn:
    """Exit the command with its code; after Ctrl-C say how far it came, and how to continue.

    Parameters
    ----------
    ctx : click.Context
    outcome : Outcome
    words : sequence of str
        The words that named the pictures.
    skipped : int
        How many pictures had already been done.
    resumable : bool
        Whether ``--skip-existing`` would continue from here.

    Raises
    ------
    click.exceptions.Exit
        0 if all pictures could be used, 1 if some could not, 2 if none could; 130 after Ctrl-C, 143
        after SIGTERM.
    """
    if outcome.interrupt is not None:
        if is_terminal(sys.stderr):
            click.echo(err=True)  # it shows ^C
        done = skipped + outcome.done
        count = done if outcome.count is None else skipped + outcome.count
        of = "" if outcome.count is None else f" of {count}"
        message = f"stopped after {done}{of} picture{'s' * (count != 1)}"
        if resumable:
            flags = ("--force", "--skip-existing")
            message += f"; resume with: {arguments.line(more=flags[1:], without=flags)}"
            if not words or kinds.STDIN in words:
                message += ", and the same list on standard input"
        elif outcome.next:
            message += f", at {outcome.next}"
        click.echo(output.printable(message), err=True)
        ctx.exit(signals.exit_code(outcome.interrupt))
    if not outcome.failed:
        ctx.exit(0)
    ctx.exit(FINDING if outcome.done or skipped else TROUBLE)
