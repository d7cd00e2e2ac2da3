"""Paths that do not name a data set: what they are instead, and what to do with them."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from pathlib import Path

from darknet_bn.data.layouts.find import find_layout
from darknet_bn.errors import DarknetError, Where
from darknet_bn.formats.names import load_names

KINDS = (".data", ".npz")
_FILES = ".data, .npz, .yaml or .json, or a folder with labels"
VIDEOS = (
    *(".3gp", ".avi", ".flv", ".h264", ".hevc", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)

_BOXES = "a file NAME.txt next to each NAME.jpg, with lines 'class x y w h'"
_DATA = "classes=N, train=LIST, valid=LIST, names=FILE"
_WRITE = f"write a .data file with the lines {_DATA}; LIST has one picture path per line"
_MODEL = "this is part of a model; the data set comes after it: train CFG DATA [WEIGHTS]"
_HINTS = {
    ".cfg": _MODEL,
    ".csv": f"convert the table of boxes to label files first: {_BOXES}",
    ".names": _WRITE,
    ".npy": "put two arrays into one file: numpy.savez('set.npz', x=x, y=y)",
    ".weights": _MODEL,
    ".xml": "give the folder of PASCAL VOC's files, not one of them",
}
_ANNOTATIONS = (".json", ".yaml", ".yml")
_PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_PARTS = ("train", "valid", "test")  # sub-folders, as in Roboflow's data sets
_NAMES = "_darknet.labels"  # the names of classes next to Roboflow's pictures


def require_kind(path: str | os.PathLike[str]) -> None:
    """Check from its name that a path is a data set.

    Parameters
    ----------
    path : path

    Raises
    ------
    DarknetError
        It is not a ``.data`` or ``.npz`` file, nor a set of labels that `find_layout` knows; the
        hint says what to do.
    """
    name = os.fspath(path)
    suffix = Path(name).suffix
    if is_url(name):
        problem = "this is not a local file"
    elif (suffix.lower() in KINDS and not os.path.isdir(name)) or find_layout(name) is not None:
        return
    elif os.path.isdir(name):
        problem = "the folder has no pictures with labels"
    elif suffix.lower() in _ANNOTATIONS and not os.path.exists(name):
        problem = "no such file"
    elif suffix:
        problem = f"unsupported data set type {suffix}"
    else:
        problem = "a data set needs a suffix" if os.path.exists(name) else "no such file"
    raise DarknetError(
        problem,
        where=Where(file=name),
        expected=_FILES,
        hint=what_to_do(name),
    )


def what_to_do(name: str) -> str | None:
    """Return what to do with a path that is not a data set; None if that is not known."""
    suffix = Path(name).suffix.lower()
    if is_url(name):
        return "URLs, cameras and video streams are not supported"
    if os.path.isdir(name):
        return _folder(Path(name))
    if suffix in VIDEOS:
        ffmpeg = f"ffmpeg -i {shlex.quote(name)} frames/%05d.jpg"
        return f"this is a video; extract frames first: mkdir frames; {ffmpeg}"
    if suffix == ".txt":
        lines = _DATA.replace("LIST", name)
        return f"if this is a list of pictures, write a .data file with the lines {lines}"
    return _WRITE if suffix in _PICTURES else _HINTS.get(suffix)


def is_url(name: str) -> bool:
    """Return whether a name is an address on a network."""
    return "://" in name


def _folder(folder: Path) -> str | None:
    """Return how to write the ``.data`` file of a folder of pictures."""
    parts = [folder / each for each in _PARTS]
    kinds = {part: kind for part in (*parts, folder) if (kind := _kind(part)) is not None}
    if not kinds:
        return None
    if len(kinds) > 1:
        kinds.pop(folder, None)
    lists = {part: f"{part.name if part.name in _PARTS else _PARTS[0]}.txt" for part in kinds}
    commands = [
        f"find {shlex.quote(str(part))} -name '*{kinds[part]}' > {name}"
        for part, name in lists.items()
    ]
    first = next(iter(lists.values()))
    valid = lists.get(folder / "valid") or lists.get(folder / "test") or first
    names = next((each for part in kinds if (each := part / _NAMES).is_file()), None)
    classes = "N" if names is None else f"{len(load_names(names))}"
    lines = f"classes={classes}, train={first}, valid={valid}, names={names or 'FILE'}"
    return (
        f"list the pictures: {'; '.join(commands)}; and write a .data file with the lines {lines}"
    )


def _kind(folder: Path) -> str | None:
    """Return the suffix of most pictures in a folder; None if there are none."""
    try:
        suffixes = Counter(each.suffix for each in folder.iterdir())
    except OSError:
        return None
    counts = {suffix: n for suffix, n in suffixes.items() if suffix.lower() in _PICTURES}
    return max(counts, key=lambda suffix: counts[suffix]) if counts else None
