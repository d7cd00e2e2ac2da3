"""CVAT's own XML, "CVAT for images 1.1": one file, with an ``image`` for each picture.

Corners are edges in pixels, counted from 0.  What has an area becomes the upright box around it: a
``box``, which may have a ``rotation`` in degrees around its centre, a ``polygon``, an ``ellipse``
and a ``mask``.  Points, lines, cuboids and tags are left out, and counted.  The labels of the task
number the classes.  The pictures, if they were exported too, are in ``images``, perhaps in a folder
with the name of their ``subset``.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

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
from darknet_bn.data.layouts.xml_file import load_xml
from darknet_bn.errors import DarknetError, Where, quoted
from darknet_bn.formats.reading import open_file

_MOST_BYTES = 256 << 20
_HEAD = 4096  # bytes that show what a file is
_FILE = "annotations.xml"
_AREAS = ("box", "polygon", "ellipse", "mask")
_OTHERS = ("polyline", "points", "cuboid", "skeleton", "tag")

_Sides = tuple[float, float, float, float]


def file_of(folder: Path) -> Path | None:
    """Return the file of annotations in a folder; None if there is none."""
    named = folder / _FILE
    if named.is_file():
        return named if is_cvat(named) else None
    found = sorted(folder.glob("*.xml"))
    return found[0] if len(found) == 1 and is_cvat(found[0]) else None


def is_cvat(file: Path) -> bool:
    """Return whether a file begins as CVAT's do."""
    with open_file(file) as stream:
        return b"<annotations>" in stream.read(_HEAD)


def read_cvat(file: Path, place: str) -> LabelledSet:
    """Read a file.

    Parameters
    ----------
    file : Path
    place : str
        The file or folder that was given.

    Raises
    ------
    DarknetError
        It cannot be read, or has the tracks of a video.
    """
    root = load_xml(file, "annotations", _MOST_BYTES, "a file of CVAT")
    images = root.findall("image")
    if not images and root.find("track") is not None:
        raise DarknetError(
            "the file has the tracks of a video, and no pictures",
            where=Where(file=str(file)),
            hint="export the task as CVAT for images 1.1",
        )
    notes: list[str] = []
    names = _names(root, images, notes)
    numbers = {name: number for number, name in reversed(list(enumerate(names)))}
    findings: list[Finding] = []
    pictures = [each for image in images for each in _picture(image, file, numbers, findings)]
    others = Counter(each.tag for image in images for each in image if each.tag in _OTHERS)
    if others:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(others.items()))
        notes.append(f"left out, since they have no area: {kinds}")
    return LabelledSet("CVAT", place, names, tuple(pictures), tuple(findings), tuple(notes))


def _names(root: Element, images: Sequence[Element], notes: list[str]) -> tuple[str, ...]:
    """Return the labels of the task, or those that are used if it has none.

    Labels of the points of a skeleton have a parent, and are no classes.
    """
    labels = (each for each in root.iterfind("meta/*/labels/label") if each.find("parent") is None)
    told = (each.findtext("name", "").strip() for each in labels)
    names = tuple(dict.fromkeys(filter(None, told)))
    if not names:
        notes.append("classes are numbered in the order of the alphabet")
        return tuple(sorted({name for _, _, name in _shapes(images) if name}))
    return names


def _shapes(images: Sequence[Element]) -> Iterator[tuple[int, Element, str]]:
    """Yield the number, the element and the label of each shape that has an area."""
    for image in images:
        for at, each in enumerate(image, start=1):
            if each.tag in _AREAS:
                yield at, each, each.get("label", "").strip()


