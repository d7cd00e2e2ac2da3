"""The part of YAML that a ``data.yaml`` needs: texts, lists and numbered names at its top level.

Values of other keys, such as a script under ``download``, are passed over unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from darknet_bn.errors import DarknetError, Where, quoted
from darknet_bn.formats.names import read_lines

Value: TypeAlias = "str | list[str] | dict[str, str]"

_MAX_BYTES = 4 << 20
_KEY = re.compile(r"""([A-Za-z_][\w-]*|'[^']*'|"[^"]*"):(?:\s+(.*))?$""")
_PAIR = re.compile(r"""('[^']*'|"[^"]*"|[^\s:'"][^:]*):(?:\s+(.*))?$""")
_QUOTED = {"'": re.compile(r"'(?:[^']|'')*'"), '"': re.compile(r'"(?:[^"\\]|\\.)*"')}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_NO_TEXT = ("", "~", "null", "Null", "NULL")


def load_yaml(path: str, keys: tuple[str, ...]) -> Mapping[str, Value]:
    """Read some keys of the top level of a YAML file.

    Parameters
    ----------
    path : str
    keys : tuple of str
        The keys to read; others are passed over.

    Returns
    -------
    values : mapping from str to str, list or dict
        Those of the keys that are there and have a value.

    Raises
    ------
    DarknetError
        The file is not a text, or a value is more than YAML's plain lists and texts.
    """
    wanted = set(keys)
    found: dict[str, Value] = {}
    for number, key, first, block in _entries(path):
        if key in wanted:
            value = _value(first, block, Where(file=path, line=number, key=key))
            if value not in _NO_TEXT:
                found[key] = value
    return found


def _entries(path: str) -> Iterator[tuple[int, str, str, list[str]]]:
    """Yield the line, the key, the text after it and the lines below it, of each key."""
    entry: tuple[int, str, str, list[str]] | None = None
    for number, line in enumerate(read_lines(path, _MAX_BYTES, strip=False), start=1):
        top = line.rstrip()
        match = _KEY.match(top) if top[:1] not in ("", " ", "\t", "#", "-") else None
        if match is not None:
            if entry is not None:
                yield entry
            entry = (number, _plain(match[1]), _without_comment(match[2] or ""), [])
        elif entry is not None:
            entry[3].append(line)
        elif top and not top.startswith(("#", "---", "%")):
            raise DarknetError(
                "this is not a data.yaml",
                where=Where(file=path, line=number),
                expected="key: value",
                found=quoted(top),
            )
    if entry is not None:
        yield entry


def _value(first: str, block: list[str], where: Where) -> Value:
    if first[:1] in ("[", "{"):
        text = " ".join([first, *map(_without_comment, block)]).strip()
        close = {"[": "]", "{": "}"}[text[0]]
        if not text.endswith(close):
            raise DarknetError("the bracket is not closed", where=where, found=quoted(text))
        pieces = _pieces(text[1:-1], where)
        return pieces if close == "]" else dict(_pair(each, where) for each in pieces)
    if first:
        if first[0] in "|>&*!":
            raise DarknetError(
                "this kind of YAML value is not read", where=where, found=quoted(first)
            )
        return _plain(first)
    rows = [row for line in block if (row := _without_comment(line))]
    if all(row.startswith("-") for row in rows):
        return [_plain(row[1:].strip()) for row in rows] or ""
    return dict(_pair(row, where) for row in rows)


def _pieces(text: str, where: Where) -> list[str]:
    """Return what is between the commas that are not in quotes; pairs keep their quotes."""
    outside = list(_outside_quotes(text))
    if any(each in "[]{}" for _, each in outside):
        raise DarknetError("this kind of YAML value is not read", where=where, found=quoted(text))
    ends = [at for at, each in outside if each == ","]
    starts = [0, *(at + 1 for at in ends)]
    pieces = [
        text[start:end].strip() for start, end in zip(starts, [*ends, len(text)], strict=True)
    ]
    if pieces[-1] == "":  # after the last comma, or in an empty list
        pieces.pop()
    return [each if _PAIR.match(each) else _plain(each) for each in pieces]


def _outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """Yield each character that is not in quotes, and its place.

    Quotes are such only at the beginning of a value.
    """
    at, begins = 0, True
    while at < len(text):
        each = text[at]
        if begins and each in "'\"":
            match = _QUOTED[each].match(text, at)
            if match is not None:
                at, begins = match.end(), False
                continue
        blank_follows = at + 1 == len(text) or text[at + 1].isspace()
        begins = each in "[{," or (each in ":-" and blank_follows) or (begins and each.isspace())
        yield at, each
        at += 1


def _pair(row: str, where: Where) -> tuple[str, str]:
    match = _PAIR.match(row)
    if match is None:
        raise DarknetError("expected a number and a name", where=where, found=quoted(row))
    return _plain(match[1].strip()), _plain((match[2] or "").strip())


def _without_comment(line: str) -> str:
    for at, each in _outside_quotes(line):
        if each == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at].strip()
    return line.strip()


def _plain(text: str) -> str:
    """Return a text without its quotes."""
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPE.sub(_unescaped, text[1:-1])
    return text


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is None:
        return _LETTERS.get(match[4], match[4])
    number = int(code, 16)
    return chr(number) if number < 0x110000 else "?"
