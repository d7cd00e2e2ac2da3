"""The exception family, and ``Where``: a place in the user's input.

Messages quote files that anybody may have written.  A message is always one line, whatever it
contains: control characters are escaped and long text is cut, only in this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

_E = TypeVar("_E", bound="DarknetError")

_MOST_OF_A_PLACE = 200  # characters of a file name, which is cut at its beginning
_MOST_OF_A_PART = 240  # characters of the problem, and of the hint
_MOST_FOUND = 160
_MOST = 600  # characters in all: "expected" gets what the other parts leave
_LEAST = 80


def shown(text: str, limit: int = _MOST_OF_A_PART) -> str:
    """Return text from a file for a message: one line, no control characters, cut to a limit.

    Parameters
    ----------
    text : str
        Text of any length, with any characters.
    limit : int
        How many characters are shown.
    """
    short = _escaped(text[: limit + 1])
    return short if len(short) <= limit else f"{short[: limit - 1]}…"


def _end_of(text: str, limit: int) -> str:
    """Return text as `shown` does, but cut at its beginning: the end of a path says most."""
    short = printable(text[-limit - 1 :])
    return short if len(short) <= limit else f"…{short[1 - limit :]}"


def quoted(text: str, limit: int = 40) -> str:
    """Return text from a file in quotes, as Python writes it, cut if it is long."""
    return repr(text if len(text) <= limit else f"{text[: limit - 1]}…")


def one_line(said: object) -> str:
    """Return what another program says, such as an exception message, on one line."""
    return " ".join(str(said).split())


def reason_of(failure: Exception) -> str:
    """Return the system's own reason for a failure."""
    return str(getattr(failure, "strerror", None) or failure)


