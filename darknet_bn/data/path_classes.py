"""The class of a picture whose path holds the label of the class."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from darknet_bn.data.lists import ListEntry
from darknet_bn.errors import DarknetError, DarknetWarning, DataError, Where


class PathClass(NamedTuple):
    """What a path says about the class.

    Attributes
    ----------
    number : int or None
        The class; None if there is only one class, and this is not it.
    doubt : str or None
        What the programs would read differently, or only agree on by chance.
    """

    number: int | None
    doubt: str | None = None


def load_classes(entries: Sequence[ListEntry], labels: Sequence[str]) -> list[int | None]:
    """Return the class of each picture of a list.

    Raises
    ------
    DataError
        Paths hold no label, or several; it holds all of the errors.

    Warns
    -----
    DarknetWarning
        Paths hold a label in the middle of a word, or a second label besides the class's own.
    """
    numbers: list[int | None] = []
    doubts: list[str] = []
    problems: list[DarknetError] = []
    for entry in entries:
        try:
            found = class_of_path(entry.text, labels, entry.where)
        except DarknetError as error:
            problems.append(error)
            continue
        numbers.append(found.number)
        if found.doubt is not None:
            doubts.append(f"{entry.where}: {found.doubt}")
    file = entries[0].where.file
    if problems:
        what = f"{len(problems)} of {len(entries)} paths do not name exactly one class"
        raise DataError(what, problems, where=Where(file=file))
    if doubts:
        rest = f" (and {len(doubts) - 1} more such paths)" if len(doubts) > 1 else ""
        warnings.warn(f"{doubts[0]}{rest}", DarknetWarning, stacklevel=5)
    return numbers


def class_of_path(path: str, labels: Sequence[str], where: Where) -> PathClass:
    """Return the class whose label is part of a path.

    Parameters
    ----------
    path : str
    labels : sequence of str
    where : Where
        The path's place, for errors.

    Returns
    -------
    found : PathClass
        If the path holds several labels, the one that is a word of its own; or the one that
        contains the others.

    Raises
    ------
    DarknetError
        No label is part of the path, or several are and none of them is the clear choice.

    Notes
    -----
    C: ``fill_truth`` in ``src/data.c``, where every label that is part of the path is true:
    ``carpet/1.jpg`` is ``car`` and ``carpet``, and ``cooked/strawberry.jpg`` is also ``raw``.
    """
    found = [number for number, label in enumerate(labels) if label and label in path]
    if not found and len(labels) == 1:
        return PathClass(None)
    words = [number for number in found if _is_word(labels[number], path)]
    best = _without_parts(words or found, labels, path)
    if len(best) != 1:
        several = ", ".join(repr(labels[number]) for number in best[:4])
        raise DarknetError(
            "the path names " + ("several classes" if best else "no class"),
            where=where,
            expected="one class label as part of the path",
            found=f"{several} in {path!r}" if best else repr(path),
        )
    (number,) = best
    others = [labels[each] for each in found if each != number]
    if others:
        told = ", ".join(map(repr, others[:4]))
        return PathClass(number, f"ignoring {told} in {path!r}; the class is {labels[number]!r}")
    if not words:
        return PathClass(
            number, f"the label {labels[number]!r} is only a part of a word in {path!r}"
        )
    return PathClass(number)


def _without_parts(numbers: Sequence[int], labels: Sequence[str], path: str) -> list[int]:
    """Return the labels that do not occur only inside longer ones."""
    left = []
    for number in sorted(numbers, key=lambda each: -len(labels[each])):
        if labels[number] in path:
            left.append(number)
            path = path.replace(labels[number], "\0")
    return sorted(left)


def _is_word(label: str, path: str) -> bool:
    """Return whether a label occurs in a path as a word, with no letter or digit next to it."""
    return any(
        not _goes_on(path[start - 1 : start], label[0])
        and not _goes_on(label[-1], path[start + len(label) : start + len(label) + 1])
        for start in _places(label, path)
    )


def _places(label: str, path: str) -> Iterator[int]:
    start = path.find(label)
    while start >= 0:
        yield start
        start = path.find(label, start + 1)


def _goes_on(one: str, other: str) -> bool:
    return (one.isalpha() and other.isalpha()) or (one.isdigit() and other.isdigit())
