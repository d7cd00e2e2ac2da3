r"""The text of a ``.cfg`` file, as sections that know their lines; nothing is lost in writing.

The format, as Darknet's ``read_cfg`` (``src/parser.c``) reads it:

- A line ends at ``\n``, or at the end of the file.  Blanks (space, tab, ``\r``) are deleted
  everywhere in a line, inside names and values too: ``max batches = 5 0`` is ``maxbatches=50``.
- A line that is then empty, or starts with ``#`` or ``;``, is a comment.  A comment character
  later on belongs to the value: ``filters=40#32`` is the text ``40#32``, whose number is 40.
- A line that starts with ``[`` opens a section.  Its name is the whole line, so ``[net]#1`` is
  not ``[net]`` there; hank-ai's fork and OpenCV drop the comment, and so does this module.
- Any other line is an option of the section above, split at its first ``=``.  Without ``=`` it
  is an option without a value, which counts as absent and hides later ones of the same name.
  With nothing after ``=`` it is dropped.
- If a key occurs twice in a section, the first counts.
- Names are case-sensitive bytes; comments may be in any encoding.

A cfg has at most 1 MiB and 4096 sections: the largest published ones have 70 kB and 250.  The first
100 odd lines are reported, and the number of the others.

Two numbers with only blanks between them become one number, ``45 61`` is 4561: there is a warning.
Unlike Darknet, this module ignores a UTF-8 byte-order mark at the start, and understands Windows
line ends in every dialect.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike, fspath

from darknet_bn.errors import CfgError, DarknetWarning, Oddities, Where, shown
from darknet_bn.formats import foreign
from darknet_bn.formats.reading import read_file
from darknet_bn.values import brief, counted, fields_of, file_name

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
# A section with a comment after it, without blanks.
_HEAD = re.compile(r"(\[[^\[\]]*\])((?:[#;]|//).*)")
# Without this in a line no number has become one with the next.
_APART = re.compile(rb"[-+0-9.eE][ \t\r\n]+[-+0-9.eE]")
_NUMBERS = re.compile(r"[-+0-9.,eE \t\r\n]*")
_MAX_BYTES = 1 << 20  # a weights file given by mistake has more
_MAX_SECTIONS = 4096


@dataclass(frozen=True)
class Option:
    """One ``key=value`` line; ``value`` is None if there is no ``=``."""

    key: str
    value: str | None
    line: int


@dataclass(frozen=True)
class Section:
    """A section: its name without brackets, its first and last line, its options in file order."""

    name: str
    line: int
    last_line: int
    options: tuple[Option, ...] = ()

    def __repr__(self) -> str:
        """Return one line about it."""
        place = f"[{self.name}] in line {self.line}"
        return brief(self, f"{place}: {counted(len(self.options), 'option')}")

    def __getstate__(self) -> dict[str, object]:
        """Return what is pickled."""
        return fields_of(self)

    def find(self, key: str) -> Option | None:
        """Return the option that counts for ``key``: the first, or None."""
        return self._firsts.get(key)

    def last(self, key: str) -> Option | None:
        """Return the last option with the key, which is the one that counts for OpenCV; or None."""
        return self._lasts.get(key)

    @cached_property
    def _firsts(self) -> dict[str, Option]:
        return {option.key: option for option in reversed(self.options)}

    @cached_property
    def _lasts(self) -> dict[str, Option]:
        return {option.key: option for option in self.options}


@dataclass(frozen=True)
class Cfg:
    """A parsed ``.cfg``: the lines of the file, and the sections read from them.

    Attributes
    ----------
    lines : tuple of bytes
        Every line with its line end, byte for byte.
    sections : tuple of Section
        ``sections[0]`` is ``[net]``; layer i is ``sections[i + 1]``.
    file : str or None
        The name to use in messages.
    oddities : tuple of str
        Warnings about oddities that have one clear meaning.
    """

    lines: tuple[bytes, ...]
    sections: tuple[Section, ...]
    file: str | None = None
    oddities: tuple[str, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        """Return one line about it."""
        size = f"{counted(len(self.sections), 'section')}, {counted(len(self.lines), 'line')}"
        return brief(self, f"{file_name(self.file)}: {size}")

    def to_bytes(self) -> bytes:
        """Return the file; for an unedited cfg, exactly the bytes that were parsed."""
        return b"".join(self.lines)

    def where(self, section: int, key: str | None = None) -> Where:
        """Return the place of a section (0 is ``[net]``), or of one of its options."""
        found = self.sections[section]
        option = None if key is None else found.find(key)
        return Where(
            file=self.file,
            line=option.line if option else found.line,
            section=found.name,
            layer=section - 1 if section else None,
            key=key,
        )

    def joined_numbers(self, section: int, key: str) -> str | None:
        """Return which numbers of a value became one for lack of a comma; None if none did."""
        option = self.sections[section].find(key)
        return None if option is None else _joined(self.lines[option.line - 1])

    def edited(self, edits: Mapping[tuple[int, str], str | None]) -> Cfg:
        """Return a copy with some options set, and all other lines as they are.

        Parameters
        ----------
        edits : mapping from (section number, key) to str or None
            The new value, or None to remove the option's line (and its duplicates).  An option that
            does not exist yet gets a new line after the last one of its section.
        """
        lines = list(self.lines)
        added: dict[int, list[bytes]] = {}
        end = b"\r\n" if self.lines[0].endswith(b"\r\n") else b"\n"
        for (number, key), value in edits.items():
            section = self.sections[number]
            option = section.find(key)
            if value is None:
                for each in section.options:
                    if each.key == key:
                        lines[each.line - 1] = b""
            elif option is None:
                line = f"{key}={value}".encode("utf-8", "surrogateescape") + end
                added.setdefault(section.last_line - 1, []).append(line)
            else:
                lines[option.line - 1] = _with_value(self.lines[option.line - 1], value)
        for at, new in added.items():
            if lines[at] and not lines[at].endswith(b"\n"):  # the last line of the file
                lines[at] += end
            lines[at] += b"".join(new)
        return _parse(b"".join(lines), self.file)

    def without_sections(self, numbers: set[int]) -> Cfg:
        """Return a copy without some sections: from their heading to their last option."""
        gone = [self.sections[number] for number in numbers]
        lines = {line for each in gone for line in range(each.line, each.last_line + 1)}
        kept = (raw for line, raw in enumerate(self.lines, start=1) if line not in lines)
        return _parse(b"".join(kept), self.file)


def parse_cfg(data: str | bytes, *, file: str | None = None) -> Cfg:
    """Read the text of a ``.cfg`` file.

    Parameters
    ----------
    data : str or bytes
        The text; bytes come back unchanged from ``parse_cfg(data).to_bytes()``.
    file : str, optional
        The name to use in messages.

    Raises
    ------
    CfgError
        The text does not start with ``[net]``, or is not a cfg at all.

    Warns
    -----
    DarknetWarning
        A key occurs twice, or a line is not understood.

    Notes
    -----
    C: ``read_cfg`` in ``src/parser.c``, ``read_option`` in ``src/option_list.c``.
    """
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(data)
    cfg = _parse(raw, file)
    _warn(cfg)
    return cfg


def load_cfg(path: str | PathLike[str]) -> Cfg:
    """Read a ``.cfg`` file; as `parse_cfg`, with the file's name in every message.

    Raises
    ------
    CfgError
        The file cannot be read, or is not a cfg.
    """
    cfg = _parse(read_file(path, _MAX_BYTES, CfgError), fspath(path))
    _warn(cfg)
    return cfg


def _warn(cfg: Cfg) -> None:
    for oddity in cfg.oddities:
        warnings.warn(oddity, DarknetWarning, stacklevel=3)  # at the caller of `load_cfg`


def _parse(data: bytes, file: str | None) -> Cfg:
    _refuse_other_formats(data, file)
    lines = _split(data)
    heads: list[tuple[str, int]] = []
    lasts: list[int] = []
    options: list[list[Option]] = []
    odd = Oddities()
    seen: dict[str, int] = {}

    for number, raw in enumerate(lines, start=1):
        text = _strip(raw.removeprefix(_BOM) if number == 1 else raw)
        if not text or text[0] in "#;":
            continue
        if text[0] == "[":
            if head := _HEAD.fullmatch(text):
                text, comment = head.groups()
                where = Where(file=file, line=number, section=text[1:-1])
                odd(
                    f"{where}: the comment {shown(comment, 60)!r} is ignored; pjreddie's and "
                    "AlexeyAB's Darknet treat it as part of the name: put it on its own line"
                )
            if not text.endswith("]"):
                raise CfgError(
                    "a section line must end with its bracket",
                    where=Where(file=file, line=number),
                    expected="[name]",
                    found=shown(text, 60),
                )
            if len(heads) >= _MAX_SECTIONS:
                raise CfgError(
                    "there are too many sections",
                    where=Where(file=file, line=number),
                    expected=f"at most {_MAX_SECTIONS}",
                )
            heads.append((text[1:-1], number))
            lasts.append(number)
            options.append([])
            seen = {}
            continue
        if not heads:
            raise CfgError(
                "there is an option before the first section",
                where=Where(file=file, line=number),
                expected="[net]",
                found=shown(text, 60),
            )
        lasts[-1] = number
        key, equals, value = text.partition("=")
        if not value or key in seen or _APART.search(raw):
            for problem in _problems(raw, equals, value, seen.get(key)):
                where = Where(file=file, line=number, section=heads[-1][0], key=key)
                odd(f"{where}: {problem}")
        if equals and not value:
            continue
        seen.setdefault(key, number)
        options[-1].append(Option(key, value if equals else None, number))

    sections = tuple(
        Section(name, line, last, tuple(body))
        for (name, line), last, body in zip(heads, lasts, options, strict=True)
    )
    if not sections or sections[0].name not in ("net", "network"):
        raise CfgError(
            "the first section must be [net] or [network]",
            where=Where(file=file, line=sections[0].line if sections else None),
            found=f"[{shown(sections[0].name, 60)}]" if sections else "no section",
        )
    return Cfg(lines, sections, file, odd.texts)


def _problems(raw: bytes, equals: str, value: str, first: int | None) -> Iterator[str]:
    """Yield what is odd about an option, whose key may already have occurred in the section."""
    if equals and not value:
        yield "there is no value after '='; the line is ignored"
        return
    if not equals:
        yield "there is no '='; the option is ignored"
    if joined := _joined(raw):
        yield joined
    if first is not None:
        yield f"occurs twice; the first, in line {first}, is used"


def _split(data: bytes) -> tuple[bytes, ...]:
    r"""Split after every ``\n``, and only there: a ``\r`` does not end a line."""
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return (*lines, parts[-1]) if parts[-1] else tuple(lines)


def _strip(raw: bytes) -> str:
    return raw.translate(None, _BLANKS).decode("utf-8", "surrogateescape")


def _joined(raw: bytes) -> str | None:
    value = raw.decode("utf-8", "replace").partition("=")[2].partition("#")[0].partition(";")[0]
    if not _NUMBERS.fullmatch(value):
        return None
    for item in value.split(","):
        parts = item.split()
        if len(parts) > 1:
            before, after = shown(" ".join(parts), 60), shown("".join(parts), 60)
            return f"spaces do not separate numbers: {before!r} is read as {after!r}"
    return None


def _with_value(raw: bytes, value: str) -> bytes:
    """Replace the value in a line; keep blanks around it and a comment after it."""
    new = value.encode("utf-8", "surrogateescape")
    head, equals, tail = raw.partition(b"=")
    if not equals:
        name = raw.rstrip(_BLANKS)
        return name + b"=" + new + raw[len(name) :]
    blanks = tail[: len(tail) - len(tail.lstrip(b" \t"))]
    text = tail[len(blanks) :]
    body = text.partition(b"#")[0].partition(b";")[0].rstrip(_BLANKS)
    return head + b"=" + blanks + new + text[len(body) :]


def _refuse_other_formats(data: bytes, file: str | None) -> None:
    problem = None
    if not data:
        problem = "the file is empty"
    elif data.startswith(foreign.UTF_16):
        problem = "the text is in UTF-16; save it as UTF-8"
    elif len(data) > _MAX_BYTES:
        problem = f"more than {_MAX_BYTES >> 20} MiB cannot be a cfg"
    elif data.lstrip()[:1] == b"<":
        problem = "this is an HTML or XML page, not a cfg"
    elif data.startswith(foreign.LFS_POINTER):
        problem = foreign.FETCH_IT
    elif b"\0" in data:
        problem = "the file contains zero bytes and is not text"
    if problem:
        raise CfgError(problem, where=Where(file=file), hint="is the .cfg given first?")
