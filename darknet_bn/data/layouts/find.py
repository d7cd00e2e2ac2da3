"""Find out which layout a place has, and read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from darknet_bn.data.layouts import coco, cvat, darknet, voc, yolo
from darknet_bn.data.layouts.base import PARTS, LabelledSet, is_picture
from darknet_bn.errors import DarknetError, Where

EXPECTED = (
    "a .data, .yaml, COCO .json or CVAT .xml file, or a folder with one of them, with VOC's .xml "
    "files, or with pictures and label files"
)
"""What a place may be, for messages."""


@dataclass(frozen=True)
class Layout:
    """A layout that was found.

    Attributes
    ----------
    name : str
    file : str
        What shows it: a file or a folder.
    read : function
        Reads the set.
    """

    name: str
    file: str
    read: Callable[[], LabelledSet]


def find_layout(path: str | os.PathLike[str], *, first: int = voc.FIRST) -> Layout | None:
    """Find out which layout a place has.

    Parameters
    ----------
    path : path
        A file or a folder.
    first : 1 or 0
        The number of the first pixel in VOC's files.

    Returns
    -------
    layout : Layout or None
        None if it has none that is known.

    Raises
    ------
    DarknetError
        A folder has several.
    """
    place = Path(path)
    if not os.path.isdir(place):
        return _of_file(place) if os.path.isfile(place) else None
    try:
        found = _of_folder(place, first)
    except OSError as error:
        raise DarknetError("the folder cannot be read", where=Where(file=str(place))) from error
    if len(found) > 1:
        raise DarknetError(
            "the folder has labels in several layouts",
            where=Where(file=str(place)),
            found=" and ".join(f"{each.name} ({each.file})" for each in found),
            hint="name a file or a folder inside",
        )
    return found[0] if found else None


def read_set(
    path: str | os.PathLike[str], names: Sequence[str] | None = None, *, first: int = voc.FIRST
) -> LabelledSet:
    """Read a set of pictures with boxes in any layout that is known.

    Parameters
    ----------
    path : path
        A file or a folder.
    names : sequence of str, optional
        The class names in the order of their numbers; by default, as the set has them.
    first : 1 or 0
        The number of the first pixel in VOC's files.

    Raises
    ------
    DarknetError
        It has no layout that is known, or several; or a file cannot be read.
    """
    layout = find_layout(path, first=first)
    if layout is None:
        there = os.path.exists(path)
        problem = "this is not a set of pictures with labels" if there else "no such file or folder"
        raise DarknetError(problem, where=Where(file=os.fspath(path)), expected=EXPECTED)
    found = layout.read()
    return found if names is None else found.numbered_as(names)


def _of_file(file: Path) -> Layout | None:
    name, suffix = str(file), file.suffix.lower()
    if suffix == ".data":
        return Layout("Darknet", name, lambda: darknet.read_data_file(name))
    if suffix in (".yaml", ".yml"):
        return Layout("Ultralytics", name, lambda: yolo.read_yolo(name))
    if suffix == ".xml" and cvat.is_cvat(file):
        return Layout("CVAT", name, lambda: cvat.read_cvat(file, name))
    if suffix == ".json":
        return Layout("COCO", name, lambda: coco.read_coco([file], name))
    return None


def _of_folder(place: Path, first: int) -> list[Layout]:
    """Return every layout that a folder has."""
    files = sorted(each for each in place.iterdir() if each.is_file())
    found = [
        layout
        for each in files
        if each.suffix.lower() in (".data", ".yaml", ".yml")
        and (layout := _of_file(each)) is not None
    ]
    if found:
        return found
    fiftyone = place / "images.txt"
    if fiftyone.is_file() and (place / "obj.names").is_file():
        return [
            Layout("FiftyOne YOLOv4", str(fiftyone), lambda: darknet.read_fiftyone(place))
        ]  # fmt: skip
    own = cvat.file_of(place)
    if own is not None:
        return [Layout("CVAT", str(own), lambda: cvat.read_cvat(own, str(place)))]
    annotations = coco.files_of(place)
    if annotations:
        found.append(
            Layout("COCO", str(annotations[0]), lambda: coco.read_coco(annotations, str(place)))
        )
    folders = [each for each in voc.folders_of(place) if any(each.annotations.glob("*.xml"))]
    if folders:
        file = str(folders[0].annotations)
        found.append(Layout("PASCAL VOC", file, lambda: voc.read_voc(place, first=first)))
    return found or _side_by_side(place)


def _side_by_side(place: Path) -> list[Layout]:
    parts = [(part, place / part) for part in PARTS if (place / part).is_dir()]
    names = _first_names([place, *(folder for _, folder in parts)])
    folders = parts if any(map(_has_both, (folder for _, folder in parts))) else []
    inner = place / "images"
    if not folders and _has_both(place):
        folders = [("train", place)]
    if not folders and inner.is_dir() and (place / "labels").is_dir():
        folders = [("train", inner)]
    if not folders:
        return []
    roboflow = names is not None and names.name == darknet.ROBOFLOW_NAMES
    name = "Roboflow YOLO Darknet" if roboflow else "pictures with label files"
    return [
        Layout(
            name, str(place), lambda: darknet.read_side_by_side(name, str(place), folders, names)
        )
    ]


def _first_names(folders: Sequence[Path]) -> Path | None:
    return next((found for each in folders if (found := darknet.names_in(each))), None)


def _has_both(folder: Path) -> bool:
    """Return whether a folder has pictures with label files next to them."""
    return any(
        is_picture(each.name) and each.with_suffix(".txt").is_file() for each in folder.iterdir()
    )
