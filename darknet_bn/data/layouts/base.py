"""What every layout gives: pictures with their boxes, the names of classes, and what is odd."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from darknet_bn.data.labels import MOST_BOXES, Oddity, oddity_of
from darknet_bn.data.lists import similar_picture
from darknet_bn.errors import DarknetError, Where, quoted
from darknet_bn.values import brief, counted, file_name

PARTS = ("train", "valid", "test")
"""The parts of a set, as this package calls them."""
ANY_CLASS = 10**9
"""How many classes there are if nothing says it."""
MOST_NAMES = 100_000
"""How many classes may be without a name each."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
"""The pictures that are looked for in folders, the most frequent first."""
MARKED = ("crowd", "difficult")
"""What a box may be marked as; Darknet's label files have no place for it."""


class LabelledBox(NamedTuple):
    """A box, and where it is written.

    Attributes
    ----------
    x, y, w, h : float
        Its centre and size, as shares of the picture.
    number : int
        Its class, from 0.
    mark : str
        Empty, ``crowd`` (COCO) or ``difficult`` (VOC).
    line : int or None
        The line in the file of labels, if it has lines.
    key : str or None
        What else names the place in the file, such as ``annotation 12``.
    """

    x: float
    y: float
    w: float
    h: float
    number: int
    mark: str = ""
    line: int | None = None
    key: str | None = None


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a set.

    Attributes
    ----------
    kind : str
        One word, which is in the table of `darknet_bn.data.layouts.check`.
    error : DarknetError
        Where it is, and what is wrong.
    part : str or None
        The part of the set that it is in; None if it is not in one only.
    """

    kind: str
    error: DarknetError
    part: str | None = None

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"{self.kind}: {self.error}")


@dataclass(frozen=True)
class LabelledPicture:
    """A picture of a set.

    Attributes
    ----------
    path : str
        Where it is; there may be no such file.
    name : str
        Its path within its part of the set, with slashes; it never leads out of a folder.
    part : "train", "valid" or "test"
    boxes : tuple of LabelledBox
        The boxes that are possible.
    labels : str or None
        The file that has its labels.
    size : (width, height) or None
        As the labels say; None if they do not.
    """

    path: str
    name: str
    part: str
    boxes: tuple[LabelledBox, ...]
    labels: str | None = None
    size: tuple[int, int] | None = None

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"{file_name(self.path)}: {counted(len(self.boxes), 'box', 'boxes')}")

    def where(self, box: LabelledBox) -> Where:
        """Return the place of a box."""
        return Where(file=self.labels, line=box.line, key=box.key)


@dataclass(frozen=True)
class LabelledSet:
    """A set of pictures with boxes, whatever its layout.

    Attributes
    ----------
    layout : str
        Its name, for messages.
    place : str
        The file or folder that was read.
    names : tuple of str
        The name of each class, which may be an empty text; no names at all if even their number is
        not known.
    pictures : tuple of LabelledPicture
    findings : tuple of Finding
        What cannot be used.
    notes : tuple of str
        What a reader should know about how it was read.
    """

    layout: str
    place: str
    names: tuple[str, ...]
    pictures: tuple[LabelledPicture, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, self.describe())

    def describe(self) -> str:
        """Return a line about it."""
        boxes = sum(len(each.boxes) for each in self.pictures)
        return (
            f"{self.layout}: {counted(len(self.pictures), 'picture')}, "
            f"{counted(boxes, 'box', 'boxes')} of {counted(self.classes, 'class', 'classes')}"
        )

    @property
    def classes(self) -> int:
        """How many classes there are: those named, or those up to the largest number."""
        numbers = (box.number for each in self.pictures for box in each.boxes)
        return len(self.names) or 1 + max(numbers, default=-1)

    @property
    def all_names(self) -> tuple[str, ...]:
        """A name for each class: ``class 3`` for one that has none."""
        names = self.names or ("",) * self.classes
        return tuple(name or f"class {number}" for number, name in enumerate(names))

    def parts(self) -> tuple[str, ...]:
        """Return the parts that have pictures."""
        there = {each.part for each in self.pictures}
        return tuple(part for part in PARTS if part in there)

    def of_part(self, part: str) -> tuple[LabelledPicture, ...]:
        """Return the pictures of a part."""
        return tuple(each for each in self.pictures if each.part == part)

    def numbered_as(self, names: Sequence[str]) -> LabelledSet:
        """Return the set with its classes numbered as in a list of names.

        Raises
        ------
        DarknetError
            The set does not name its classes.
        """
        if not any(self.names):
            raise DarknetError(
                "nothing names the classes of this set",
                where=Where(file=self.place),
                hint="leave out the names: its classes are numbers already",
            )
        wanted = {name: number for number, name in reversed(list(enumerate(names)))}
        numbers = [wanted.get(name) for name in self.all_names]
        findings = list(self.findings)
        pictures = []
        for each in self.pictures:
            kept = []
            for box in each.boxes:
                number = numbers[box.number]
                if number is None:
                    findings.append(Finding("class", self._unnamed(each, box), each.part))
                else:
                    kept.append(box._replace(number=number))
            pictures.append(replace(each, boxes=tuple(kept)))
        return replace(self, names=tuple(names), pictures=tuple(pictures), findings=tuple(findings))

    def _unnamed(self, picture: LabelledPicture, box: LabelledBox) -> DarknetError:
        return DarknetError(
            "the class is not among the names",
            where=picture.where(box),
            found=quoted(self.all_names[box.number]),
        )


class BoxReader:
    """Collects the boxes of one picture, and what is wrong with the others.

    Parameters
    ----------
    findings : list of Finding
        What is wrong is appended to it.
    classes : int
    """

    def __init__(self, findings: list[Finding], classes: int) -> None:
        self._findings = findings
        self._classes = classes
        self._seen = 0
        self.boxes: list[LabelledBox] = []

    def add(self, box: LabelledBox, where: Where) -> None:
        """Add a box, or what is wrong with it."""
        self._count(where)
        odd = oddity_of((*box[:4], float(box.number)), self._classes)
        if odd is None:
            self.boxes.append(box)
        else:
            self._refuse(odd, where)

    def refuse(
        self, kind: str, problem: str, where: Where, expected: str | None, found: str | None
    ) -> None:
        """Add what is wrong with an entry that is not a box."""
        self._count(where)
        self._refuse(Oddity(kind, problem, expected, found), where)

    def _refuse(self, odd: Oddity, where: Where) -> None:
        error = DarknetError(odd.problem, where=where, expected=odd.expected, found=odd.found)
        self._findings.append(Finding(odd.kind, error))

    def _count(self, where: Where) -> None:
        self._seen += 1
        if self._seen > MOST_BOXES:
            raise DarknetError(
                "there are too many boxes", where=where, expected=f"at most {MOST_BOXES}"
            )


def set_part(findings: list[Finding], start: int, part: str) -> None:
    """Say for the findings from a number on in which part of the set they are."""
    findings[start:] = [replace(each, part=part) for each in findings[start:]]


def missing_picture(path: str, where: Where) -> Finding:
    """Return the finding for a picture that does not exist."""
    problem, similar = "the picture does not exist", similar_picture(path)
    return Finding("picture", DarknetError(problem, where=where, expected=path, found=similar))


def missing_labels(picture: str, expected: str) -> Finding:
    """Return the finding for a picture that has no file of labels."""
    return Finding(
        "labels",
        DarknetError("no label file", where=Where(file=picture), expected=expected),
    )


def pictures_in(folder: Path, *, below: bool = False) -> list[Path]:
    """Return the pictures in a folder, sorted; with ``below`` those in its folders too.

    Raises
    ------
    DarknetError
        The folder cannot be read.
    """
    found: list[Path] = []

    def fail(error: OSError) -> None:
        raise DarknetError(
            "the folder cannot be read", where=Where(file=str(error.filename or folder))
        ) from error

    for place, folders, files in os.walk(folder, onerror=fail):
        if not below:
            folders.clear()
        folders.sort()
        found += [Path(place, each) for each in sorted(files) if is_picture(each)]
    return found


def is_picture(name: str) -> bool:
    """Decide from the name of a file whether it is a picture."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def name_within(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """Return a path relative to a folder, with slashes; only its file name if it is outside."""
    name = os.path.relpath(path, folder).replace(os.sep, "/")
    return os.path.basename(os.fspath(path)) if leaves(name) else name


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder that all of some files are in."""
    folders = {os.path.abspath(os.path.dirname(each)) for each in paths}
    try:
        return os.path.commonpath(folders) if folders else "."
    except ValueError:  # on several drives
        return "."


def leaves(name: str) -> bool:
    """Return whether a relative name leads out of its folder, or is not relative."""
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or ":" in parts[0]


def wrong_count(key: str, count: int | None, names: Sequence[str]) -> tuple[str, ...]:
    """Return a note if a number of classes is not the number of names."""
    if count is None or not names or count == len(names):
        return ()
    return (f"{key} is {count}, but there are {counted(len(names), 'name')}: these count",)


def first_there(places: Iterable[Path], there: Callable[[Path], bool]) -> Path | None:
    """Return the first of some paths for which a test is true."""
    return next((each for each in places if there(each)), None)
