"""The labels of a list of pictures: find and read them all, and report every odd one."""

from __future__ import annotations

import filecmp
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data.base import many
from darknet_bn.data.labels import (
    Labels,
    label_path,
    other_label_paths,
    program_label_path,
    read_labels,
)
from darknet_bn.data.lists import ListEntry
from darknet_bn.data.truth import BoxTruth
from darknet_bn.dialect import Dialect
from darknet_bn.errors import DarknetError, DarknetWarning, DataError, DataWarning, Where
from darknet_bn.formats.names import Data

NO_BOXES: F32 = np.zeros((0, 5), np.float32)
NO_BOXES.flags.writeable = False
_MOST_NAMES = 3  # files that a message names
_OTHERS = (".xml", ".json")  # labels of other programs


class PictureLabels(NamedTuple):
    """The content of the label files of a list of pictures.

    Attributes
    ----------
    boxes : list of float32 arrays (boxes, 5)
        x, y, w, h and class of each box of each picture.
    left_out : tuple of DarknetError
        One error for each box that is impossible and ignored.
    without : tuple of str
        The pictures that have no label file.
    """

    boxes: list[F32]
    left_out: tuple[DarknetError, ...]
    without: tuple[str, ...]


def load_labels(entries: Sequence[ListEntry], truth: BoxTruth, data: Data) -> PictureLabels:
    """Read the labels of all pictures of a list, the same way in every dialect.

    Parameters
    ----------
    entries : sequence of ListEntry
    truth : BoxTruth
        Gives the head and the dialect.
    data : Data
        Gives the number of classes.

    Raises
    ------
    DarknetError
        No picture has a label file.
    DataError
        Lines are not boxes, or no box is valid; it holds an error for every odd line.

    Warns
    -----
    DataWarning
        Boxes are impossible and ignored.
    DarknetWarning
        Pictures have no label file, and so no objects; or their label file is not where the program
        looks; there are more boxes, or different classes, than the network has.
    """
    paths = _Search(truth.dialect, entries).paths()
    class_only = truth.dialect.places_pictures and truth.head.tree is not None
    boxes: list[F32] = []
    problems: dict[str, DarknetError] = {}  # keyed by place: a picture may be listed twice
    refused = False
    for path in paths:
        labels = Labels(NO_BOXES)
        if path is not None:
            labels = _read(path, truth.head.classes, class_only=class_only)
        boxes.append(labels.boxes)
        odd = sorted((*labels.impossible, *labels.malformed), key=lambda each: each.where.line or 0)
        problems.update((str(each.where), each) for each in odd)
        refused = refused or bool(labels.malformed)
    name = entries[0].where.file
    left_out = tuple(problems.values())
    if refused or (left_out and not any(map(len, boxes))):
        what = f"{len(left_out)} lines of label files cannot be used"
        raise DataError(what, left_out, where=Where(file=name))
    if left_out:
        _warn_of_left_out(left_out, name)
    _warn_of_counts(boxes, truth, data, name)
    without = [one.path for one, path in zip(entries, paths, strict=True) if path is None]
    return PictureLabels(boxes, left_out, tuple(dict.fromkeys(without)))


def _read(path: str, classes: int, *, class_only: bool) -> Labels:
    """Read a label file; a file that cannot be read counts as a line that is not a box."""
    try:
        return read_labels(path, classes, class_only=class_only)
    except DarknetError as error:
        return Labels(NO_BOXES, malformed=(error,))


