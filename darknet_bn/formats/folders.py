"""Write a folder of many files so that it appears whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from darknet_bn.errors import DarknetError, Where
from darknet_bn.formats.reading import Name, open_file, reported
from darknet_bn.formats.writing import require_possible

_NOT_WRITTEN = "cannot be written"


class Original(str):
    """The path of a file to be copied.

    Attributes
    ----------
    linked : bool
        Whether a second name of the same file is enough, if the file system has such names.
    """

    linked = False


class Linked(Original):
    """The path of a file that gets a second name."""

    linked = True


def require_new_folder(folder: Name) -> None:
    """Refuse a folder that has files, or cannot be made.

    Raises
    ------
    DarknetError
        It is one.
    """
    place, where = Path(folder), Where(file=os.fspath(folder))
    require_possible(os.fspath(folder))
    if place.is_dir():
        with reported(folder):
            full = any(place.iterdir())
        if full:
            raise DarknetError(
                "the folder is not empty", where=where, hint="choose the name of a new folder"
            )
    elif os.path.lexists(place):
        raise DarknetError("this is not a folder", where=where, expected="a new folder")
    elif not place.absolute().parent.is_dir():
        raise DarknetError("the folder does not exist", where=Where(file=str(place.parent)))


def write_folder(folder: Name, files: Mapping[str, bytes | Original]) -> None:
    """Write a new folder.

    Its files are written into a folder of another name next to it, which gets its name when it is
    complete and on the disk.

    Parameters
    ----------
    folder : path
        It is new, or empty.
    files : mapping from str to bytes or Original
        For each name, with slashes, the content or the path of the original.

    Raises
    ------
    DarknetError
        As of `require_new_folder`, which is called first; or a file cannot be read or written.
    """
    require_new_folder(folder)
    target = Path(folder).absolute()
    beside = target.with_name(f".{target.name[:40]}.new.{secrets.token_hex(4)}")
    try:
        with reported(folder, what=_NOT_WRITTEN):
            beside.mkdir()
        made = {beside}
        for name, content in files.items():
            path = beside / name
            with reported(target / name, what=_NOT_WRITTEN):
                if path.parent not in made:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    made.add(path.parent)
                if isinstance(content, bytes):
                    path.write_bytes(content)
            if isinstance(content, Original):
                _copy(content, path, target / name)
        with reported(folder, what=_NOT_WRITTEN):
            if hasattr(os, "sync"):
                os.sync()  # once: a file at a time takes a hundred times as long
            with contextlib.suppress(FileNotFoundError):
                target.rmdir()
            beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _copy(original: Original, path: Path, target: Path) -> None:
    if original.linked:
        with contextlib.suppress(OSError, AttributeError):  # another file system, or one without
            os.link(os.path.realpath(original), path)
            return
    with (
        open_file(original) as source,
        reported(target, what=_NOT_WRITTEN),
        path.open("xb") as stream,
    ):
        shutil.copyfileobj(source, stream)
