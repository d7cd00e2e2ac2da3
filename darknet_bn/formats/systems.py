"""How systems differ in their files: valid names, equal names, and what an error means."""

from __future__ import annotations

import errno
import ntpath
import os
import re
import unicodedata
from collections.abc import Sequence

WINDOWS = os.name == "nt"  # read when it is used, so that a test may change it

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³]) *(\..*)?", re.I | re.S)
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
_LONGEST = 259  # characters of a path on Windows, unless the system is configured otherwise


def impossible(name: str) -> str | None:
    """Return why no file of this system can have a name; None if one can.

    Parameters
    ----------
    name : str
        A path.  Windows opens a device under some names in any folder, hides what follows a colon,
        and drops dots and spaces at the end.
    """
    try:
        if b"\0" in os.fsencode(name):
            return "no file can have this name"
    except UnicodeEncodeError:
        return "no file can have this name"
    if not WINDOWS:
        return None
    for part in re.split(r"[\\/]", ntpath.splitdrive(name)[1]):
        if _DEVICE.fullmatch(part):
            return f"Windows reserves the name {part!r} for a device"
        if found := _FORBIDDEN.search(part):
            return f"a file name in Windows cannot contain {found[0]!r}"
        if part.endswith((".", " ")) and part not in (".", ".."):
            return "a file name in Windows cannot end in a dot or a space"
    return None


def advice(error: Exception, name: str, more: int = 0) -> str | None:
    """Return what to do about an error of the system, if its own message does not say.

    Parameters
    ----------
    error : exception
    name : str
        The path that the error is about.
    more : int
        By how many characters the path passed to the system was longer.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENAMETOOLONG:
        return "choose a shorter name"
    if WINDOWS and number == errno.ENOENT and len(os.path.abspath(name)) + more > _LONGEST:
        return (
            f"Windows allows paths of {_LONGEST} characters: choose a shorter one, or "
            "enable long paths"
        )
    if WINDOWS and number == errno.EACCES:
        return "if another program has it open, close it there"
    return None


def identity(name: str | os.PathLike[str]) -> tuple[int, int] | str:
    """Return the identity of a file, the same for all its names; its full path if it is missing."""
    try:
        status = os.stat(name)
    except OSError:
        return os.path.realpath(name)
    except ValueError:  # a zero byte, which no name of a file has
        return os.fspath(name)
    if not status.st_ino:  # a file system of Windows that does not number its files
        return os.path.normcase(os.path.realpath(name))
    return status.st_dev, status.st_ino


def first_clash(paths: Sequence[str]) -> tuple[int, int] | None:
    """Find two paths that lead to the same file, even if that file does not exist yet.

    Parameters
    ----------
    paths : sequence of str

    Returns
    -------
    places : (int, int) or None
        The index of the first path that leads to the same file as an earlier one, after the index
        of the earlier one.

    Notes
    -----
    On macOS and Windows, names that differ only in case are usually the same.  This is a property
    of the file system, so the files in the folder are checked, or in one above it if it is empty.
    """
    if len(set(map(_folded, paths))) == len(paths):
        return None
    asked: dict[str, bool] = {}
    seen: dict[str, int] = {}
    for place, path in enumerate(paths):
        folder = os.path.dirname(os.path.abspath(path))
        if folder not in asked:
            asked[folder] = _ignores_case(folder)
        other = seen.setdefault(_folded(path) if asked[folder] else path, place)
        if other != place:
            return other, place
    return None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def _ignores_case(folder: str) -> bool:
    """Return whether names in a folder that differ only in case are the same."""
    while True:
        try:
            with os.scandir(folder) as entries:
                name = next(filter(_has_cases, (each.name for each in entries)), None)
        except OSError:  # it does not exist yet, or cannot be listed
            name = None
        if name is not None:
            names = (os.path.join(folder, each) for each in (name, name.swapcase()))
            return _are_one(*names)
        above = os.path.dirname(folder)
        if above == folder:
            return WINDOWS
        folder = above


def _has_cases(name: str) -> bool:
    return name.isascii() and name.swapcase() != name


def _are_one(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False
