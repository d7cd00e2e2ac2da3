"""What ends a command early: one line on stderr, JSON if it was asked for, and an exit code."""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
from collections.abc import Sequence

import click

import darknet_bn as dn
from darknet_bn.cli import hints, output, signals
from darknet_bn.errors import reason_of

FINDING, TROUBLE = 1, 2  # exit codes, as in diff, grep and cmp

_OPTIONS = {
    r"\btolerance=": "--tolerance ",
    r"\bprove=False\b": "--skip-proof",
    r"\bmax_loss=": "--max-loss ",
}
_INTERRUPTS = (click.Abort, KeyboardInterrupt)  # the first is click's name for it


def answer(error: BaseException, words: Sequence[str], state: output.State) -> int:
    """Report an error.

    Parameters
    ----------
    error : exception
        The exception that ended the command.
    words : sequence of str
        The command line.
    state : State
        What the command has already printed.

    Returns
    -------
    code : int
        The exit code.
    """
    problem = _problem(error, words)
    if isinstance(error, click.UsageError):
        output.error(problem.problem)
        if error.ctx is not None:
            output.usage(error.ctx)
    elif not isinstance(error, _INTERRUPTS):  # the terminal shows ^C
        output.error(str(problem))
        output.problems(problem.problems)
    facts = output.facts(problem)
    with contextlib.suppress(OSError):  # stdout may be the cause
        if _has_option(words, "--json-lines"):
            output.text(output.json_line({"file": facts["file"], "error": facts}))
        elif _has_option(words, "--json") and not state.answered:
            output.print_json({"error": facts})
    return _code(error)


def _code(error: BaseException) -> int:
    if isinstance(error, _INTERRUPTS):
        return signals.exit_code(error)
    return FINDING if isinstance(error, dn.ProofError) else TROUBLE


def _problem(error: BaseException, words: Sequence[str]) -> dn.DarknetError:
    """Convert any exception that ended a command into one of our own errors."""
    if isinstance(error, dn.DarknetError):
        if error.hint is not None:
            error.hint = _as_options(error.hint)
        return error
    if isinstance(error, _INTERRUPTS):
        return dn.DarknetError("interrupted")
    if isinstance(error, click.UsageError):
        message = error.format_message()
        if isinstance(error, click.NoSuchOption):
            message = hints.unknown_option(error, words)
        help_line = output.help_line(error.ctx) if error.ctx is not None else None
        return dn.DarknetError(message, hint=help_line)
    if isinstance(error, MemoryError):
        return out_of_memory(error)
    if isinstance(error, OSError):
        return dn.DarknetError(
            reason_of(error),
            where=dn.Where(file=None if error.filename is None else str(error.filename)),
        )
    if sys.flags.dev_mode:
        traceback.print_exception(error)
    return dn.DarknetError(
        f"this is a bug in darknet-bn: {type(error).__name__}: {error}",
        hint="'python -X dev -m darknet_bn …' shows where",
    )


def _as_options(hint: str) -> str:
    """Replace arguments of Python in the library's hints by options."""
    for argument, option in _OPTIONS.items():
        hint = re.sub(argument, option, hint)
    return hint


def out_of_memory(error: MemoryError, file: str | None = None) -> dn.DarknetError:
    """Convert a lack of memory into one of our own errors."""
    problem = f"not enough memory: {error}" if str(error) else "out of memory"
    return dn.DarknetError(problem, where=dn.Where(file=file))


def _has_option(words: Sequence[str], name: str) -> bool:
    """Return whether an option was given, even among words that cannot be parsed."""
    options = words[: words.index("--")] if "--" in words else words
    return name in options
