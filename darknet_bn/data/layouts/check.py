"""Check the labels of a set: every line that is wrong or odd, and how often each class occurs.

The table of kinds says what Darknet does with each: both programs stop
reading a label file at the first line that is not a box, without a word; both cut boxes at the
edges of the picture; pjreddie's leaves out what is smaller than a thousandth of the picture,
AlexeyAB's what is smaller than a pixel of the network's input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from darknet_bn.arrays import F64
from darknet_bn.data.layouts.base import Finding, LabelledBox, LabelledPicture, LabelledSet
from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import DarknetError, Where
from darknet_bn.pictures.images import load_image
from darknet_bn.values import brief
from darknet_bn.work.threads import workers

TINY = PJREDDIE.smallest_box
"""The share of the picture's width or height below which a box is tiny: Darknet leaves it out."""
_ROUNDING = 1e-5  # how far numbers of five decimals lead out of the picture
_PIECE = 64  # pictures between two steps of progress

KINDS: Mapping[str, tuple[str, str]] = {
    "line": ("not a box", "stops reading the file there, without a word"),
    "class": (
        "no such class",
        "pjreddie's writes outside its arrays; AlexeyAB's leaves it out",
    ),
    "size": ("no width or height", "leaves it out"),
    "zero": ("at 0 0", "pjreddie's: somewhere in the picture; AlexeyAB's leaves it out"),
    "outside": ("outside the picture", "leaves it out"),
    "far": ("far outside the picture", "cuts it at the edges, or leaves it out"),
    "edge": ("partly outside", "cuts it at the edge"),
    "tiny": ("tiny", "leaves it out"),
    "duplicate": ("the same box twice", "counts it twice"),
    "labels": ("no label file", "pjreddie's stops; AlexeyAB's: a picture without objects"),
    "orphan": ("label file without picture", "does not read it"),
    "picture": ("no picture", "stops; with OpenCV, trains on a black picture"),
    "unreadable": ("unreadable picture", "stops; with OpenCV, trains on a black picture"),
    "twice": ("picture listed twice", "uses it twice as often"),
    "file": ("unreadable file", "reads what it can of a label file"),
    "dimensions": ("wrong picture size", "does not read the size"),
    "name": ("file name leads out of the folder", "does not read such files"),
}
"""For each kind of finding, what it is, and what Darknet does with it."""


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs.

    Attributes
    ----------
    number : int
    name : str
    boxes, pictures : int
        How many boxes it has, and in how many pictures.
    width, height : float or None
        The medians of its boxes, as shares of the picture; None if it has no boxes.
    """

    number: int
    name: str
    boxes: int
    pictures: int
    width: float | None
    height: float | None


@dataclass(frozen=True)
class LabelReport:
    """What a set of labels has, and what is wrong with it.

    Attributes
    ----------
    layout, place : str
    pictures, boxes, without_boxes : int
        How many pictures and boxes there are, and how many pictures have none.
    classes : tuple of ClassCount
    sizes : float64 array (boxes, 2)
        Width and height of each box, as shares of its picture.
    findings : tuple of Finding
        In the order of the set.
    notes : tuple of str
        What a reader should know about how the set was read.
    """

    layout: str
    place: str
    pictures: int
    boxes: int
    without_boxes: int
    classes: tuple[ClassCount, ...]
    sizes: F64
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"{self.layout}: {len(self.findings)} findings")

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def counts(self) -> Mapping[str, int]:
        """How many findings there are of each kind, in the order of `KINDS`."""
        found = Counter(each.kind for each in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}


def check_set(
    labelled: LabelledSet,
    *,
    tiny: float = TINY,
    read_pictures: bool = True,
    after: Callable[[int], object] | None = None,
) -> LabelReport:
    """Check a set.

    Parameters
    ----------
    labelled : LabelledSet
    tiny : float
        Boxes whose width or height is below this share of the picture are reported.
    read_pictures : bool
        Whether every picture is decoded, to find those that cannot be read.
    after : function, optional
        Called with a number of pictures when they have been read.

    Raises
    ------
    ImageError
        Pictures are to be read, and Pillow is not installed.
    """
    findings = list(labelled.findings)
    for picture in labelled.pictures:
        findings += _odd_boxes(picture, tiny)
    if read_pictures:
        findings += _bad_pictures(labelled, after)
    boxes = [box for picture in labelled.pictures for box in picture.boxes]
    sizes = np.array([(box.w, box.h) for box in boxes], np.float64).reshape(-1, 2)
    return LabelReport(
        labelled.layout,
        labelled.place,
        len(labelled.pictures),
        len(boxes),
        sum(not picture.boxes for picture in labelled.pictures),
        tuple(_counts(labelled, boxes, sizes)),
        sizes,
        tuple(findings),
        labelled.notes,
    )


def _odd_boxes(picture: LabelledPicture, tiny: float) -> Iterator[Finding]:
    seen: dict[tuple[float, ...], LabelledBox] = {}
    for box in picture.boxes:
        sides = tuple(round(each, 6) for each in box[:4])
        first = seen.setdefault((*sides, box.number), box)
        if first is not box:
            there = f"line {first.line}" if first.line else f"{first.key}"
            yield _finding("duplicate", picture, box, "the same box twice", None, f"as {there}")
        out = max(box.w / 2 - min(box.x, 1 - box.x), box.h / 2 - min(box.y, 1 - box.y))
        if out > _ROUNDING:
            shown = f"{box.x:g} {box.y:g} {box.w:g} {box.h:g}"
            expected = "all of it from 0 to 1"
            yield _finding("edge", picture, box, "the box is partly outside", expected, shown)
        if min(box.w, box.h) < tiny:
            shown = f"{box.w:g} x {box.h:g}"
            yield _finding("tiny", picture, box, "the box is tiny", f"at least {tiny:g}", shown)


def _finding(
    kind: str,
    picture: LabelledPicture,
    box: LabelledBox,
    problem: str,
    expected: str | None,
    found: str,
) -> Finding:
    where = picture.where(box)
    return Finding(kind, DarknetError(problem, where=where, expected=expected, found=found))


def _bad_pictures(
    labelled: LabelledSet, after: Callable[[int], object] | None
) -> Iterator[Finding]:
    """Yield a finding for each picture that cannot be read, or has another size than labels say."""
    missing = {
        each.error.expected for each in labelled.findings if each.kind == "picture"
    }  # reported already
    pictures = [each for each in labelled.pictures if each.path not in missing]
    for start in range(0, len(pictures), _PIECE):
        piece = pictures[start : start + _PIECE]
        found: list[Finding | None] = [None] * len(piece)

        read = partial(_read_into, piece, found)
        workers().run(read, range(len(piece)))
        yield from (each for each in found if each is not None)
        if after is not None:
            after(len(piece))


def _read_into(pictures: Sequence[LabelledPicture], found: list[Finding | None], at: int) -> None:
    found[at] = _read(pictures[at])


def _read(picture: LabelledPicture) -> Finding | None:
    try:
        height, width = load_image(picture.path, 1).shape[1:]
    except DarknetError as error:
        return Finding("unreadable", error)
    if picture.size in (None, (width, height)):
        return None
    labelled = f"{picture.size[0]} x {picture.size[1]}" if picture.size else ""
    return Finding(
        "dimensions",
        DarknetError(
            "the picture has a different size from what its labels say",
            where=Where(file=picture.path),
            expected=labelled,
            found=f"{width} x {height}",
        ),
    )


def _counts(
    labelled: LabelledSet, boxes: Sequence[LabelledBox], sizes: F64
) -> Iterator[ClassCount]:
    numbers = np.array([box.number for box in boxes], np.int64)
    pictures = Counter(
        number for each in labelled.pictures for number in {box.number for box in each.boxes}
    )
    for number, name in enumerate(labelled.all_names):
        mine = sizes[numbers == number]
        width, height = np.median(mine, axis=0).tolist() if len(mine) else (None, None)
        yield ClassCount(number, name, len(mine), pictures[number], width, height)
