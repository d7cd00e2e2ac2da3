"""Darknet's own files: a ``.data`` file with lists, and the folders that do without one.

All have a label file for each picture, with lines ``class x y w h``:

- a ``.data`` file names lists of pictures and a file of class names, as in CVAT's "YOLO 1.1", where
  these names begin with ``data/`` whatever the folder is called;
- FiftyOne's "YOLOv4" has ``obj.names``, ``images.txt`` and the folder ``data``, and no ``.data``;
- Roboflow's "YOLO Darknet" has folders ``train``, ``valid``, ``test`` with ``_darknet.labels``;
- others have pictures with label files next to them, or in ``images`` and ``labels``, and
  ``classes.txt`` or a ``.names`` file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from darknet_bn.data.labels import label_path, other_label_paths
from darknet_bn.data.layouts.base import (
    ANY_CLASS,
    MOST_NAMES,
    Finding,
    LabelledPicture,
    LabelledSet,
    common_folder,
    missing_labels,
    name_within,
    pictures_in,
    set_part,
    wrong_count,
)
from darknet_bn.data.layouts.text import read_boxes, without_pictures
from darknet_bn.data.lists import ListEntry, read_list
from darknet_bn.dialect import PJREDDIE
from darknet_bn.errors import DarknetError, Where
from darknet_bn.formats.names import Data, load_data, load_names

ROBOFLOW_NAMES = "_darknet.labels"
_KEYS = (("train", "train"), ("valid", "valid"), ("test", "test"))
_NAMES = ("classes.txt", "obj.names", ROBOFLOW_NAMES)


def read_data_file(path: str) -> LabelledSet:
    """Read the set of a ``.data`` file."""
    data = load_data(path)
    names = () if data.names is None else load_names(data.names)
    notes = wrong_count("classes", data.classes, names)
    if not names and data.classes is not None and data.classes <= MOST_NAMES:
        names = ("",) * data.classes
    lists: dict[str, tuple[str, str]] = {}  # one list may be both train and valid
    for key, part in _KEYS:
        if key in data.options:
            lists.setdefault(data.path(key) or "", (key, part))
    keys = list(lists.values())
    if not keys:
        raise DarknetError(
            "the file names no list of pictures",
            where=Where(file=path),
            expected="train=LIST or valid=LIST",
        )
    return _of_lists("Darknet", path, names, data, keys, notes)


def read_fiftyone(folder: Path) -> LabelledSet:
    """Read a folder of FiftyOne's "YOLOv4": ``obj.names``, ``images.txt`` and ``data``."""
    data = Data({"train": "images.txt"}, str(folder / "images.txt"))
    names = load_names(folder / "obj.names")
    return _of_lists("FiftyOne YOLOv4", str(folder), names, data, [("train", "train")])


def _of_lists(
    layout: str,
    place: str,
    names: tuple[str, ...],
    data: Data,
    keys: Sequence[tuple[str, str]],
    notes: tuple[str, ...] = (),
) -> LabelledSet:
    findings: list[Finding] = []
    pictures: list[LabelledPicture] = []
    classes = len(names) or ANY_CLASS
    told: set[str] = set()
    for key, part in keys:
        start = len(findings)
        entries, missing = read_list(data, key)
        findings += [Finding("picture", each) for each in missing]
        root = common_folder([entry.path for entry in entries])
        for entry in entries:
            if entry.path in told:
                error = DarknetError("the picture is listed twice", where=entry.where)
                findings.append(Finding("twice", error))
                continue
            told.add(entry.path)
            labels = _labels_of(entry, findings)
            boxes = () if labels is None else read_boxes(labels, classes, findings)
            name = name_within(entry.path, root)
            pictures.append(LabelledPicture(entry.path, name, part, boxes, labels))
        set_part(findings, start, part)
    return LabelledSet(layout, place, names, tuple(pictures), tuple(findings), notes)


def _labels_of(entry: ListEntry, findings: list[Finding]) -> str | None:
    """Return the label file of a picture, where any of the programs looks for it."""
    ways = (label_path(entry.text, PJREDDIE), *other_label_paths(entry.text, PJREDDIE))
    places = [each for each in dict.fromkeys(map(entry.beside, ways)) if each != entry.path]
    found = next(filter(os.path.isfile, places), None)
    if found is None:
        findings.append(missing_labels(entry.path, places[0]))
    return found


def read_side_by_side(
    layout: str, place: str, folders: Iterable[tuple[str, Path]], names_file: Path | None
) -> LabelledSet:
    """Read folders of pictures with their label files next to them, or in ``labels``.

    Parameters
    ----------
    layout, place : str
    folders : iterable of (part, folder)
    names_file : Path or None
        The names of classes, one per line.
    """
    names = () if names_file is None else load_names(names_file)
    findings: list[Finding] = []
    pictures: list[LabelledPicture] = []
    for part, folder in folders:
        start = len(findings)
        expected: list[str] = []
        for path in pictures_in(folder):
            label = path.with_suffix(".txt")
            if folder.name == "images" and not label.is_file():
                label = folder.with_name("labels") / label.name
            expected.append(str(label))
            there = str(label) if label.is_file() else None
            if there is None:
                findings.append(missing_labels(str(path), str(label)))
            classes = len(names) or ANY_CLASS
            boxes = () if there is None else read_boxes(there, classes, findings)
            pictures.append(LabelledPicture(str(path), path.name, part, boxes, there))
        beside = [folder.with_name("labels")] if folder.name == "images" else []
        findings += without_pictures(expected, beside)
        set_part(findings, start, part)
    return LabelledSet(layout, place, names, tuple(pictures), tuple(findings))


def names_in(folder: Path) -> Path | None:
    """Return the file in a folder that names the classes; None if there is none."""
    known = next((folder / each for each in _NAMES if (folder / each).is_file()), None)
    others = sorted(folder.glob("*.names"))
    return known or (others[0] if len(others) == 1 else None)
