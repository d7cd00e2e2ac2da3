"""PASCAL VOC's XML: a file for each picture, with ``bndbox`` in pixels counted from 1.

The corners name pixels: the first pixel of a row is 1, and both corners belong to the box.  So a
box from ``xmin`` to ``xmax`` begins ``xmin - 1`` pixels from the left edge, ends ``xmax`` pixels
from it, and is ``xmax - xmin + 1`` pixels wide, as in VOC's own measure of overlap; 1 to the width
is the whole picture.  Darknet's ``voc_label.py`` makes boxes of ``xmax - xmin`` pixels, one less.
Some programs count from 0 and write edges, not pixels; ``first=0`` reads and writes that.

The files are in ``Annotations``, their pictures in ``JPEGImages``, and ``ImageSets/Main`` lists
which belong to which part; or all of it is in one folder, or in folders ``train``, ``valid``,
``test``.  Files name classes and do not number them: a ``.names`` file, ``classes.txt`` or CVAT's
``labelmap.txt`` in the folder says their order, else it is that of the alphabet.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from darknet_bn.data.layouts.base import (
    SUFFIXES,
    BoxReader,
    Finding,
    LabelledBox,
    LabelledPicture,
    LabelledSet,
    first_there,
    missing_labels,
    missing_picture,
    pictures_in,
    set_part,
)
from darknet_bn.data.layouts.coco import size_of_file
from darknet_bn.data.layouts.xml_file import load_xml
from darknet_bn.data.lists import similar_picture
from darknet_bn.errors import DarknetError, Where, quoted
from darknet_bn.formats.names import load_names, read_lines

FIRST = 1
"""The number of the first pixel in VOC's files."""
_MOST_BYTES = 16 << 20
_SETS = (
    *(("train", "train"), ("trainval", "train"), ("default", "train")),
    *(("val", "valid"), ("valid", "valid"), ("test", "test")),
)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocFolder:
    """Where the files of a part are.

    Attributes
    ----------
    annotations, pictures : Path
    part : str
    stems : tuple of str or None
        Which files; None for all.
    """

    annotations: Path
    pictures: Path
    part: str
    stems: tuple[str, ...] | None = None


def folders_of(place: Path) -> list[VocFolder]:
    """Return the parts of a folder of VOC; empty if it is not one."""
    annotations = place / "Annotations"
    if annotations.is_dir():
        pictures = first_there((place / "JPEGImages", place / "images"), os.path.isdir) or place
        sets = [
            (place / "ImageSets" / "Main" / f"{name}.txt", part)
            for name, part in _SETS
        ]  # fmt: skip
        chosen = {part: file for file, part in reversed(sets) if file.is_file()}
        if not chosen:
            return [VocFolder(annotations, pictures, "train")]
        return [
            VocFolder(annotations, pictures, part, tuple(_stems(chosen[part])))
            for part in ("train", "valid", "test")
            if part in chosen
        ]
    parts = (("train", "train"), ("valid", "valid"), ("val", "valid"), ("test", "test"))
    found = [VocFolder(place / name, place / name, part) for name, part in parts]
    return [each for each in (*found, VocFolder(place, place, "train")) if _has_xml(each)]


def _has_xml(folder: VocFolder) -> bool:
    return any(folder.annotations.glob("*.xml"))


def _stems(file: Path) -> Iterator[str]:
    for line in read_lines(file, _MOST_BYTES):
        words = line.split()  # a second word would say whether a class is in it
        if words:
            yield words[0]


def read_voc(place: Path, *, first: int = FIRST) -> LabelledSet:
    """Read a folder.

    Parameters
    ----------
    place : Path
    first : 1 or 0
        The number of the first pixel: see above.
    """
    findings: list[Finding] = []
    read: list[tuple[_File, VocFolder]] = []
    seen: set[Path] = set()
    folders = folders_of(place)
    for folder in folders:
        start = len(findings)
        for path in _files(folder, findings):
            if path not in seen:
                seen.add(path)
                try:
                    read.append((_File(path), folder))
                except DarknetError as error:
                    findings.append(Finding("file", error))
        if folder.stems is None:
            findings += _without_labels(folder, seen)
        set_part(findings, start, folder.part)
    names, notes = _names(place, [each for each, _ in read])
    numbers = {name: number for number, name in reversed(list(enumerate(names)))}
    pictures = []
    for each, folder in read:
        start = len(findings)
        pictures.append(each.picture(folder, numbers, findings, first))
        set_part(findings, start, folder.part)
    if first == FIRST and any(each.counts_from_zero for each, _ in read):
        notes.append("a corner is at 0, so these files may count pixels from 0")
    return LabelledSet(
        "PASCAL VOC", str(place), names, tuple(pictures), tuple(findings), tuple(notes)
    )


