"""Label files: the boxes of a picture, one a line, ``class x y w h``.

The class is a number from 0; the centre x y and the size w h are shares of the picture's width and
height.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import DarknetError, Where
from darknet_bn.names import read_lines

_LINE = "class x y w h"
_CLASS = re.compile(r"[0-9]{1,9}")


class Labels(NamedTuple):
    """What a label file says.

    Attributes
    ----------
    boxes : float32 array (boxes, 5)
        x, y, w, h and class of each.
    oddities : tuple of str
        What is wrong with each of the boxes that were left out, and where it stands.
    """

    boxes: F32
    oddities: tuple[str, ...] = ()


def label_path(picture: str, dialect: Dialect) -> str:
    """Return the path of the label file of a picture.

    Parameters
    ----------
    picture : str
        Its path, as a list of pictures has it.
    dialect : Dialect
        pjreddie's Darknet has labels in a folder ``labels`` instead of ``images``, ``JPEGImages``
        or ``raw``; AlexeyAB's has that for the folders of VOC and COCO, and else has labels beside
        their pictures, as hank-ai's always.

    Notes
    -----
    C: ``fill_truth_detection`` in pjreddie's ``src/data.c``, ``replace_image_to_label`` in
    AlexeyAB's ``src/utils.c``.  Any suffix becomes ``.txt``, in C a few only.
    """
    for folder, instead in dialect.label_folders:
        picture = picture.replace(folder, instead, 1)
    return os.fspath(PurePath(picture).with_suffix(".txt"))


def read_labels(
    path: str | os.PathLike[str], classes: int, *, strict: bool = True, class_only: bool = False
) -> Labels:
    """Read the boxes of a picture.

    Parameters
    ----------
    path : path
    classes : int
        How many classes there are.
    strict : bool
        Whether a class that there is not is an error, or an oddity.
    class_only : bool
        Whether a box at 0 0 says that the class is somewhere in the picture.

    Returns
    -------
    labels : Labels
        Without boxes that have no size, or lie outside of the picture altogether.

    Raises
    ------
    DarknetError
        The file cannot be read, or a line is not what it must be.

    Notes
    -----
    C: ``read_boxes`` in ``src/data.c``, which stops at what is no number.
    """
    boxes: list[tuple[float, ...]] = []
    oddities: list[str] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        where = Where(file=os.fspath(path), line=number)
        box = _box(line, where)
        problem = None
        if box[4] >= classes:
            problem = f"there is no class {box[4]:.0f}"
            if strict:
                raise DarknetError(problem, where=where, expected=f"0 to {classes - 1}")
        elif box[:2] != (0, 0):
            problem = _misplaced(*box[:4])
        elif not class_only:
            problem = "the box is at 0 0"
        if problem is None:
            boxes.append(box)
        else:
            oddities.append(f"{where}: {problem}")
    return Labels(np.array(boxes, np.float32).reshape(-1, 5), tuple(oddities))


def _box(line: str, where: Where) -> tuple[float, float, float, float, float]:
    words = line.split()
    try:
        if len(words) != 5 or not _CLASS.fullmatch(words[0]) or "_" in line:
            raise ValueError
        x, y, w, h = map(float, words[1:])
        if not math.isfinite(x + y + w + h):
            raise ValueError
    except ValueError:
        raise DarknetError(
            "this is no box", where=where, expected=_LINE, found=repr(line[:60])
        ) from None
    return x, y, w, h, float(words[0])


def _misplaced(x: float, y: float, w: float, h: float) -> str | None:
    if w <= 0 or h <= 0:
        return "the box has no size"
    if x + w / 2 <= 0 or y + h / 2 <= 0 or x - w / 2 >= 1 or y - h / 2 >= 1:
        return f"the box at {x:g} {y:g} of size {w:g} {h:g} is outside of the picture"
    return None