def _picture(
    image: Element, file: Path, numbers: dict[str, int], findings: list[Finding]
) -> Iterator[LabelledPicture]:
    """Yield the picture with its boxes; none if it has no name."""
    start = len(findings)
    name = image.get("name", "").replace("\\", "/").removeprefix("./")
    where = Where(file=str(file), key=f"image {image.get('id', name)}")
    if not name:
        findings.append(Finding("line", DarknetError("the picture has no name", where=where)))
        return
    if leaves(name):
        error = DarknetError(
            "the file name leads out of the folder", where=where, found=quoted(name, 80)
        )
        findings.append(Finding("name", error))
        name = os.path.basename(name) or "picture"
    subset = image.get("subset", "")
    folders = [file.parent / "images", file.parent, file.parent / "data"]
    if subset and not leaves(subset):
        folders.insert(0, file.parent / "images" / subset)
    found = first_there((folder / name for folder in folders), os.path.isfile)
    path = str(found or folders[0] / name)
    if found is None:
        findings.append(missing_picture(path, where))
    size = _size(image)
    reader = BoxReader(findings, len(numbers))
    for at, shape, label in _shapes([image]):
        key = f"{where.key}, {shape.tag} {at}"
        place = Where(file=str(file), key=key)
        sides, number = _sides(shape), numbers.get(label)
        if sides is None:
            reader.refuse("line", f"not a {shape.tag}", place, "its coordinates", None)
        elif number is None:
            problem = "the class is not among the labels of the task"
            reader.refuse("class", problem, place, None, quoted(label))
        elif size is None:
            reader.refuse("dimensions", "the picture has no width and height", place, None, None)
        else:
            left, top, right, bottom = sides
            x, y = (left + right) / 2 / size[0], (top + bottom) / 2 / size[1]
            w, h = (right - left) / size[0], (bottom - top) / size[1]
            reader.add(LabelledBox(x, y, w, h, number, key=key), place)
    part = _part(subset)
    set_part(findings, start, part)
    yield LabelledPicture(path, name, part, tuple(reader.boxes), str(file), size)


def _part(subset: str) -> str:
    lower = subset.lower()
    return "valid" if "val" in lower else "test" if "test" in lower else "train"


def _size(image: Element) -> tuple[int, int] | None:
    sides = [image.get(key, "") for key in ("width", "height")]
    if not all(each.isascii() and each.isdecimal() and len(each) < 8 for each in sides):
        return None
    width, height = map(int, sides)
    return (width, height) if min(width, height) > 0 else None


def _sides(shape: Element) -> _Sides | None:
    """Return the edges of the upright box around a shape; None if it does not give them."""
    if shape.tag == "polygon":
        corners = [each.split(",") for each in shape.get("points", "").split(";") if each.strip()]
        values = [_number(word) for each in corners for word in each]
        if len(corners) < 3 or any(len(each) != 2 for each in corners) or None in values:
            return None
        numbers = [each for each in values if each is not None]
        across, down = numbers[::2], numbers[1::2]
        return min(across), min(down), max(across), max(down)
    keys = {
        "box": ("xtl", "ytl", "xbr", "ybr"),
        "ellipse": ("cx", "cy", "rx", "ry"),
        "mask": ("left", "top", "width", "height"),
    }[shape.tag]
    given = [_number(shape.get(key, "")) for key in keys]
    turned = _number(shape.get("rotation", "0"))
    if turned is None or None in given:
        return None
    a, b, c, d = (each for each in given if each is not None)
    if shape.tag == "mask":
        return a, b, a + c, b + d
    if turned == 0:
        return (a, b, c, d) if shape.tag == "box" else (a - c, b - d, a + c, b + d)
    cos, sin = math.cos(math.radians(turned)), math.sin(math.radians(turned))
    if shape.tag == "ellipse":
        w, h = math.hypot(c * cos, d * sin), math.hypot(c * sin, d * cos)
        return a - w, b - h, a + w, b + h
    w, h = (c - a) / 2, (d - b) / 2
    x, y = a + w, b + h
    w, h = w * abs(cos) + h * abs(sin), w * abs(sin) + h * abs(cos)
    return x - w, y - h, x + w, y + h


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e9 and "_" not in text else None