def _files(folder: VocFolder, findings: list[Finding]) -> Iterator[Path]:
    if folder.stems is None:
        yield from sorted(folder.annotations.glob("*.xml"))
        return
    for stem in folder.stems:
        path = Path(os.path.normpath(folder.annotations / f"{stem}.xml"))
        if os.path.isfile(path) and path.is_relative_to(os.path.normpath(folder.annotations)):
            yield path
        else:
            findings.append(missing_labels(str(folder.pictures / stem), str(path)))


def _without_labels(folder: VocFolder, seen: set[Path]) -> Iterator[Finding]:
    for picture in pictures_in(folder.pictures):
        path = folder.annotations / f"{picture.stem}.xml"
        if path not in seen:
            yield missing_labels(str(picture), str(path))


def _names(place: Path, files: list[_File]) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of classes in the order that a file says, and what to tell of it."""
    used = {name for each in files for name in each.names}
    label_map = place / "labelmap.txt"
    known: tuple[str, ...] = ()
    if label_map.is_file():
        lines = (line.partition(":")[0].strip() for line in read_lines(label_map))
        known = tuple(each for each in lines if each and not each.startswith("#"))
        if "background" not in used:
            known = tuple(each for each in known if each != "background")
    else:
        candidates = [place / "classes.txt", *sorted(place.glob("*.names"))]
        file = first_there(candidates, os.path.isfile)
        known = () if file is None else load_names(file)
    if known:
        return known, []
    return tuple(sorted(used)), ["classes are numbered in the order of the alphabet"]


class _File:
    """One XML file: its boxes by name, before the classes have numbers."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._root = load_xml(path, "annotation", _MOST_BYTES, "an annotation of VOC")
        self._objects = self._root.findall("object")
        self.names = {name for each in self._objects if (name := _text(each, "name"))}

    @property
    def counts_from_zero(self) -> bool:
        """Whether a corner is at 0."""
        return any(
            _number(each.findtext(f"bndbox/{corner}")) == 0
            for each in self._objects
            for corner in _CORNERS[:2]
        )

    def picture(
        self, folder: VocFolder, numbers: Mapping[str, int], findings: list[Finding], first: int
    ) -> LabelledPicture:
        """Return the picture with its boxes."""
        stem = Path(self.path).stem
        named = (_text(self._root, "filename") or "").replace("\\", "/").rpartition("/")[2]
        tries = [folder.pictures / named] if named else []
        tries += [folder.pictures / f"{stem}{suffix}" for suffix in SUFFIXES]
        path = first_there(tries, os.path.isfile)
        similar = None if path is not None else similar_picture(tries[0])
        if similar is not None:
            path = Path(similar)
        if path is None:
            path = tries[0]
            findings.append(missing_picture(str(path), Where(file=self.path)))
        size = self._size() or size_of_file(str(path))
        reader = BoxReader(findings, len(numbers))
        for at, each in enumerate(self._objects, start=1):
            key = f"object {at}"
            where = Where(file=self.path, key=key)
            name = _text(each, "name")
            corners = [_number(each.findtext(f"bndbox/{corner}")) for corner in _CORNERS]
            sides = [corner for corner in corners if corner is not None]
            if len(sides) < 4:
                reader.refuse(
                    "line", "not a box", where, "bndbox with xmin, ymin, xmax, ymax", None
                )
            elif name is None or name not in numbers:
                problem = "the class is not among the names"
                reader.refuse("class", problem, where, None, quoted(name or ""))
            elif size is None:
                reader.refuse(
                    "dimensions", "the picture has no width and height", where, None, None
                )
            else:
                left, top, right, bottom = sides[0] - first, sides[1] - first, sides[2], sides[3]
                middle = (left + right) / 2 / size[0], (top + bottom) / 2 / size[1]
                w, h = (right - left) / size[0], (bottom - top) / size[1]
                mark = "difficult" if _text(each, "difficult") == "1" else ""
                reader.add(LabelledBox(*middle, w, h, numbers[name], mark, None, key), where)
        boxes = tuple(reader.boxes)
        return LabelledPicture(str(path), path.name, folder.part, boxes, self.path, self._size())

    def _size(self) -> tuple[int, int] | None:
        width, height = (_number(self._root.findtext(f"size/{k}")) for k in ("width", "height"))
        if width is None or height is None or min(width, height) < 1:
            return None
        whole = width.is_integer() and height.is_integer() and max(width, height) < 1 << 24
        return (int(width), int(height)) if whole else None


def _text(element: ElementTree.Element, tag: str) -> str | None:
    text = element.findtext(tag)
    return text.strip() if text else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e9 and "_" not in (text or "") else None