def printable(text: str) -> str:
    """Return the whole text on one line, without control characters."""
    return _escaped(text.replace("\n", " "))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place in the user's input; unknown parts are None.

    ``line`` counts from 1; ``layer`` counts from 0 at the first section after ``[net]``, as Darknet
    prints it.
    """

    file: str | None = None
    line: int | None = None
    section: str | None = None
    layer: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        """``file:line: [section] layer 3: key``, without the unknown parts."""
        place = _end_of(self.file or "", _MOST_OF_A_PLACE)
        if self.line is not None:
            place = f"{place}:{self.line}" if place else f"line {self.line}"
        spot = " ".join(
            part
            for part in (
                f"[{shown(self.section, 60)}]" if self.section else "",
                f"layer {self.layer}" if self.layer is not None else "",
            )
            if part
        )
        return ": ".join(part for part in (place, spot, shown(self.key or "", 80)) if part)


class DarknetError(Exception):
    """Something the user gave does not fit; the message is complete by itself.

    Parameters
    ----------
    problem : str
        What is wrong, as one clause.
    where : Where, optional
        The place in the user's input.
    expected, found, hint : str, optional
        What would have been right, what was there, and what may help.

    Attributes
    ----------
    problems : tuple of DarknetError
        One error for each place, if the error is about several places.
    """

    problems: tuple[DarknetError, ...] = ()

    def __init__(
        self,
        problem: str,
        *,
        where: Where | None = None,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem = problem
        self.where = where or Where()
        self.expected = expected
        self.found = found
        self.hint = hint
        super().__init__(problem)

    def as_kind(
        self, kind: type[_E], problem: str | None = None, **others: Where | str | None
    ) -> _E:
        """Return an error of a different kind that says the same.

        Parameters
        ----------
        kind : type
        problem : str, optional
            Replaces the text of the problem.
        **others
            Any of ``where``, ``expected``, ``found`` and ``hint``, to replace the present value.
        """
        names = ("where", "expected", "found", "hint")
        facts: dict[str, Any] = {name: getattr(self, name) for name in names}
        return kind(problem or self.problem, **facts | others)

    def __str__(self) -> str:
        """One line: place and problem; in brackets what was expected and found, and a hint."""
        place, problem = str(self.where), shown(self.problem)
        head = f"{place}: {problem}" if place else problem
        hint = f"; {shown(self.hint)}" if self.hint else ""
        details = []
        if self.found is not None:
            details = [f"found {shown(self.found, _MOST_FOUND)}"]
        if self.expected is not None:
            room = _MOST - len(head) - len(hint) - sum(map(len, details))
            details.insert(0, f"expected {shown(self.expected, max(room, _LEAST))}")
        return f"{head} ({', '.join(details)}){hint}" if details else f"{head}{hint}"


@contextmanager
def located(
    place: Where | Callable[[Where], Where],
    kinds: type[DarknetError] | tuple[type[DarknetError], ...] = DarknetError,
) -> Iterator[None]:
    """Within this context, add the place to errors whose code could not know it.

    Parameters
    ----------
    place : Where, or function
        The place; or a function that makes it from what the error already knows, such as `in_file`.
    kinds : type, or tuple of types
        Errors of other kinds keep their place.
    """
    try:
        yield
    except kinds as error:
        error.where = place if isinstance(place, Where) else place(error.where)
        raise


def in_file(name: str | None) -> Callable[[Where], Where]:
    """Return a function that puts a place into a file; it drops the line of a different file."""
    return lambda where: replace(where, file=name, line=None)


class CfgError(DarknetError):
    """The text of a ``.cfg`` file is not something Darknet could understand."""


class ShapeError(DarknetError):
    """Layers, or an array and a network, do not match in shape or size."""


class WeightsError(DarknetError):
    """A weights file is damaged, or does not match its ``.cfg``."""


class FoldError(DarknetError):
    """Batch norm cannot be folded without changing what the network computes."""


class ProofError(DarknetError):
    """The result computes something different from the model, or nothing can prove it."""


class FixtureError(DarknetError):
    """A fixture (``.npz`` of layer outputs) cannot be read or used."""


class ImageError(DarknetError):
    """A picture or a video cannot be read or written."""


class ConnectionLost(ImageError):
    """A stream or a camera has broken off, and could not be connected to again."""


class ExportError(DarknetError):
    """A model cannot be expressed in another format, or not in the requested way."""


class TrainingError(DarknetError):
    """A model cannot be trained in this way."""


class DataError(DarknetError):
    """Files of a data set are not valid; the error lists every place at once.

    Parameters
    ----------
    problem : str
        What is wrong with all of them, as one clause.
    problems : sequence of DarknetError
        One error for each place; if there is only one, it is the message.
    where : Where, optional
        The file that leads to them.
    """

    def __init__(
        self, problem: str, problems: Sequence[DarknetError], *, where: Where | None = None
    ) -> None:
        if len(problems) == 1:
            (one,) = problems
            super().__init__(
                one.problem, where=one.where, expected=one.expected, found=one.found, hint=one.hint
            )
        else:
            super().__init__(problem, where=where, hint=f"the first: {problems[0]}")
        self.problems = tuple(problems)
        self.args = (problem, self.problems)


class DarknetWarning(UserWarning):
    """Something is odd, but has one clear meaning, which is used."""

    def __init__(self, text: str, *more: object) -> None:
        super().__init__(shown(text, _MOST), *more)

    def __str__(self) -> str:
        """Return the one line."""
        return str(self.args[0])


class DataWarning(DarknetWarning):
    """Parts of a data set are ignored; the warning lists every place at once.

    Parameters
    ----------
    text : str
        All problems on one line.
    problems : sequence of DarknetError
        One error for each place.
    """

    def __init__(self, text: str, problems: Sequence[DarknetError]) -> None:
        super().__init__(text, tuple(problems))
        self.problems = tuple(problems)


class Oddities:
    """Texts of warnings while a file is read: the first few, and how many more there are."""

    _TOLD = 100

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._more = 0

    def __call__(self, text: str) -> None:
        """Add one text."""
        if self.full:
            self._more += 1
        else:
            self._texts.append(shown(text, _MOST))

    @property
    def full(self) -> bool:
        """Whether further texts are only counted."""
        return len(self._texts) >= self._TOLD

    @property
    def texts(self) -> tuple[str, ...]:
        """Return all texts to be shown."""
        more = (f"and {self._more} more odd lines",) if self._more else ()
        return (*self._texts, *more)
