"""Class names: ``.names`` files, and the ``.data`` files that say where these are.

A ``.names`` file has one name per line, starting with class 0.  A ``.data`` file has lines
``key=value``; lines that begin with ``#`` or ``;`` are comments.  Blanks around names, keys and
values are ignored.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from darknet_bn.errors import DarknetError, DarknetWarning, Oddities, Where
from darknet_bn.formats.foreign import UTF_16
from darknet_bn.formats.reading import read_file
from darknet_bn.values import brief, file_name

_MAX_BYTES = 4 << 20  # the names of ImageNet's 21842 classes have 0.5 MB

_EXTRA = "the extra names are ignored"


@dataclass(frozen=True)
class Data:
    """The content of a ``.data`` file.

    Attributes
    ----------
    options : mapping from str to str
        Every key with its value; if a key occurs twice, the first value counts.
    file : str or None
        The name of the file.
    """

    options: Mapping[str, str]
    file: str | None = None

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"{file_name(self.file)}: {', '.join(self.options)}")

    @property
    def classes(self) -> int | None:
        """The number of classes; raises a DarknetError if it is not a number."""
        return self._number("classes")

    @property
    def top(self) -> int | None:
        """How many classes a classifier prints; raises a DarknetError if it is not a number."""
        return self._number("top")

    @property
    def names(self) -> str | None:
        """The path of the file with the names, from the key ``names`` or ``labels``.

        It is looked for in the working directory, as Darknet does; next to this file; and in the
        folder above, because many of these files are in a folder of their own.

        Raises
        ------
        DarknetError
            It is in none of these places.
        """
        return self.path("names" if "names" in self.options else "labels")

    def path(self, key: str) -> str | None:
        """Return the path of the file that a key names, looked for like ``names``.

        Returns
        -------
        path : str or None
            None if there is no such key.

        Raises
        ------
        DarknetError
            The file is in none of these places.
        """
        name = self.options.get(key)
        if name is None:
            return None
        folders = folders_around(self.file or "")
        found = find_file(name, folders)
        if found is None:
            raise DarknetError(
                "the file does not exist",
                where=Where(file=self.file, key=key),
                expected=" or ".join(os.path.normpath(each / name) for each in folders),
            )
        folder, name = found
        return os.path.normpath(folder / name)

    def _number(self, key: str) -> int | None:
        word = self.options.get(key)
        if word is None:
            return None
        if not (word.isascii() and word.isdigit() and int(word[:9]) and len(word) < 9):
            raise DarknetError(
                "is not a number",
                where=Where(file=self.file, key=key),
                expected="1 or more",
                found=repr(word[:20]),
            )
        return int(word)


def load_data(path: str | os.PathLike[str]) -> Data:
    """Read a ``.data`` file.

    Raises
    ------
    DarknetError
        The file cannot be read, or is not a text.

    Warns
    -----
    DarknetWarning
        A line has no ``=``.

    Notes
    -----
    C: ``read_data_cfg`` in ``src/option_list.c``, which removes all blanks, even inside values.
    """
    file = os.fspath(path)
    options: dict[str, str] = {}
    odd = Oddities()
    for number, line in enumerate(read_lines(path), start=1):
        if not line or line[0] in "#;":
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            odd(f"{Where(file=file, line=number)}: line ignored: expected key=value")
        elif value:
            options.setdefault(key, value)
    for text in odd.texts:
        warnings.warn(text, DarknetWarning, stacklevel=2)
    return Data(options, file)


def load_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read class names.

    Parameters
    ----------
    path : path
        A ``.names`` file; UTF-8, or else Latin-1.

    Returns
    -------
    names : tuple of str
        ``names[i]`` is the name of class i, or empty if its line is empty.  Empty lines at the end
        are ignored.

    Raises
    ------
    DarknetError
        The file cannot be read, or is not a text.

    Notes
    -----
    C: ``get_labels`` in ``src/data.c``.
    """
    names = read_lines(path)
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def fit_names(
    names: Sequence[str] | None, classes: int, *, file: str | None = None
) -> tuple[str, ...]:
    """Return a name for each class.

    Parameters
    ----------
    names : sequence of str or None
        The names that are known.
    classes : int
        How many names are needed.
    file : str, optional
        The file of the names, for the warning.

    Returns
    -------
    names : tuple of str
        Missing names are replaced, for example by ``class 17``.

    Warns
    -----
    DarknetWarning
        There are fewer names than classes, or more.
    """
    known = names or ()
    if names is not None and len(known) != classes:
        rest = f"classes from {len(known)} on have no name" if len(known) < classes else _EXTRA
        where = f"{file}: " if file else ""
        warnings.warn(
            f"{where}{names_for_classes(len(known), classes)}; {rest}",
            DarknetWarning,
            stacklevel=2,
        )
    known = (*known[:classes], *("",) * (classes - len(known)))
    return tuple(name or f"class {number}" for number, name in enumerate(known))


def require_names(names: Sequence[str], classes: int) -> None:
    """Refuse fewer names than classes: they belong to another model.

    Raises
    ------
    DarknetError
        There are fewer names than classes.

    Warns
    -----
    DarknetWarning
        There are more names than classes.
    """
    if len(names) < classes:
        raise DarknetError(
            "there are fewer names than classes", expected=f"{classes}", found=f"{len(names)}"
        )
    if len(names) > classes:
        warnings.warn(
            f"{names_for_classes(len(names), classes)}; {_EXTRA}", DarknetWarning, stacklevel=2
        )


def names_for_classes(names: int, classes: int) -> str:
    """Say how many names there are for how many classes."""
    return f"{names} name{'s' * (names != 1)} for {classes} class{'es' * (classes != 1)}"


def read_lines(
    path: str | os.PathLike[str], most: int = _MAX_BYTES, *, strip: bool = True
) -> list[str]:
    """Read the lines of a text, without the blanks around each.

    Parameters
    ----------
    path : path
        UTF-8, or else Latin-1.
    most : int
        The largest size allowed, in bytes.
    strip : bool
        Whether the blanks around each line are left out.

    Raises
    ------
    DarknetError
        The file cannot be read, or is not a text.
    """
    where = Where(file=os.fspath(path))
    content = read_file(path, most)
    if len(content) > most or b"\0" in content or content.startswith(UTF_16):
        raise DarknetError(
            "this is not a text file",
            where=where,
            expected=f"UTF-8, at most {most >> 20} MiB",
        )
    if content.lstrip()[:14].lower().startswith((b"<html", b"<!doctype html")):
        raise DarknetError("this is an HTML page", where=where, expected="lines of text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = text.split("\n")
    return [line.strip() for line in lines] if strip else lines


def folders_around(file: str) -> list[Path]:
    """Return the folders of a file's relative paths: working directory, its folder, the parent."""
    beside = Path(file).parent
    return list(dict.fromkeys((Path(), beside, Path(os.path.normpath(beside / "..")))))


def find_file(name: str, folders: Iterable[Path]) -> tuple[Path, str] | None:
    """Find a file whose name is in another file.

    Parameters
    ----------
    name : str
        A path; a path written on Windows may have backslashes, and CVAT writes ``data/`` before it
        even if there is no such folder.
    folders : iterable of Path
        The folders that it may be relative to.

    Returns
    -------
    folder, name : Path, str
        The first folder in which the file exists, and the path that was found; None if there is
        none.
    """
    slashes = name.replace("\\", "/")
    names = dict.fromkeys((name, slashes, slashes.removeprefix("data/")))
    return next(
        ((each, one) for one in names for each in folders if os.path.isfile(each / one)), None
    )
