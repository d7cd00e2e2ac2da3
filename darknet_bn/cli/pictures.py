"""Pictures that a command line names: find them, and work on one after the other."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import darknet_bn as dn
from darknet_bn.arrays import F32
from darknet_bn.cli import output, progress
from darknet_bn.cli.failures import FINDING, TROUBLE, out_of_memory
from darknet_bn.prepare import Fit

SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".j2k", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".psd", ".tga", ".tif", ".tiff", ".webp"),
)


@dataclass(frozen=True)
class Found:
    """The pictures that a command line names.

    Attributes
    ----------
    paths : tuple of str
        In the order of the command line, each once; those of a folder or pattern by name.
    problems : tuple of DarknetError
        Of the words that lead to no picture.
    single : bool
        Whether one word names one file, so that there can be no other.
    """

    paths: tuple[str, ...]
    problems: tuple[dn.DarknetError, ...]
    single: bool


@dataclass(frozen=True)
class Failure:
    """A picture that could not be used, and why."""

    file: str | None
    problem: dn.DarknetError

    @property
    def facts(self) -> dict[str, Any]:
        """What JSON tells: as of any error, and always which picture."""
        facts = output.facts(self.problem)
        if facts["file"] != self.file:  # such as one that could not be written
            facts |= {"file": self.file, "message": f"{facts['file']}: {facts['message']}"}
        return facts


def may_be(word: str) -> bool:
    """Tell whether a word of a command line is meant to name pictures."""
    return _is_picture(word) or os.path.isdir(word) or _is_pattern(word)


def find(words: Sequence[str]) -> Found:
    """Find the pictures that words name: files, folders, and patterns with ``*``, ``?``, ``[``.

    Raises
    ------
    DarknetError
        There is not one.
    """
    paths: list[str] = []
    problems = []
    for word in words:
        found = [word]
        if os.path.isdir(word):
            found = _sorted(os.path.join(word, name) for name in os.listdir(word))
        elif _is_pattern(word):
            found = _sorted(glob.iglob(word, recursive=True))
        if not found:
            what = "in this folder" if os.path.isdir(word) else "of such a name"
            problem = f"there is no picture {what}"
            problems.append(dn.DarknetError(problem, where=dn.Where(file=word)))
        paths += found
    if not paths:
        raise problems[0]
    single = len(words) == 1 and paths == [words[0]]
    return Found(tuple(dict.fromkeys(paths)), tuple(problems), single)


def _sorted(paths: Iterable[str]) -> list[str]:
    """Return the pictures among files and folders."""
    return sorted(path for path in paths if _is_picture(path) and os.path.isfile(path))


def _is_picture(path: str) -> bool:
    """Tell by the name; what begins with a dot is none, such as the ``._`` files of macOS."""
    name = os.path.basename(path).lower()
    return name.endswith(SUFFIXES) and not name.startswith(".")


def _is_pattern(word: str) -> bool:
    return glob.has_magic(word) and not os.path.lexists(word)


def read(path: str, model: dn.Model, fit: Fit) -> tuple[F32, F32]:
    """Read a picture.

    Returns
    -------
    im, x : float32 arrays (c, H, W) and (1, c, h, w)
        As it is, and as the input of the network.

    Raises
    ------
    ImageError
        It cannot be read, or not be made the input.
    """
    im = dn.load_image(path, model.network.input.c)
    try:
        return im, dn.prepare(im, model, fit)
    except dn.ShapeError as error:
        raise dn.ImageError(
            error.problem, where=dn.Where(file=path), expected=error.expected, found=error.found
        ) from error


def for_each(found: Found, label: str, work: Callable[[str], Iterable[str]]) -> list[Failure]:
    """Work on pictures one after the other; tell of those that fail, and go on.

    Parameters
    ----------
    found : Found
    label : str
        What is done, for the progress bar.
    work : function
        Gets a path, and returns the lines to print.

    Returns
    -------
    failures : list of Failure
    """
    failures: list[Failure] = []
    shown = progress.Bar(label, len(found.paths))

    def fail(file: str | None, problem: dn.DarknetError) -> None:
        shown.hide()
        output.error(str(problem))
        failures.append(Failure(file, problem))

    try:
        for problem in found.problems:
            fail(problem.where.file, problem)
        for path in found.paths:
            try:
                lines = work(path)
            except dn.ImageError as error:
                fail(path, error)
            except MemoryError as error:
                fail(path, out_of_memory(error, path))
            else:
                shown.hide()
                for line in lines:
                    output.text(line)
            shown.step()
    finally:
        shown.hide()
    return failures


def exit_code(found: Found, failures: Sequence[Failure]) -> int:
    """Return the exit code after work on pictures: whether none, some or all of them failed."""
    if not failures:
        return 0
    return FINDING if len(failures) < len(found.paths) + len(found.problems) else TROUBLE
