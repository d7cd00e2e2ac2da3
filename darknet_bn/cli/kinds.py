"""The meaning of a word on a command line: from its form, its suffix, and what exists."""

from __future__ import annotations

import glob
import os
import re
import shlex
from typing import Literal

import darknet_bn as dn
from darknet_bn.cli import choices

Kind = Literal[
    "cfg", "weights", "model", "picture", "list", "video", "remote", "names", "data",
    "annotations", "array", "archive", "onnx", "state",
]  # fmt: skip

PICTURES = (
    *(".avif", ".bmp", ".gif", ".j2k", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".psd", ".tga", ".tif", ".tiff", ".webp"),
)
LISTS = (".txt", ".list", ".lst")
PARQUET = ".parquet"  # with a column of paths, for --rows
STDIN = "-"

_KINDS: dict[Kind, tuple[str, ...]] = {
    "cfg": (".cfg",),
    "weights": (".weights", ".backup"),
    "picture": PICTURES,
    "list": LISTS,
    "video": choices.VIDEOS,
    "names": (".names",),
    "data": (".data",),
    "annotations": (".json", ".yaml", ".yml", ".xml", ".csv"),
    "array": (".npy",),
    "archive": (".npz",),
    "onnx": (".onnx",),
    "state": (".pt", ".pth", ".safetensors"),
}
_BACKBONE = re.compile(r"\.conv\.\d+$")  # darknet53.conv.74
_NOT_LOCAL = "is not a local file; URLs and cameras are only read as videos, by detect"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # https://…, also normalised


def kind_of(word: str) -> Kind | None:
    """Return the kind of thing that a word names; None if it could be any.

    Returns
    -------
    kind : str or None
        ``model`` is the common stem of a cfg and its weights; a folder, or a pattern with ``*`` or
        ``?``, is of the kind ``picture``.
    """
    if is_remote(word):
        return "remote"
    if word == STDIN:
        return "list"
    if os.path.isdir(word):
        return None if os.path.isfile(f"{word}.cfg") else "picture"
    lower = os.path.basename(word).lower()
    for kind, suffixes in _KINDS.items():
        if lower.endswith(suffixes):
            return kind
    if _BACKBONE.search(lower):
        return "weights"
    if os.path.isfile(f"{word}.cfg") and not os.path.isfile(word):
        return "model"
    if is_pattern(word) and ("*" in word or "?" in word):  # brackets alone occur in names too
        return "picture"
    return None


def is_picture(path: str) -> bool:
    """Decide by the name; names that begin with a dot are not pictures, such as macOS's ``._``."""
    name = os.path.basename(path).lower()
    return name.endswith(PICTURES) and not name.startswith(".")


def is_pattern(word: str) -> bool:
    """Return whether a word is a pattern; a file may have a name that looks like one."""
    return glob.has_magic(word) and not os.path.lexists(word)


def is_remote(word: str) -> bool:
    """Return whether a word is an address on the network, or a camera."""
    if _ADDRESS.match(word):
        return not os.path.lexists(word)
    if word.isdecimal():
        return not os.path.lexists(word) and not os.path.lexists(f"{word}.cfg")
    return word.startswith("/dev/video")


def is_moving(word: str) -> bool:
    """Return whether a word names a video, a stream on the network, or a camera."""
    if not is_remote(word):
        return kind_of(word) == "video"
    protocol, colon, rest = word.partition("://")
    if not colon:
        return not _ADDRESS.match(word)  # a camera
    return protocol.lower() in choices.STREAMS and not rest.lower().endswith(PICTURES)


def refusal(word: str, where: dn.Where | None = None) -> dn.DarknetError | None:
    """Return why a word cannot be a picture, if its form shows that.

    Parameters
    ----------
    word : str
    where : Where, optional
        The line of the list that contains it.

    Returns
    -------
    error : DarknetError or None
    """
    if is_remote(word):
        return dn.DarknetError(f"{word} {_NOT_LOCAL}", where=where)
    if kind_of(word) == "video":
        return dn.DarknetError(
            f"{word} is a video",
            where=where,
            hint=f"extract frames first: ffmpeg -i {shlex.quote(word)} frames/%05d.jpg",
        )
    return None


def require_local(*words: str | None) -> None:
    """Refuse addresses on the network, and cameras.

    Raises
    ------
    DarknetError
        A word is an address or a camera.
    """
    for word in words:
        if word is not None and is_remote(word):
            raise dn.DarknetError(f"{word} {_NOT_LOCAL}")
