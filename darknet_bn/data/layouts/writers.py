"""The files of each layout that can be written, as functions that say what is in them.

Numbers are decimal: shares of a picture have up to 10 decimals, pixels up to 11.  So boxes whose
numbers have at most 10 decimals come back equal from any chain of layouts; others change by half of
the tenth decimal at most.  VOC's corners keep their fractions, if they have any.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from darknet_bn.data.layouts.base import LabelledBox, LabelledPicture, LabelledSet
from darknet_bn.data.layouts.coco import size_of_file
from darknet_bn.errors import DarknetError, DataError, Where, quoted
from darknet_bn.formats.folders import Original

_SHARE_DECIMALS, _PIXEL_DECIMALS = 10, 11
_COCO_PARTS = {"train": "train", "valid": "val", "test": "test"}


@dataclass
class Files:
    """The files to write.

    Attributes
    ----------
    original : type or None
        How pictures are taken over: copied, or linked; None if they are not.
    files : dict from str to bytes or Original
    copied : int
        How many of them are pictures.
    """

    original: type[Original] | None
    files: dict[str, bytes | Original] = field(default_factory=dict)
    copied: int = 0

    def text(self, name: str, text: str) -> None:
        """Add a text."""
        self.files[name] = text.encode()

    def picture(self, name: str, source: str) -> None:
        """Add a picture, unless it does not exist."""
        if self.original is not None and os.path.isfile(source):
            self.files[name] = self.original(source)
            self.copied += 1


def _sized(pictures: Sequence[LabelledPicture]) -> list[tuple[int, int]]:
    """Return the size of each picture, from its labels or else from its file."""
    sizes = [each.size or size_of_file(each.path) for each in pictures]
    unknown = [
        DarknetError("the size of the picture is not known", where=Where(file=each.path))
        for each, size in zip(pictures, sizes, strict=True)
        if size is None
    ]
    if unknown:
        raise DataError(f"{len(unknown)} pictures cannot be read", unknown)
    return [size for size in sizes if size is not None]


def decimal(value: float, decimals: int) -> str:
    """Return a number with at most so many decimals, and no zeros at its end."""
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _line(box: LabelledBox) -> str:
    sides = " ".join(decimal(each, _SHARE_DECIMALS) for each in box[:4])
    return f"{box.number} {sides}\n"


def _edges(box: LabelledBox, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom in pixels from 0."""
    x, y, w, h, *_ = box
    across, down = size
    return (x - w / 2) * across, (y - h / 2) * down, (x + w / 2) * across, (y + h / 2) * down


def _suffixed(name: str, suffix: str) -> str:
    return f"{os.path.splitext(name)[0]}{suffix}"


def _parts(pictures: Sequence[LabelledPicture]) -> Iterator[tuple[str, list[LabelledPicture]]]:
    for part in _COCO_PARTS:
        chosen = [each for each in pictures if each.part == part]
        if chosen:
            yield part, chosen


def _darknet(
    labelled: LabelledSet, pictures: Sequence[LabelledPicture], out: Files, first: int
) -> str:
    options = {"classes": f"{labelled.classes}"}
    for part, chosen in _parts(pictures):
        for each in chosen:
            out.picture(f"{part}/{each.name}", each.path)
            out.text(f"{part}/{_suffixed(each.name, '.txt')}", "".join(map(_line, each.boxes)))
        out.text(f"{part}.txt", "".join(f"{part}/{each.name}\n" for each in chosen))
        options[part] = f"{part}.txt"
    options.setdefault("valid", options.get("test", options.get("train", "")))
    options |= {"names": "obj.names", "backup": "."}
    out.text("obj.names", "".join(f"{name}\n" for name in labelled.all_names))
    out.text("obj.data", "".join(f"{key} = {value}\n" for key, value in options.items()))
    return "obj.data"


def _yolo(
    labelled: LabelledSet, pictures: Sequence[LabelledPicture], out: Files, first: int
) -> str:
    lines: list[str] = []
    there = []
    for part, chosen in _parts(pictures):
        name = _COCO_PARTS[part]
        there.append(name)
        for each in chosen:
            out.picture(f"images/{name}/{each.name}", each.path)
            text = "".join(map(_line, each.boxes))
            out.text(f"labels/{name}/{_suffixed(each.name, '.txt')}", text)
        lines.append(f"{name}: images/{name}\n")
    for needed in {"train", "val"} - set(there):
        lines.append(f"{needed}: images/{there[0]}\n")
    lines.append("names:\n")
    lines += [f"  {at}: {_quoted(name)}\n" for at, name in enumerate(labelled.all_names)]
    out.text("data.yaml", "".join(lines))
    return "data.yaml"


def _quoted(name: str) -> str:
    return f"'{name.replace(chr(39), chr(39) * 2)}'"


