"""COCO's JSON: ``images``, ``categories`` and ``annotations`` with ``bbox`` left, top, w, h.

Category ids are any numbers, such as COCO's own 1 to 90 for 80 categories; classes are numbered
from 0 in the order of the ids.  ``bbox`` is in pixels from 0, with fractions.  An annotation
without it gets the box around the corners of its ``segmentation``.  ``iscrowd`` marks a box around
many.  Pictures are looked for next to the file, in ``images`` and ``data``, and in a folder that
has the name of the part, as in ``instances_val2017.json`` and ``val2017``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from darknet_bn.data.layouts.base import (
    BoxReader,
    Finding,
    LabelledBox,
    LabelledPicture,
    LabelledSet,
    first_there,
    leaves,
    missing_picture,
    set_part,
)
from darknet_bn.data.lists import similar_picture
from darknet_bn.errors import DarknetError, Where, quoted, shown
from darknet_bn.formats.reading import open_file, read_file

ROBOFLOW_FILE = "_annotations.coco.json"
_MOST_BYTES = 1 << 30  # COCO's own annotations of 118 000 pictures have 449 MB
_START = 1 << 16  # bytes that show what a file is
_MARK = b"\xef\xbb\xbf"  # with which some programs begin UTF-8
_MOST_IDS = 12  # digits that a message shows of an id
_SKIPPED = ("captions_", "image_info_", "person_keypoints_", "stuff_", "panoptic_")


def read_coco(files: Iterable[Path], place: str) -> LabelledSet:
    """Read one or several JSON files as one set.

    Raises
    ------
    DarknetError
        One is not what COCO's format says, or they have different categories.
    """
    readers = [_Reader(file) for file in files]
    first = readers[0]
    for each in readers[1:]:
        if each.categories != first.categories:
            raise DarknetError(
                "two files have different categories",
                where=Where(file=each.file),
                expected=f"the categories in {first.file}",
                hint="name one of the files instead of the folder",
            )
    pictures = [picture for each in readers for picture in each.pictures()]
    findings = [finding for each in readers for finding in each.findings]
    return LabelledSet(
        "COCO", place, first.names, tuple(pictures), tuple(findings), tuple(first.notes)
    )


def files_of(folder: Path) -> list[Path]:
    """Return the files of annotations in a folder, and in the usual folders inside."""
    places = [folder, folder / "annotations", *(folder / each for each in _PART_FOLDERS)]
    found = [
        each
        for place in places
        for each in sorted(place.glob("*.json"))
        if each.is_file() and not each.name.startswith(_SKIPPED)
    ]
    return [each for each in found if _may_be(each)]


_PART_FOLDERS = ("train", "valid", "val", "test")


def _may_be(file: Path) -> bool:
    """Return whether a file begins as a JSON object that names what a set of COCO has.

    Label Studio's ``notes.json`` has categories, and neither pictures nor boxes.
    """
    with open_file(file) as stream:
        start = stream.read(_START).removeprefix(_MARK).lstrip()
    keys = [b'"images"', b'"annotations"']
    if len(start) > _START // 2:  # these may come later
        keys += [b'"categories"', b'"info"', b'"licenses"']
    return start.startswith(b"{") and any(key in start for key in keys)


class _Reader:
    """One file."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        content = self._content()
        self._images = self._records(content, "images")
        self._annotations = self._records(content, "annotations")
        self.categories = self._categories(self._records(content, "categories"))
        self._numbers = {key: at for at, (key, _) in enumerate(self.categories)}
        self.names = tuple(name for _, name in self.categories)
        self._note_of_ids()

    def _content(self) -> Mapping[str, Any]:
        raw = read_file(self.file, _MOST_BYTES, piped=False)
        if len(raw) > _MOST_BYTES:
            raise self._error("the file is too large", f"at most {_MOST_BYTES >> 20} MiB")
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self._error(f"this is not JSON: {shown(str(error), 80)}") from error
        del raw
        if isinstance(content, list):
            raise self._error(
                "this is a list, as of detections, not a set of annotations", "images, categories"
            )
        if not isinstance(content, dict):
            raise self._error("this is not a set of COCO", "an object with images, categories")
        return content

    def _error(
        self, problem: str, expected: str | None = None, found: str | None = None
    ) -> DarknetError:
        return DarknetError(problem, where=Where(file=self.file), expected=expected, found=found)

    def _records(self, content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        records = content.get(key)
        if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
            raise self._error(f"the file has no list of {key}", f'"{key}": [{{…}}, …]')
        return records

    def _categories(self, records: list[dict[str, Any]]) -> list[tuple[int, str]]:
        """Return the categories by id, without the one that Roboflow puts above all others."""
        found: dict[int, str] = {}
        for each in records:
            key, name = each.get("id"), each.get("name")
            if not isinstance(key, int) or not isinstance(name, str) or not name.strip():
                raise self._error("a category has no id or no name", found=quoted(str(each)))
            if key in found:
                raise self._error("two categories have one id", found=_id(key))
            found[key] = name.strip()
        root = next((each for each in records if each["id"] == 0), None)
        others = [each for each in records if each is not root]
        if root is not None and others and root.get("supercategory") == "none":
            used = any(each.get("category_id") == 0 for each in self._annotations)
            if not used and all(each.get("supercategory") == root["name"] for each in others):
                del found[0]
                self.notes.append(f"category 0, {root['name']}, is above the others: left out")
        if not found:
            raise self._error("there are no categories", "at least one")
        return sorted(found.items())

    def _note_of_ids(self) -> None:
        ids = [key for key, _ in self.categories]
        if ids != list(range(len(ids))):
            last = len(ids) - 1
            classes = f"classes 0 to {last}" if last else "class 0"
            gaps = "" if ids[-1] - ids[0] == last else " in their order"
            self.notes.append(
                f"category ids {_id(ids[0])} to {_id(ids[-1])} become {classes}{gaps}"
            )

    def pictures(self) -> Iterator[LabelledPicture]:
        """Yield the pictures with their boxes, in the order of ``images``."""
        part = _part(Path(self.file))
        lists: dict[int | str | None, list[dict[str, Any]]] = {}
        for each in self._annotations:
            key = _key(each.get("image_id"))
            lists.setdefault("?" if key is None else key, []).append(each)
        places = _Places(Path(self.file))
        for image in self._images:
            annotations = lists.pop(_key(image.get("id")), [])
            where = Where(file=self.file, key=f"image {_id(image.get('id'))}")
            name = image.get("file_name")
            if not isinstance(name, str) or not name:
                error = DarknetError("the picture has no file_name", where=where)
                self.findings.append(Finding("line", error))
                continue
            name = name.replace("\\", "/").removeprefix("./")
            if leaves(name):
                error = DarknetError(
                    "the file name leads out of the folder", where=where, found=quoted(name, 80)
                )
                self.findings.append(Finding("name", error))
                name = os.path.basename(name) or "picture"
            path, there = places.find(name)
            if not there:
                self.findings.append(missing_picture(path, where))
            size = _size(image)
            boxes = self._boxes(annotations, size, path, where)
            yield LabelledPicture(path, name, part, boxes, self.file, size)
        for rest in lists.values():
            error = DarknetError(
                "the annotation is of a picture that is not in images",
                where=Where(file=self.file, key=f"annotation {_id(rest[0].get('id'))}"),
                found=f"image_id {_id(rest[0].get('image_id'))}",
            )
            self.findings.append(Finding("line", error))
        set_part(self.findings, 0, part)

    def _boxes(
        self,
        annotations: list[dict[str, Any]],
        size: tuple[int, int] | None,
        path: str,
        where: Where,
    ) -> tuple[LabelledBox, ...]:
        if annotations and size is None:
            size = size_of_file(path)
            if size is None:
                error = DarknetError("the picture has no width and height", where=where)
                self.findings.append(Finding("dimensions", error))
                return ()
        reader = BoxReader(self.findings, len(self.names))
        for each in annotations:
            key = f"annotation {_id(each.get('id'))}"
            place = Where(file=self.file, key=key)
            category = each.get("category_id")
            number = self._numbers.get(category) if isinstance(category, int) else None
            sides = _sides(each)
            if sides is None:
                reader.refuse(
                    "line", "not a box", place, "bbox: [left, top, width, height]",
                    shown(repr(each.get("bbox")), 60),
                )  # fmt: skip
            elif number is None:
                found = f"category_id {_id(each.get('category_id'))}"
                reader.refuse("class", "there is no such category", place, None, found)
            elif size is not None:
                left, top, w, h = sides
                across, down = size
                mark = "crowd" if each.get("iscrowd") else ""
                mark = mark or ("difficult" if each.get("difficult") else "")
                middle = (left + w / 2) / across, (top + h / 2) / down
                box = LabelledBox(*middle, w / across, h / down, number, mark, None, key)
                reader.add(box, place)
        return tuple(reader.boxes)


def size_of_file(path: str) -> tuple[int, int] | None:
    """Return the width and height of a picture; None if it cannot be read."""
    from darknet_bn.pictures.images import image_size

    try:
        return image_size(path)
    except DarknetError:
        return None


def _key(value: object) -> int | str | None:
    """Return the id of a picture, which is a number, or a text in some files; else None."""
    return value if isinstance(value, int | str) else None


def _id(value: object) -> str:
    return shown(str(value), _MOST_IDS)


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    sides: list[Any] = [image.get("width"), image.get("height")]
    if not _are_numbers(sides) or any(side <= 0 or side % 1 for side in sides):
        return None
    width, height = map(int, sides)
    return (width, height) if max(width, height) < 1 << 24 else None


def _sides(annotation: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Return left, top, width and height of an annotation; None if it does not give them."""
    box = annotation.get("bbox")
    if isinstance(box, list) and len(box) == 4 and _are_numbers(box):
        return box[0], box[1], box[2], box[3]
    outlines = annotation.get("segmentation")
    if box or not isinstance(outlines, list):
        return None
    if not all(isinstance(each, list) and _are_numbers(each) for each in outlines):
        return None
    across = [value for each in outlines for value in each[::2]]
    down = [value for each in outlines for value in each[1::2]]
    if not across or not down:
        return None
    left, top = min(across), min(down)
    return left, top, max(across) - left, max(down) - top


def _are_numbers(values: list[Any]) -> bool:
    return all(
        isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < 1e9
        for each in values
    ) and all(map(math.isfinite, values))


def _part(file: Path) -> str:
    """Return the part of a set that a file has, from its name or its folder."""
    for name in (file.stem.lower(), file.parent.name.lower()):
        if "val" in name:
            return "valid"
        if "test" in name:
            return "test"
        if "train" in name:
            return "train"
    return "train"


class _Places:
    """Where the pictures of a file may be; that of the last one is tried first."""

    def __init__(self, file: Path) -> None:
        beside, above = file.parent, file.parent.parent
        split = file.stem.removeprefix("instances_").removeprefix("annotations_")
        self._folders = [
            *(beside, beside / "images", beside / "data", beside / split),
            *(beside / "images" / split, above / split, above / "images" / split),
            *(above / "images", above / "data"),
        ]

    def find(self, name: str) -> tuple[str, bool]:
        """Return the path of a picture, and whether it exists."""
        found = first_there(self._folders, lambda folder: os.path.isfile(folder / name))
        if found is None:
            near = first_there(
                self._folders, lambda folder: similar_picture(folder / name) is not None
            )
            return os.path.normpath((near or self._folders[0]) / name), False
        self._folders.remove(found)
        self._folders.insert(0, found)
        return os.path.normpath(found / name), True
