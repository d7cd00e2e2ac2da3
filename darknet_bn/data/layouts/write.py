"""Write a set of pictures with boxes in a layout: all of its files appear, or none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from darknet_bn.data.layouts.base import MARKED, LabelledPicture, LabelledSet
from darknet_bn.data.layouts.voc import FIRST
from darknet_bn.data.layouts.writers import WRITERS, Files
from darknet_bn.errors import DarknetError, Where, quoted
from darknet_bn.formats.folders import Linked, Original, require_new_folder, write_folder
from darknet_bn.values import counted

TO = tuple(WRITERS)
"""The layouts that can be written."""
Pictures = Literal["copy", "link", "none"]
_ORIGINALS: dict[str, type[Original] | None] = {"copy": Original, "link": Linked, "none": None}


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    file : str
        The file that names the others.
    pictures, boxes, copied : int
        How many pictures and boxes the labels have, and how many pictures were copied.
    notes : tuple of str
        What was left out.
    """

    file: str
    pictures: int
    boxes: int
    copied: int
    notes: tuple[str, ...]


def write_set(
    labelled: LabelledSet,
    folder: str | os.PathLike[str],
    to: str,
    *,
    pictures: Pictures = "copy",
    first: int = FIRST,
) -> Written:
    """Write a set in a layout.

    Parameters
    ----------
    labelled : LabelledSet
    folder : path
        It is new, or empty.
    to : "darknet", "coco", "voc" or "yolo"
    pictures : "copy", "link" or "none"
        Whether the pictures are copied into the folder; or get second names there, which takes no
        space; or stay where they are.
    first : 1 or 0
        The number of the first pixel in VOC's files.

    Raises
    ------
    DarknetError
        The folder has files, two pictures would have one name, or the layout cannot hold the set.
    DataError
        The sizes of pictures are needed and not known; it holds all of the errors.
    """
    if to not in WRITERS:
        raise DarknetError("unknown layout", expected=", ".join(TO), found=quoted(to))
    require_new_folder(folder)
    if not labelled.pictures:
        raise DarknetError("the set has no pictures", where=Where(file=labelled.place))
    out = Files(_ORIGINALS[pictures])
    chosen, notes = _named_apart(labelled.pictures), list[str]()
    if to in ("darknet", "yolo"):
        chosen, notes = _without_marked(chosen)
    elif to == "voc":
        notes = _crowds(chosen)
    key = WRITERS[to](labelled, chosen, out, first)
    write_folder(folder, out.files)
    boxes = sum(len(each.boxes) for each in chosen)
    return Written(str(Path(folder, key)), len(chosen), boxes, out.copied, tuple(notes))


def _named_apart(pictures: Sequence[LabelledPicture]) -> list[LabelledPicture]:
    """Return the pictures, of which no two of a part have one name without its suffix."""
    seen: dict[tuple[str, str], str] = {}
    for each in pictures:
        stem = (each.part, os.path.splitext(each.name)[0].casefold())
        other = seen.setdefault(stem, each.path)
        if other != each.path:
            raise DarknetError(
                "two pictures would have one label file",
                where=Where(file=each.path),
                found=other,
                hint="rename one of them",
            )
    return list(pictures)


def _without_marked(pictures: Sequence[LabelledPicture]) -> tuple[list[LabelledPicture], list[str]]:
    """Return the pictures without boxes that are marked, and a note for each mark."""
    counts = dict.fromkeys(MARKED, 0)
    kept = []
    for each in pictures:
        for box in each.boxes:
            if box.mark:
                counts[box.mark] += 1
        kept.append(replace(each, boxes=tuple(box for box in each.boxes if not box.mark)))
    notes = [
        f"{counted(count, 'box', 'boxes')} marked as {mark} left out"
        for mark, count in counts.items()
        if count
    ]
    return kept, notes


def _crowds(pictures: Sequence[LabelledPicture]) -> list[str]:
    count = sum(box.mark == "crowd" for each in pictures for box in each.boxes)
    return [f"{counted(count, 'crowd')} marked as difficult"] if count else []