def _coco(
    labelled: LabelledSet, pictures: Sequence[LabelledPicture], out: Files, first: int
) -> str:
    categories = [
        {"id": at, "name": name, "supercategory": "none"}
        for at, name in enumerate(labelled.all_names, start=1)
    ]
    name = ""
    for part, chosen in _parts(pictures):
        images: list[Mapping[str, Any]] = []
        annotations: list[str] = []
        split = _COCO_PARTS[part]
        for number, (each, size) in enumerate(zip(chosen, _sized(chosen), strict=True), start=1):
            out.picture(f"{split}/{each.name}", each.path)
            images.append(
                {"id": number, "file_name": each.name, "width": size[0], "height": size[1]}
            )
            for box in each.boxes:
                annotations.append(_annotation(len(annotations) + 1, number, box, size))
        listed = ",\n".join(annotations)
        text = (
            f'{{"info": {{}}, "licenses": [],\n"categories": {json.dumps(categories)},\n'
            f'"images": {json.dumps(images)},\n"annotations": [\n{listed}\n]}}\n'
        )
        name = f"annotations/instances_{split}.json"
        out.text(name, text)
    return name


def _annotation(number: int, image: int, box: LabelledBox, size: tuple[int, int]) -> str:
    """Return an annotation as JSON; its numbers are written as decimals, not as binary ones."""
    left, top, *_ = _edges(box, size)
    sides = (left, top, box.w * size[0], box.h * size[1])
    texts = ", ".join(decimal(each, _PIXEL_DECIMALS) for each in sides)
    area = decimal(sides[2] * sides[3], 3)
    difficult = ', "difficult": 1' if box.mark == "difficult" else ""
    return (
        f'{{"id": {number}, "image_id": {image}, "category_id": {box.number + 1}, '
        f'"bbox": [{texts}], "area": {area}, "iscrowd": {int(box.mark == "crowd")}{difficult}}}'
    )


def _voc(labelled: LabelledSet, pictures: Sequence[LabelledPicture], out: Files, first: int) -> str:
    names = labelled.all_names
    odd = next((name for name in names if not name.isprintable()), None)
    if odd is not None:
        raise DarknetError(
            "the name of a class has characters that XML cannot hold",
            where=Where(file=labelled.place),
            found=quoted(odd),
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DarknetError(
            "two classes have one name, and VOC's files have names only",
            where=Where(file=labelled.place),
            found=quoted(twice),
        )
    stems: dict[str, str] = {}
    for part, chosen in _parts(pictures):
        lines = []
        for each, size in zip(chosen, _sized(chosen), strict=True):
            flat = each.name.replace("/", "_")
            if stems.setdefault(_suffixed(flat, "").casefold(), each.path) != each.path:
                flat = f"{part}_{flat}"
                if stems.setdefault(_suffixed(flat, "").casefold(), each.path) != each.path:
                    raise DarknetError(
                        "two pictures would have one name",
                        where=Where(file=each.path),
                        found=flat,
                        hint="rename one of them",
                    )
            out.picture(f"JPEGImages/{flat}", each.path)
            text = _xml(each, flat, size, names, first)
            out.text(f"Annotations/{_suffixed(flat, '.xml')}", text)
            lines.append(f"{_suffixed(flat, '')}\n")
        out.text(f"ImageSets/Main/{_COCO_PARTS[part]}.txt", "".join(lines))
    out.text("classes.names", "".join(f"{name}\n" for name in names))
    return "Annotations"


def _xml(
    picture: LabelledPicture, name: str, size: tuple[int, int], names: Sequence[str], first: int
) -> str:
    root = ElementTree.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", name)
    sides = ElementTree.SubElement(root, "size")
    for tag, value in zip(("width", "height", "depth"), (*size, 3), strict=True):
        _add(sides, tag, f"{value}")
    _add(root, "segmented", "0")
    for box in picture.boxes:
        one = ElementTree.SubElement(root, "object")
        left, top, right, bottom = _edges(box, size)
        across, down = left < 0 or right > size[0], top < 0 or bottom > size[1]
        _add(one, "name", names[box.number])
        _add(one, "pose", "Unspecified")
        _add(one, "truncated", "1" if across or down else "0")
        _add(one, "difficult", "1" if box.mark else "0")
        corners = ElementTree.SubElement(one, "bndbox")
        values = (left + first, top + first, right, bottom)
        for tag, corner in zip(("xmin", "ymin", "xmax", "ymax"), values, strict=True):
            _add(corners, tag, decimal(corner, _PIXEL_DECIMALS))
    ElementTree.indent(root)
    return f"{ElementTree.tostring(root, encoding='unicode')}\n"


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text


WRITERS: Mapping[
    str, Callable[[LabelledSet, Sequence[LabelledPicture], Files, int], str]
] = {"darknet": _darknet, "coco": _coco, "voc": _voc, "yolo": _yolo}  # fmt: skip
