"""Label files: where they are, and what they say.

The label file of a picture has one box per line, ``class x y w h``.  The class is a number from 0;
the centre x y and the size w h are relative to the picture's width and height.  They are at most
10,000, so that they are exact enough in float32, and a file has at most 20,000 boxes: the most
crowded pictures of published data sets have some 3,000.

Each program makes the path of the label file from the path of the picture: it replaces a folder,
such as ``images`` by ``labels``, and the suffix by ``.txt``.  pjreddie's replaces these texts
anywhere in the path, and looks for ``stlabelsberry.txt`` next to ``strawberry.jpg``.  Here only
whole folders are replaced, and the suffix at the end.  If there is no such file, the file is read
that the program itself would read, or that another program would.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import ALEXEYAB, PJREDDIE, Dialect
from darknet_bn.errors import DarknetError, Where
from darknet_bn.formats.names import read_lines

_LINE = "class x y w h"
MOST_BOXES = 20_000
"""How many boxes a picture may have."""
LARGEST = 10_000.0
"""The largest x, y, w and h allowed."""
_CLASS = re.compile(r"[0-9]{1,9}")
_SEPARATOR = re.compile(r"([/\\])")
_SUFFIX = re.compile(r"\.[^./\\]*$")


class Oddity(NamedTuple):
    """Why a box is impossible.

    Attributes
    ----------
    kind : str
        One word: ``class``, ``far``, ``zero``, ``size`` or ``outside``.
    problem : str
    expected, found : str or None
    """

    kind: str
    problem: str
    expected: str | None = None
    found: str | None = None


class Labels(NamedTuple):
    """The content of a label file.

    Attributes
    ----------
    boxes : float32 array (boxes, 5)
        x, y, w, h and class of each valid box.
    impossible : tuple of DarknetError
        One error for each box that is impossible, such as one outside the picture.
    malformed : tuple of DarknetError
        One error for each line that is not a box.
    """

    boxes: F32
    impossible: tuple[DarknetError, ...] = ()
    malformed: tuple[DarknetError, ...] = ()


def label_path(picture: str, dialect: Dialect) -> str:
    """Return the path of a picture's label file, by the rule of a dialect.

    Parameters
    ----------
    picture : str
        The picture's path, as in a list of pictures.
    dialect : Dialect
        pjreddie's Darknet has labels in a folder ``labels`` instead of ``images``, ``JPEGImages``
        or ``raw``; AlexeyAB's does so for the folders of VOC and COCO and otherwise has labels next
        to the pictures, as hank-ai's always does.

    Notes
    -----
    C: ``fill_truth_detection`` in pjreddie's ``src/data.c``, ``replace_image_to_label`` in
    AlexeyAB's ``src/utils.c``.  Only whole folders are replaced here, and any suffix at the end.
    """
    return _with_txt(_moved(picture, dialect.label_folders))


def program_label_path(picture: str, dialect: Dialect) -> str:
    """Return the path that the program itself makes, which replaces parts of words too."""
    for folder, instead in dialect.label_folders:
        picture = picture.replace(folder, instead, 1)
    for suffix in dialect.label_suffixes:
        picture = picture.replace(suffix, ".txt", 1)
    return picture if dialect.label_suffixes else _with_txt(picture)


def other_label_paths(picture: str, dialect: Dialect) -> tuple[str, ...]:
    """Return where else the label file of a picture may be.

    These places are, in this order: next to the picture; where other programs look; the path with
    only the last of the folders ``images``, ``JPEGImages`` and ``raw`` replaced, for data sets
    below a folder of such a name; and each of the first two with the whole name before ``.txt``, as
    ``a.png.txt``.
    """
    last = _last_moved(picture, {folder for folder, _ in PJREDDIE.label_folders})
    whole = [_moved(picture, each.label_folders) for each in (dialect, PJREDDIE, ALEXEYAB)]
    paths = [*map(_with_txt, (picture, *whole[1:], last)), *(f"{each}.txt" for each in whole)]
    known = {picture, label_path(picture, dialect), program_label_path(picture, dialect)}
    return tuple(path for path in dict.fromkeys([*paths, f"{picture}.txt"]) if path not in known)


def _moved(picture: str, folders: Iterable[tuple[str, str]]) -> str:
    """Return a path with folders replaced, each at its first occurrence.

    A name that begins with a slash must be inside another folder.
    """
    parts = _SEPARATOR.split(picture)  # every second part is a separator, the last is a file
    for folder, instead in folders:
        old, new = (re.findall(r"[^/\\]+", each) for each in (folder, instead))
        names = parts[:-1:2]
        for at in range(folder.startswith("/"), len(names) - len(old) + 1):
            if names[at : at + len(old)] == old:
                parts[2 * at : 2 * (at + len(old)) - 1 : 2] = new
                break
    return "".join(parts)


def _last_moved(picture: str, folders: Iterable[str]) -> str:
    parts = _SEPARATOR.split(picture)
    for at in range(len(parts) - 3, -1, -2):
        if parts[at] in folders:
            parts[at] = "labels"
            break
    return "".join(parts)


def _with_txt(path: str) -> str:
    return f"{_SUFFIX.sub('', path)}.txt"


def read_labels(path: str | os.PathLike[str], classes: int, *, class_only: bool = False) -> Labels:
    """Read the boxes of a picture.

    Parameters
    ----------
    path : path
    classes : int
        How many classes there are.
    class_only : bool
        Whether a box at 0 0 means that the class is somewhere in the picture.

    Returns
    -------
    labels : Labels
        The labels, with an error for every line that is not a box or not a possible one.

    Raises
    ------
    DarknetError
        The file cannot be read.

    Notes
    -----
    C: ``read_boxes`` in ``src/data.c``, which stops silently at the first line that is not a box.
    A class that does not exist is an index outside the array in pjreddie's program; AlexeyAB's
    prints a message and continues without the box.
    """
    boxes: list[tuple[float, ...]] = []
    impossible: list[DarknetError] = []
    malformed: list[DarknetError] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        where = Where(file=os.fspath(path), line=number)
        if len(boxes) + len(impossible) + len(malformed) >= MOST_BOXES:
            raise DarknetError(
                "there are too many boxes", where=where, expected=f"at most {MOST_BOXES}"
            )
        box = box_of(line)
        if box is None:
            malformed.append(
                DarknetError("not a box", where=where, expected=_LINE, found=repr(line[:60]))
            )
            continue
        problem = _problem(box, classes, where, class_only=class_only)
        if problem is None:
            boxes.append(box)
        else:
            impossible.append(problem)
    rows = np.array(boxes, np.float32).reshape(-1, 5)
    return Labels(rows, tuple(impossible), tuple(malformed))


def box_of(line: str) -> tuple[float, float, float, float, float] | None:
    """Return x, y, w, h and class; None if the line is not a box."""
    words = line.split()
    if len(words) != 5 or not _CLASS.fullmatch(words[0]) or "_" in line:
        return None
    try:
        x, y, w, h = map(float, words[1:])
    except ValueError:
        return None
    return (x, y, w, h, float(words[0])) if math.isfinite(x + y + w + h) else None


def _problem(
    box: tuple[float, float, float, float, float], classes: int, where: Where, *, class_only: bool
) -> DarknetError | None:
    """Return why a box is impossible; None if it is possible."""
    odd = oddity_of(box, classes, class_only=class_only)
    if odd is None:
        return None
    return DarknetError(odd.problem, where=where, expected=odd.expected, found=odd.found)


def oddity_of(
    box: tuple[float, float, float, float, float], classes: int, *, class_only: bool = False
) -> Oddity | None:
    """Return why a box is impossible; None if it is possible.

    Parameters
    ----------
    box : (x, y, w, h, class)
    classes, class_only : int, bool
        As in `read_labels`.
    """
    x, y, w, h, kind = box
    if kind >= classes:
        expected = f"0 to {classes - 1}" if classes > 1 else "0, the only one"
        return Oddity("class", f"there is no class {kind:.0f}", expected)
    if max(abs(x), abs(y), w, h) > LARGEST:
        sizes = f"{x:g} {y:g} {w:g} {h:g}"
        return Oddity("far", "the box is far outside the picture", f"at most {LARGEST:g}", sizes)
    if (x, y) == (0, 0):
        return None if class_only else Oddity("zero", "the box is at 0 0")
    if w <= 0 or h <= 0:
        return Oddity("size", "the box has no size", found=f"{w:g} x {h:g}")
    if x + w / 2 <= 0 or y + h / 2 <= 0 or x - w / 2 >= 1 or y - h / 2 >= 1:
        return Oddity(
            "outside",
            "the box is outside the picture",
            "x y w h as shares of the picture, 0 to 1",
            f"{x:g} {y:g} {w:g} {h:g}",
        )
    return None
