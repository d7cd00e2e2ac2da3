"""The truth in a JSON file as COCO's: with crowds and areas, which label files do not have."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from pathlib import PurePath
from typing import Any

from darknet_bn.errors import DarknetError, Where
from darknet_bn.formats.reading import read_file
from darknet_bn.predictions.coco import Records
from darknet_bn.predictions.findings import Findings
from darknet_bn.values import counted

_MOST_BYTES = 1 << 30  # COCO's own training part has half of it
_MOST_ID, _MOST_PIXELS = 1 << 62, 1e12  # what the library takes, and what no picture has
_EXPECTED = "a JSON object with the lists images, annotations and categories, as COCO has them"
_KEYS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
    "categories": {"id": int, "name": str},
}


def load_coco_truth(
    path: str | os.PathLike[str], findings: Findings, names: Sequence[str] | None = None
) -> Records:
    """Read the truth of pictures from a file in COCO's format.

    Parameters
    ----------
    path : path
        As ``instances_val2017.json``; the pictures are found by their file names.
    findings : Findings
        Says which pictures were looked at; others in the file are left out.
    names : sequence of str, optional
        Of the classes.  If the categories have the same names, the names join them; if not, the
        categories in the order of their numbers are the classes, as in Darknet's ``coco.names``.

    Returns
    -------
    records : dict
        In the order of pictures and classes, with the file's own numbers, since boxes that are
        equally probable are ranked in the order of these.  A box without ``iscrowd`` is not a
        crowd, and one without ``area`` has that of its box.

    Raises
    ------
    DarknetError
        The file cannot be read or is not such a file, or does not fit the pictures or the classes.
    """
    where = Where(file=os.fspath(path))
    content = _read(path, where)
    used = {each["category_id"] for each in content["annotations"]}
    categories = _categories(content["categories"], used, findings.classes, names, where)
    images = _images(content["images"], findings, where)
    shown, known = {each["id"] for each in images}, {each["id"] for each in categories}
    annotations: list[dict[str, Any]] = []
    for each in content["annotations"]:
        if each["image_id"] not in shown:
            continue
        box = each["bbox"]
        whole = [*box, each.get("area", 0)]
        if each["category_id"] not in known or len(whole) != 5 or not all(map(_is_number, whole)):
            raise DarknetError(
                "an annotation does not fit",
                where=where,
                expected="bbox with four numbers, area if there is one, and the id of a category",
                found=f"annotation {each.get('id')} of image {each['image_id']}",
            )
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": each["image_id"],
                "category_id": each["category_id"],
                "bbox": box,
                "area": each.get("area", box[2] * box[3]),
                "iscrowd": int(bool(each.get("iscrowd", 0))),
            }
        )
    return {"images": images, "annotations": annotations, "categories": categories}


def _read(path: str | os.PathLike[str], where: Where) -> Mapping[str, list[dict[str, Any]]]:
    """Read a file, and check that it has the lists and what is needed of their entries."""
    raw = read_file(path, _MOST_BYTES)
    if len(raw) > _MOST_BYTES:
        raise DarknetError(f"has more than {_MOST_BYTES} bytes", where=where, expected=_EXPECTED)
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DarknetError("is not JSON", where=where, expected=_EXPECTED) from error
    for name, keys in _KEYS.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(
            isinstance(each, dict) and all(_is_of(each.get(key), keys[key]) for key in keys)
            for each in entries
        ):
            raise DarknetError(
                f"the list {name} is missing or has other entries",
                where=where,
                expected=f"{_EXPECTED}; each of {name} with {', '.join(keys)}",
            )
    return content  # type: ignore[no-any-return]  # it was checked


def _is_of(value: object, kind: type) -> bool:
    """Return whether a value is of a type, and an integer one that has its place everywhere."""
    if kind is int:
        return isinstance(value, int) and abs(value) < _MOST_ID
    return isinstance(value, kind)


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _MOST_PIXELS  # type: ignore[arg-type]  # NaN is not either


def _categories(
    categories: Sequence[dict[str, Any]],
    used: Collection[int],
    classes: int,
    names: Sequence[str] | None,
    where: Where,
) -> list[dict[str, Any]]:
    """Return the category of each class.

    A file with too many may have some that no box has, such as Roboflow's name of the whole set.
    """
    if len(categories) > classes:
        categories = [each for each in categories if each["id"] in used] or categories
    if len(categories) != classes:
        raise DarknetError(
            "the categories do not fit the network",
            where=where,
            expected=counted(classes, "class", "classes"),
            found=counted(len(categories), "category", "categories"),
        )
    own = {each["name"]: each for each in categories}
    if names is not None and sorted(own) == sorted(names):
        return [own[name] for name in names]
    return sorted(categories, key=lambda each: int(each["id"]))


def _images(
    images: Sequence[dict[str, Any]], findings: Findings, where: Where
) -> list[dict[str, Any]]:
    """Return the image of each picture."""
    if not findings.paths:
        raise DarknetError("arrays have no names", where=where, expected="pictures in files")
    by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for image in images:
        by_name[PurePath(image["file_name"]).name].append(image)
    found = []
    for path in map(PurePath, findings.paths):
        fitting = [each for each in by_name[path.name] if _shared_parts(path, each)]
        if not fitting:
            raise DarknetError(
                "a picture is missing in the file", where=where, expected=f"file_name {path}"
            )
        found.append(max(fitting, key=lambda each: _shared_parts(path, each)))
    return found


def _shared_parts(path: PurePath, image: Mapping[str, Any]) -> int:
    """Return how many parts a path and the name of an image share, counted from the end."""
    pairs = zip(reversed(path.parts), reversed(PurePath(image["file_name"]).parts), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
