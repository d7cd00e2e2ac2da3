"""The exception family, and ``Where``: a place in the user's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place in the user's input; what is not known is None.

    ``line`` counts from 1; ``layer`` counts from 0 at the first section behind ``[net]``, as
    Darknet prints it.
    """

    file: str | None = None
    line: int | None = None
    section: str | None = None
    layer: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        """``file:line: [section] layer 3: key``, without the parts that are unknown."""
        place = self.file or ""
        if self.line is not None:
            place = f"{place}:{self.line}" if place else f"line {self.line}"
        spot = " ".join(
            part
            for part in (
                f"[{self.section}]" if self.section else "",
                f"layer {self.layer}" if self.layer is not None else "",
            )
            if part
        )
        return ": ".join(part for part in (place, spot, self.key or "") if part)


class DarknetError(Exception):
    """Something a user gave does not fit; the message is complete on its own.

    Parameters
    ----------
    problem : str
        What is wrong, in one clause.
    where : Where, optional
        The place in the user's input.
    expected, found, hint : str, optional
        What would have been right, what is there, what may help.

    Attributes
    ----------
    problems : tuple of DarknetError
        One for each place, if it is about several.
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

    def __str__(self) -> str:
        """One line: place, problem, and in brackets what was expected, found and may help."""
        place = str(self.where)
        head = f"{place}: {self.problem}" if place else self.problem
        details = [
            f"{label} {value}"
            for label, value in (("expected", self.expected), ("found", self.found))
            if value is not None
        ]
        line = f"{head} ({', '.join(details)})" if details else head
        return f"{line}; {self.hint}" if self.hint else line


class CfgError(DarknetError):
    """The text of a ``.cfg`` file is not what Darknet could mean."""


class ShapeError(DarknetError):
    """Layers, or an array and a network, do not fit each other in shape or size."""


class WeightsError(DarknetError):
    """A file of weights is damaged, or does not fit its ``.cfg``."""


class FoldError(DarknetError):
    """Batch norm cannot be folded without changing what the network computes."""


class ProofError(DarknetError):
    """What was made computes something else than the model, or nothing is there to prove it."""


class FixtureError(DarknetError):
    """A fixture (``.npz`` of layer outputs) cannot be read or used."""


class ImageError(DarknetError):
    """A picture cannot be read or written."""


class ExportError(DarknetError):
    """A model cannot be expressed in another format, or not so."""


class TrainingError(DarknetError):
    """A model cannot be trained so."""


class DataError(DarknetError):
    """Files of a data set are not what they must be; it holds every place at once.

    Parameters
    ----------
    problem : str
        What is wrong with all of them, in one clause.
    problems : sequence of DarknetError
        One for each place; where there is only one, it is the message.
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
    """Something is odd, but has one clear meaning, which was taken."""


class DataWarning(DarknetWarning):
    """Parts of a data set do not count; it holds every place at once.

    Parameters
    ----------
    text : str
        All of them in one line.
    problems : sequence of DarknetError
        One for each place.
    """

    def __init__(self, text: str, problems: Sequence[DarknetError]) -> None:
        super().__init__(text, tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """Return the one line."""
        return str(self.args[0])