class _Search:
    """Finds the label file of each picture of a list, and warns of what is odd about them."""

    def __init__(self, dialect: Dialect, entries: Sequence[ListEntry]) -> None:
        self._dialect = dialect
        self._entries = entries
        self._elsewhere: list[tuple[str, str]] = []  # the file read, and where the program looks
        self._differing: list[tuple[str, str]] = []  # the file read, and what the program reads

    def paths(self) -> list[str | None]:
        """Return the path of each label file; None if there is none."""
        found = [self._path(entry) for entry in self._entries]
        without = [one for one, path in zip(self._entries, found, strict=True) if path is None]
        if len(without) == len(self._entries):
            raise self._missing(without[0])
        if without:
            self._warn(
                len(without),
                f"no label file and count{'s' * (len(without) == 1)} as having no objects: "
                f"{_some([entry.path for entry in without])} "
                f"(looked for {' or '.join(self._places(without[0])[:_MOST_NAMES])})",
            )
        if self._elsewhere:
            path, own = self._elsewhere[0]
            self._warn(
                len(self._elsewhere),
                f"labels where {self._dialect.program} does not look: using {path}, not {own}",
            )
        if self._differing:
            path, other = self._differing[0]
            self._warn(
                len(self._differing),
                f"two label files that differ: {path} is used here, {self._dialect.program} uses "
                f"{other}",
            )
        return found

    def _places(self, entry: ListEntry) -> list[str]:
        """Return where the labels of a picture may be, the best place first."""
        ways = (
            label_path(entry.text, self._dialect),
            program_label_path(entry.text, self._dialect),
            *other_label_paths(entry.text, self._dialect),
        )
        return [path for path in dict.fromkeys(map(entry.beside, ways)) if path != entry.path]

    def _path(self, entry: ListEntry) -> str | None:
        """Return the path of a label file, and note what is odd about it."""
        own = entry.beside(label_path(entry.text, self._dialect))
        program = entry.beside(program_label_path(entry.text, self._dialect))
        if os.path.isfile(own):
            apart = program not in (own, entry.path) and os.path.isfile(program)
            if apart and not _equal(own, program):
                self._differing.append((own, program))
            return own
        found = next(filter(os.path.isfile, self._places(entry)), None)
        if found is not None and found != program:
            self._elsewhere.append((found, own))
        return found

    def _warn(self, count: int, what: str) -> None:
        name, total = self._entries[0].where.file, many(len(self._entries), "picture")
        _warn(f"{name}: {count} of {total} {'has' if count == 1 else 'have'} {what}")

    def _missing(self, entry: ListEntry) -> DarknetError:
        """Return the error for a list in which no picture has labels."""
        count = len(self._entries)
        stem = Path(entry.path)
        other = next((each for each in _OTHERS if stem.with_suffix(each).is_file()), None)
        found = None if other is None else f"{stem.with_suffix(other)}"
        hint = "each line is 'class x y w h'; an empty file means no objects"
        if other is not None:
            hint = "give the folder of these labels instead of the list, or convert them"
        return DarknetError(
            "no picture has a label file" if count > 1 else "the picture has no label file",
            where=entry.where,
            expected=" or ".join(self._places(entry)[:_MOST_NAMES]),
            found=found,
            hint=hint,
        )


def _equal(one: str, other: str) -> bool:
    return filecmp.cmp(one, other, shallow=False)


def _warn_of_left_out(problems: Sequence[DarknetError], name: str | None) -> None:
    if len(problems) == 1:
        text = f"{problems[0]}; the box is ignored"
    else:
        text = f"{name}: {len(problems)} boxes are ignored; the first: {problems[0]}"
    warnings.warn(DataWarning(text, problems), stacklevel=6)


def _warn_of_counts(boxes: Sequence[F32], truth: BoxTruth, data: Data, name: str | None) -> None:
    room, full = truth.room, max(map(len, boxes))
    if room is not None and full > room:
        _warn(f"{name}: a picture has {full} boxes; only max={room} of them are used at a time")
    classes = data.classes
    if classes is not None and classes != truth.head.classes:
        place = Where(file=data.file, key="classes")
        _warn(f"{place}: the network has {many(truth.head.classes, 'class')}, not {classes}")


def _some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _warn(text: str) -> None:
    warnings.warn(text, DarknetWarning, stacklevel=6)
