"""Lists of pictures: files, or standard input, with one path per line.

Darknet reads such lists from standard input, with paths relative to the working directory.  Lists
in other folders often name files next to them; that is tried second.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import darknet_bn as dn
from darknet_bn.cli import kinds
from darknet_bn.formats import foreign

if TYPE_CHECKING:
    from io import BufferedReader

_MOST_BYTES = 1 << 30  # a list of the 14 million pictures of ImageNet has about this
_HEAD = 4096  # bytes: enough to tell text from anything else
_PIECE = 1 << 16  # bytes that are read at once, if there are that many
_LONGEST = 1 << 20  # bytes of a line; no system has paths as long as this
_EXPECTED = "paths of pictures, one per line"
_MARKS = {  # marks of files that people give by mistake
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"PK\x03\x04": "an archive",
    b"%PDF-": "a PDF file",
    **dict.fromkeys(foreign.UTF_16, "UTF-16 text, not UTF-8"),
}
_PORTABLE = re.compile(rb"P[1-6]\s+(#[^\n]*\n\s*)*\d+\s+\d+\s")  # a PPM and its kin, may be text
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_MARK = b"\xef\xbb\xbf"  # with which some programs begin UTF-8
_LABEL = re.compile(r"\d+(\s+-?[\d.]+(e-?\d+)?){4,}$", re.IGNORECASE)


class EmptyList(dn.DarknetError):
    """The list has no lines."""


@dataclass(frozen=True)
class Line:
    """A line of a list.

    Attributes
    ----------
    text : str
        The text as written, without the blanks around it.
    path : str
        The path of the picture, or the expected path if it does not exist.
    where : Where
        The place in the list, with the text.
    """

    text: str
    path: str
    where: dn.Where

    @property
    def problem(self) -> dn.DarknetError | None:
        """Why the line does not lead to a picture, if that is known already."""
        unusable = kinds.refusal(self.text, dn.Where(file=self.where.file, line=self.where.line))
        if unusable is not None or os.path.lexists(self.path):
            return unusable
        return dn.DarknetError("cannot be read: No such file or directory", where=self.where)


def is_list(word: str) -> bool:
    """Return whether a word is a list: by its suffix, as standard input or a pipe, or as text."""
    if word == kinds.STDIN:
        return True
    kind = kinds.kind_of(word)
    if kind is not None or not os.path.exists(word):
        return kind == "list"
    if not stat.S_ISREG(os.stat(word).st_mode):
        return not os.path.isdir(word)  # as <(find …) in a shell
    try:
        with open(word, "rb") as stream:
            return _kind_of_content(stream.read(_HEAD)) is None
    except OSError:
        return False


def read_list(word: str) -> list[Line]:
    """Read a list.

    Parameters
    ----------
    word : str
        A path, an address that fsspec knows, or ``-`` for standard input.

    Returns
    -------
    lines : list of Line
        The lines that are not empty.

    Raises
    ------
    DarknetError
        It cannot be read, is empty or not a list; or none of several lines leads to a file.
    """
    with _opened(word) as (stream, file):
        content = _read(stream)
    where = dn.Where(file=file)
    _require_text(content, where)
    lines = list(_lines(content.splitlines(), file, _folder(word)))
    if not lines:
        raise _empty(where)
    if all(_LABEL.match(line.text) for line in lines):
        raise dn.DarknetError(
            "not a list of pictures but labels",
            where=where,
            expected=_EXPECTED,
            found=lines[0].text,
        )
    if len(lines) > 1 and all(line.problem for line in lines):  # a single one has its own error
        raise dn.DarknetError(
            f"none of its {len(lines)} lines names a picture",
            where=where,
            expected=f"{_EXPECTED}, relative to the working directory or to the list",
            found=lines[0].text,
        )
    return lines


def stream_list(word: str) -> Iterator[Line]:
    """Yield the lines of a list while it is written, each as soon as it is complete.

    Parameters
    ----------
    word : str
        As of `read_list`.

    Yields
    ------
    line : Line
        A line that is not empty.

    Raises
    ------
    DarknetError
        It cannot be read, is empty or not a list.
    """
    empty = True
    with _opened(word) as (stream, file):
        for line in _lines(_as_they_come(stream, dn.Where(file=file)), file, _folder(word)):
            empty = False
            yield line
    if empty:
        raise _empty(dn.Where(file=file))


@contextmanager
def _opened(word: str) -> Iterator[tuple[BinaryIO, str]]:
    """Open a list, or standard input; and give the name that messages use."""
    from darknet_bn.formats.reading import open_file, reported
    from darknet_bn.pictures.addresses import is_address, read_address

    file = "standard input" if word == kinds.STDIN else word
    if word == kinds.STDIN and sys.stdin is None:
        raise dn.DarknetError("is closed", where=dn.Where(file=file))
    with reported(file):
        if word == kinds.STDIN:
            yield sys.stdin.buffer, file
        elif is_address(word):
            yield io.BytesIO(read_address(word, _MOST_BYTES)), file
        else:
            with open_file(word, piped=True) as stream:
                yield stream, file


def _folder(word: str) -> str:
    """Return the folder of a list; standard input has none."""
    return "" if word == kinds.STDIN else os.path.dirname(word)


def _empty(where: dn.Where) -> EmptyList:
    return EmptyList("the list is empty", where=where, expected=_EXPECTED)


def _require_text(content: bytes, where: dn.Where) -> None:
    """Refuse bytes that cannot be the lines of a list."""
    other = _kind_of_content(content)
    if other is not None:
        raise dn.DarknetError(
            f"not a list of pictures but {other}", where=where, expected=_EXPECTED
        )


def _read(stream: BinaryIO) -> bytes:
    """Read a list, or enough of any other file to recognise it."""
    head = stream.read(_HEAD)
    if _kind_of_content(head) is not None:
        return head
    return head + stream.read(_MOST_BYTES)


def _kind_of_content(content: bytes) -> str | None:
    """Say what bytes are that cannot be a list."""
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            return name
    if _PORTABLE.match(content):
        return "a picture"
    if content.lstrip()[:1] == b"<":
        return "an HTML or XML page"
    return "binary data" if _CONTROL.search(content) else None


def _as_they_come(stream: BinaryIO, where: dn.Where) -> Iterator[bytes]:
    """Yield lines as soon as their end has arrived, without waiting for what follows."""
    rest, begins = b"", True
    while piece := cast("BufferedReader", stream).read1(_PIECE):
        if begins:
            _require_text(piece, where)
            begins = False
        *whole, rest = (rest + piece).split(b"\n")
        for raw in whole:
            yield from raw.splitlines() if raw else (raw,)
        if len(rest) > _LONGEST:
            raise dn.DarknetError(
                f"a line has more than {_LONGEST} bytes", where=where, expected=_EXPECTED
            )
    yield from rest.splitlines()


def _lines(raws: Iterable[bytes], file: str, folder: str) -> Iterator[Line]:
    """Yield the lines that are not empty.  Names of files are bytes, whatever their encoding."""
    for number, raw in enumerate(raws, start=1):
        text = os.fsdecode((raw.removeprefix(_MARK) if number == 1 else raw).strip())
        if text:
            found = beside_list(text, folder)
            yield Line(text, found, dn.Where(file=file, line=number, key=text))


def beside_list(path: str, folder: str) -> str:
    """Return a path, or the same next to a list if only that exists.

    Parameters
    ----------
    path : str
        As a list has it.
    folder : str
        The folder of the list.
    """
    beside = os.path.join(folder, path)
    return path if os.path.lexists(path) or not os.path.lexists(beside) else beside
