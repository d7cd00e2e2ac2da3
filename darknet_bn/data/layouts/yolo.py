"""Ultralytics' folders: ``data.yaml``, pictures in ``images`` and label files in ``labels``.

``train``, ``val`` and ``test`` of the file name folders, lists of pictures, or several of either.
They are relative to ``path``, which is relative to the file or to the working directory; what
Roboflow writes, ``../train/images``, is also looked for without the dots.  The label file of a
picture has the last folder ``images`` of its path replaced by ``labels``.  A picture without a
label file has no objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from darknet_bn.data.layouts.base import (
    Finding,
    LabelledBox,
    LabelledPicture,
    LabelledSet,
    common_folder,
    first_there,
    leaves,
    missing_picture,
    name_within,
    pictures_in,
    set_part,
    wrong_count,
)
from darknet_bn.data.layouts.simple_yaml import Value, load_yaml
from darknet_bn.data.layouts.text import More, read_boxes, without_pictures
from darknet_bn.errors import DarknetError, Where, quoted
from darknet_bn.formats.names import read_lines

_KEYS = {"train": "train", "val": "valid", "test": "test"}
_POINTS = "kpt_shape"  # how many points come after each box, and how many numbers each has
_MAX_LIST = 256 << 20  # bytes, as for Darknet's lists


def read_yolo(path: str) -> LabelledSet:
    """Read the set of a ``data.yaml``."""
    options = load_yaml(path, ("path", "names", "nc", _POINTS, *_KEYS))
    names = _names(options, path)
    findings: list[Finding] = []
    count = options.get("nc")
    known = count if isinstance(count, str) and count.isdecimal() and len(count) < 9 else None
    notes = [*wrong_count("nc", None if known is None else int(known), names)]
    pictures: dict[str, LabelledPicture] = {}
    expected: list[str] = []  # the label files of pictures in folders
    for key, part in _KEYS.items():
        value = options.get(key)
        if value is None:
            continue
        start = len(findings)
        given = [value] if isinstance(value, str) else list(value)
        for text in given:
            place = _place(text, options, path, key)
            if leaves(name := os.path.relpath(place, Path(path).parent)):
                notes.append(f"{key} is outside the folder of {os.path.basename(path)}: {name}")
            for picture, root in _pictures(place, findings):
                label = _label_path(picture)
                if place.is_dir():
                    expected.append(label)
                there = label if os.path.isfile(label) else None
                boxes: tuple[LabelledBox, ...] = ()
                if there is not None:
                    more: More = "points" if _POINTS in options else "outlines"
                    boxes = read_boxes(there, len(names), findings, more)
                name = name_within(picture, root)
                pictures.setdefault(picture, LabelledPicture(picture, name, part, boxes, there))
        set_part(findings, start, part)
    findings += without_pictures(expected)
    if not pictures and not findings:
        raise DarknetError(
            "there are no pictures",
            where=Where(file=path),
            expected="folders of pictures, or lists of them, as train, val or test",
        )
    found = tuple(pictures.values())
    return LabelledSet("Ultralytics", path, names, found, tuple(findings), tuple(notes))


def _names(options: Mapping[str, Value], path: str) -> tuple[str, ...]:
    """Return the names, which are a list, or numbered."""
    value = options.get("names")
    where = Where(file=path, key="names")
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        numbers = {int(key): name for key, name in value.items() if key.isdecimal()}
        if len(numbers) == len(value) and sorted(numbers) == list(range(len(numbers))):
            return tuple(numbers[each] for each in range(len(numbers)))
    raise DarknetError(
        "the classes have no names",
        where=where,
        expected="a list of names, or 0: NAME, 1: NAME …",
        found=None if value is None else quoted(str(value)),
    )


def _place(text: str, options: Mapping[str, Value], path: str, key: str) -> Path:
    """Return the folder or list that a key names."""
    beside = Path(path).parent
    base = options.get("path")
    bases = [beside]
    if isinstance(base, str):
        bases = [beside / base, Path(base), beside]
    slashes = text.replace("\\", "/")
    texts = dict.fromkeys((text, slashes, slashes.removeprefix("../")))
    found = first_there((each / one for one in texts for each in bases), os.path.exists)
    if found is None:
        raise DarknetError(
            "there is no such folder or list",
            where=Where(file=path, key=key),
            expected=" or ".join(os.path.normpath(each / text) for each in bases),
        )
    if beside.resolve().is_relative_to(found.resolve()) and not found.samefile(beside):
        raise DarknetError(
            "the folder is above the one with this file, and has more than pictures",
            where=Where(file=path, key=key),
            found=quoted(text),
        )
    return Path(os.path.normpath(found))


def _pictures(place: Path, findings: list[Finding]) -> Iterator[tuple[str, str]]:
    """Yield each picture of a folder or list, and the folder that its name is relative to."""
    if place.is_dir():
        for each in pictures_in(place, below=True):
            yield str(each), str(place)
        return
    listed: list[str] = []
    for number, line in enumerate(read_lines(place, _MAX_LIST), start=1):
        if not line:
            continue
        text = line.replace("\\", "/")
        beside, other = place.parent / text, place.parent / text.removeprefix("data/")
        found = first_there((beside, Path(text), other), os.path.isfile)  # CVAT writes data/
        if found is None:
            where = Where(file=str(place), line=number)
            findings.append(missing_picture(os.path.normpath(beside), where))
        else:
            listed.append(os.path.normpath(found))
    root = common_folder(listed)
    yield from ((each, root) for each in listed)


def _label_path(picture: str) -> str:
    """Return where Ultralytics' programs look for the labels of a picture."""
    stem = os.path.splitext(picture)[0]
    parts = stem.split(os.sep)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return f"{os.sep.join(parts)}.txt"
