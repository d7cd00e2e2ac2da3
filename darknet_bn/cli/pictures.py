"""Find the pictures that a command line names."""

from __future__ import annotations

import glob
import os
import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import click

import darknet_bn as dn
from darknet_bn.cli import kinds
from darknet_bn.cli.arguments import PICTURES
from darknet_bn.cli.picture_lists import EmptyList, Line, is_list, read_list, stream_list
from darknet_bn.errors import reason_of
from darknet_bn.formats.systems import identity

_EXPECTED = "a picture, a folder, a pattern such as 'photos/*.jpg', or a list of pictures"
_OPTIONS = {"names": "--names", "data": "--data"}  # for files often given as pictures


@dataclass(frozen=True)
class Problem:
    """A word, or a line of a list, that does not lead to a picture."""

    word: str
    error: dn.DarknetError


@dataclass(frozen=True)
class FoundPictures:
    """The pictures that a command line names.

    Attributes
    ----------
    names : mapping from str to str
        For each path, the name of its outputs: the path below the folder that was named, below the
        fixed part of a pattern, or as written in a list; else only the file name.  The paths are in
        the order of the command line, each once; paths from a folder or pattern are sorted by name.
    problems : tuple of Problem
    single : bool
        Whether a single word names a single file, so that there can be no other.
    """

    names: Mapping[str, str]
    problems: tuple[Problem, ...]
    single: bool

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the pictures."""
        return tuple(self.names)

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.names)

    def __iter__(self) -> Iterator[str | Problem]:
        """Give the problems, and then the paths."""
        yield from self.problems
        yield from self.names

    def without(self, paths: Iterable[str]) -> FoundPictures:
        """Return all but some pictures."""
        gone = set(paths)
        rest = {path: name for path, name in self.names.items() if path not in gone}
        return replace(self, names=rest)


@dataclass(frozen=True)
class PictureStream:
    """The pictures that a command line names, found while others are worked on.

    A list is read as it comes, and each of its lines has its answer, even if it is the same as
    another.

    Attributes
    ----------
    words : sequence of str
        As of `find`.
    recursive : bool
        Whether to search folders inside folders.
    """

    words: Sequence[str]
    recursive: bool = False
    count: None = None
    single: bool = False

    def __iter__(self) -> Iterator[str | Problem]:
        """Find the next path, or a problem.

        Raises
        ------
        click.UsageError
            As of `find`.
        """
        for word in self.words or standard_input():
            aside: list[Problem] = []
            try:
                named = _named(word, aside, stream_list, recursive=self.recursive, out=None)
                yield from (each if isinstance(each, Problem) else each[0] for each in named)
            except EmptyList as error:
                if not self.words:
                    raise click.UsageError(f"missing argument: {PICTURES.name}") from error
                aside.append(Problem(word, error))
            except dn.DarknetError as error:
                aside.append(Problem(word, error))
            yield from aside


def may_be(word: str) -> bool:
    """Return whether a word of a command line is meant to name pictures."""
    return kinds.is_picture(word) or os.path.isdir(word) or kinds.is_pattern(word)


def find(words: Sequence[str], *, recursive: bool = False, out: str | None = None) -> FoundPictures:
    """Find the pictures that words name.

    Parameters
    ----------
    words : sequence of str
        Files, folders, patterns with ``*``, ``?``, ``[``, and lists as `read_list` reads them; if
        there is no word, the list is read from standard input.
    recursive : bool
        Whether to search folders inside folders.
    out : str, optional
        A folder to leave out if it is inside another, because it is written to.

    Returns
    -------
    found : FoundPictures

    Raises
    ------
    click.UsageError
        There is no word, and nothing on standard input.
    DarknetError
        There are no pictures.
    """
    given, words = words, words or standard_input()
    names: dict[str, str] = {}
    problems: list[Problem] = []
    for word in words:
        try:
            for each in _named(word, problems, read_list, recursive=recursive, out=out):
                if isinstance(each, Problem):
                    problems.append(each)
                else:
                    names.setdefault(*each)
        except EmptyList as error:
            if not given:
                raise click.UsageError(f"missing argument: {PICTURES.name}") from error
            problems.append(Problem(word, error))
        except dn.DarknetError as error:
            problems.append(Problem(word, error))
    if not names:
        raise problems[0].error
    single = len(words) == 1 and list(names) == [words[0]]
    return FoundPictures(names, tuple(problems), single)


def standard_input() -> tuple[str]:
    """Return standard input as the list, unless it is a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError(f"missing argument: {PICTURES.name}")
    return (kinds.STDIN,)


def _named(
    word: str,
    problems: list[Problem],
    read: Callable[[str], Iterable[Line]],
    *,
    recursive: bool,
    out: str | None,
) -> Iterator[tuple[str, str] | Problem]:
    """Yield the pictures that a word names, and the names of their outputs.

    What is wrong with a line of a list comes in its place; folders that cannot be read go to
    ``problems``.
    """
    if os.path.isdir(word):
        yield from _in_folder(word, word, problems, recursive=recursive, out=out)
    elif kinds.is_pattern(word):
        yield from _matching(word, problems, recursive=recursive, out=out)
    elif is_list(word):
        for line in read(word):
            if line.problem is not None:
                yield Problem(line.text, line.problem)
            else:
                yield line.path, _inside(line.text)
    else:
        _require_possible(word)
        yield word, os.path.basename(word)


def _in_folder(
    folder: str, top: str, problems: list[Problem], *, recursive: bool, out: str | None
) -> Iterator[tuple[str, str]]:
    """Yield the pictures in a folder, by name; ``top`` is where the names of outputs begin."""
    paths = _walk([folder], problems, out) if recursive else _entries(folder)
    found = sorted(path for path in paths if _is_file(path))
    if not found:
        deeper = not recursive and any(os.path.isdir(path) for path in paths)
        raise dn.DarknetError(
            "the folder contains no pictures",
            where=dn.Where(file=folder),
            hint="--recursive searches its subfolders" if deeper else None,
        )
    for path in found:
        yield path, os.path.relpath(path, top)


def _matching(
    pattern: str, problems: list[Problem], *, recursive: bool, out: str | None
) -> Iterator[tuple[str, str]]:
    """Yield the pictures whose path matches, and with ``recursive`` those in matching folders."""
    top = os.path.dirname(pattern)
    while glob.has_magic(top):
        top = os.path.dirname(top)
    paths: list[str] = []
    if "**" in Path(pattern).parts:
        form = Path(os.path.relpath(pattern, top or ".")).parts
        for path in _walk([top or "."], problems, out):
            if _has_form(Path(path).relative_to(top).parts, form):
                paths.append(path if top else path.removeprefix(f".{os.sep}"))
    else:
        paths += glob.iglob(pattern)
        if recursive:
            paths += _walk(sorted(filter(os.path.isdir, paths)), problems, out)
    found = sorted(path for path in paths if _is_file(path))
    if not found:
        raise dn.DarknetError("no picture matches this pattern", where=dn.Where(file=pattern))
    for path in found:
        yield path, os.path.relpath(path, top or ".")


def _has_form(parts: Sequence[str], form: Sequence[str]) -> bool:
    """Return whether a path matches a pattern, in which ``**`` is any number of folders.

    `glob` would follow circular links as far as the system lets it.
    """
    if not form:
        return not parts
    if form == ("**",):
        return True
    if form[0] == "**":
        return any(_has_form(parts[at:], form[1:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatch(parts[0], form[0]) and _has_form(parts[1:], form[1:])


def _walk(tops: Sequence[str], problems: list[Problem], out: str | None) -> list[str]:
    """Return the files in folders and in the folders inside them, each folder once.

    Links to folders are followed after all others, so that a folder that is reached twice, or is in
    a circle of links, appears under its own name.  Folders whose name begins with a dot are left
    out.
    """
    files: list[str] = []
    left_out = {identity(out)} if out is not None and os.path.isdir(out) else set()
    seen = left_out - set(map(identity, tops))
    waiting = deque(tops)
    while waiting:
        folder = waiting.popleft()
        if identity(folder) in seen:
            continue
        seen.add(identity(folder))
        try:
            entries = _entries(folder)
        except dn.DarknetError as error:
            if folder in tops:
                raise
            problems.append(Problem(folder, error))
            continue
        for path in entries:
            if not os.path.isdir(path):
                files.append(path)
            elif os.path.basename(path).startswith("."):
                continue
            elif os.path.islink(path):
                waiting.append(path)
            else:
                waiting.appendleft(path)
    return files


def _entries(folder: str) -> list[str]:
    """Return the contents of a folder, by name."""
    from darknet_bn.formats.reading import CANNOT_BE_READ

    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    except OSError as error:
        problem = f"{CANNOT_BE_READ}: {reason_of(error)}"
        raise dn.DarknetError(problem, where=dn.Where(file=folder)) from error


def _is_file(path: str) -> bool:
    return kinds.is_picture(path) and os.path.isfile(path)


def _inside(text: str) -> str:
    """Return the path of a line of a list for a place inside another folder."""
    path = os.path.normpath(text)
    out_of_it = os.path.isabs(path) or path.split(os.sep)[0] == os.pardir
    return os.path.basename(path) if out_of_it else path


def _require_possible(word: str) -> None:
    """Refuse a word that is known not to be a picture; a picture may have any other name."""
    error = kinds.refusal(word)
    if error is not None:
        raise error
    kind = kinds.kind_of(word)
    if kind not in (None, "picture"):
        option = _OPTIONS.get(kind)
        hint = option and f"did you mean {option} {shlex.quote(word)}?"
        raise dn.DarknetError(f"expected {_EXPECTED}", where=dn.Where(file=word), hint=hint)
