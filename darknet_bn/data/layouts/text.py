"""Label files with a box per line, as Darknet and Ultralytics have them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from darknet_bn.data.labels import box_of
from darknet_bn.data.layouts.base import BoxReader, Finding, LabelledBox
from darknet_bn.errors import DarknetError, Where
from darknet_bn.formats.names import read_lines

_LINE = "class x y w h"
_WORDS = len(_LINE.split())
More = Literal["nothing", "outlines", "points"]
"""What a line may have but a box: the corners of an outline instead, or points after it."""
_EXPECTED: Mapping[More, str] = {
    "nothing": _LINE,
    "outlines": f"{_LINE}, or class x1 y1 x2 y2 x3 y3 …",
    "points": f"{_LINE}, and points",
}


def read_boxes(
    path: str, classes: int, findings: list[Finding], more: More = "nothing"
) -> tuple[LabelledBox, ...]:
    """Read the boxes of a label file.

    Parameters
    ----------
    path : str
    classes : int
    findings : list of Finding
        What is wrong with other lines is appended to it.
    more : str
        What a line may have but a box.

    Returns
    -------
    boxes : tuple of LabelledBox
        The boxes that are possible, in the order of the file.
    """
    reader = BoxReader(findings, classes)
    try:
        lines = read_lines(path)
        for number, line in enumerate(lines, start=1):
            if not line:
                continue
            where = Where(file=path, line=number)
            if more == "points":
                line = " ".join(line.split()[:_WORDS])
            found = box_of(line) or (_outline(line) if more == "outlines" else None)
            if found is None:
                reader.refuse("line", "not a box", where, _EXPECTED[more], repr(line[:60]))
            else:
                x, y, w, h, kind = found
                reader.add(LabelledBox(x, y, w, h, int(kind), line=number), where)
    except DarknetError as error:
        findings.append(Finding("file", error))
    return tuple(reader.boxes)


def without_pictures(labels: Iterable[str], folders: Iterable[Path] = ()) -> Iterator[Finding]:
    """Yield a finding for each label file that has no picture, next to those that have one.

    Parameters
    ----------
    labels : iterable of str
        Where the labels of each picture are, or would be.
    folders : iterable of Path
        What else is a folder of label files.
    """
    known = {os.path.normpath(each) for each in labels}
    places = {os.path.dirname(each) for each in known} | {
        os.path.normpath(each) for each in folders
    }
    for folder in sorted(places):
        for path in sorted(Path(folder).glob("*.txt")):
            if os.path.normpath(path) not in known and _begins_with_a_box(path):
                where, expected = Where(file=str(path)), f"{path.stem}.jpg or another picture"
                error = DarknetError(
                    "the label file has no picture", where=where, expected=expected
                )
                yield Finding("orphan", error)


def _begins_with_a_box(path: Path) -> bool:
    """Return whether a text is a label file, and not a list or a description."""
    try:
        first = next(filter(None, read_lines(path)), "")
    except DarknetError:
        return False
    return box_of(first) is not None


def _outline(line: str) -> tuple[float, float, float, float, float] | None:
    """Return the box around an outline; None if the line is not one."""
    words = line.split()
    if len(words) < 7 or not len(words) % 2 or "_" in line or not words[0].isdecimal():
        return None
    try:
        values = [float(each) for each in words]
    except ValueError:
        return None
    if not all(map(math.isfinite, values)):
        return None
    across, down = values[1::2], values[2::2]
    left, right, top, bottom = min(across), max(across), min(down), max(down)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top, values[0]
