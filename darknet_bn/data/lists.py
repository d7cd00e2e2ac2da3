"""Lists of pictures: the files that ``train`` and ``valid`` of a ``.data`` file name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from darknet_bn.errors import DarknetError, DataError, Where
from darknet_bn.formats.names import Data, find_file, folders_around, read_lines

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_MAX_BYTES = 256 << 20  # a list of five million pictures has about this


@dataclass(frozen=True)
class ListEntry:
    """A line of a list.

    Attributes
    ----------
    text : str
        The path as written; with slashes instead, if it does not exist with backslashes.
    folder : Path
        The folder that the path is relative to.
    where : Where
        The place in the list.
    """

    text: str
    folder: Path
    where: Where

    @property
    def path(self) -> str:
        """Where the picture is."""
        return self.beside(self.text)

    def beside(self, text: str) -> str:
        """Return the path of another file of the same set, which a line would call ``text``."""
        return os.path.normpath(self.folder / text)


def load_list(data: Data, key: str) -> tuple[ListEntry, ...]:
    """Read a list of pictures.

    Parameters
    ----------
    data : Data
    key : "train" or "valid"
        Which list.

    Returns
    -------
    entries : tuple of ListEntry
        One for each line; empty lines are ignored.

    Raises
    ------
    DarknetError
        There is no such list, or it is empty.
    DataError
        Pictures are missing; it holds all of the errors.

    Notes
    -----
    C: ``get_paths`` in ``src/data.c``, where paths are relative to the working directory.  Here
    they may also be relative to the folder of the list, of the ``.data`` file, or to the folder
    above.
    """
    entries, missing = read_list(data, key)
    file = data.path(key)
    if missing:
        what = f"{len(missing)} of {len(entries) + len(missing)} pictures do not exist"
        raise DataError(what, missing, where=Where(file=file))
    if not entries:
        raise DarknetError(
            "the list is empty", where=Where(file=file), expected="paths of pictures"
        )
    return tuple(entries)


def read_list(data: Data, key: str) -> tuple[list[ListEntry], list[DarknetError]]:
    """Read a list of pictures of which some may not exist.

    Returns
    -------
    entries : list of ListEntry
    missing : list of DarknetError
        One error for each picture that does not exist.
    """
    file = data.path(key)
    if file is None:
        raise DarknetError(
            "the list of pictures is not given",
            where=Where(file=data.file, key=key),
            expected=f"{key}=FILE, a file with one picture path per line",
        )
    folders = list(dict.fromkeys((*folders_around(file), *folders_around(data.file or ""))))
    entries: list[ListEntry] = []
    missing: list[DarknetError] = []
    for number, text in enumerate(read_lines(file, _MAX_BYTES), start=1):
        where = Where(file=file, line=number)
        found = find_file(text, folders) if text else None
        if found is not None:
            folder, name = found
            entries.append(ListEntry(name, folder, where))
        elif text:
            missing.append(_missing(text, where, folders))
    return entries, missing


def _missing(text: str, where: Where, folders: Sequence[Path]) -> DarknetError:
    tried = dict.fromkeys(os.path.normpath(each / text) for each in folders)
    return DarknetError(
        "the picture does not exist",
        where=where,
        expected=" or ".join(tried),
        found=next(filter(None, map(similar_picture, tried)), None),
    )


def similar_picture(path: str | os.PathLike[str]) -> str | None:
    """Return a file that is probably meant by a path which does not exist; None if there is none.

    Its name has other capitals, as no matter on Windows, or another suffix.
    """
    folder, name = os.path.split(path)
    stem, names = os.path.splitext(name)[0].casefold(), _names_in(folder)
    found = names.get(name.casefold()) or next(
        (names[f"{stem}{suffix}"] for suffix in _SUFFIXES if f"{stem}{suffix}" in names), None
    )
    return None if found is None else os.path.join(folder, found)


@lru_cache(maxsize=8)  # many pictures of one folder may be missing
def _names_in(folder: str) -> Mapping[str, str]:
    """Return the files of a folder by their names in small letters."""
    with suppress(OSError):
        return {each.casefold(): each for each in sorted(os.listdir(folder or "."))}
    return {}
