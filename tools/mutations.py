"""Seeded mutations of files: of their bytes, of their words, and of their parts.

A damaged byte in an archive is found by its checksum, and one in a length ends the reading.  So
that damage gets deeper, some mutations take a file apart, change a part, and put it together with
correct lengths and checksums: the members of a zip archive, the head of an ``.npy`` or a
``.safetensors``, the fields of a protobuf message.
"""

from __future__ import annotations

import contextlib
import io
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

_MOST = 1 << 16  # bytes of the result
_EDGES = (0, 1, 2, 3, 7, 8, 16, 64, 127, 128, 255, 256, 32767, 32768, 65535, 65536)
_NUMBERS = (
    *_EDGES,
    *(1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 62) - 1, 1 << 62),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -1, -2, -(1 << 31), -(1 << 31) - 1),
)
_WORDS = (
    *map(str, _NUMBERS),
    *("1e300", "-1e300", "1e-300", "1e38", "4e38", "nan", "inf", "-inf", "0x1p2000", "0.5", "."),
    *("", "-", "=", "#", ";", ",", ",,", "[", "]", "[]", "{", "}", "null", "true", '"', "'", "\\"),
    *(
        "\0",
        "\n",
        "\r",
        "\t",
        "\x1b[31m",
        "\ufeff",
        "é",
        "\ud800",
        "A" * 300,
        "9" * 40,
        "/dev/zero",
    ),
)
_TEXT_HEAD = re.compile(rb"'<U[0-9]+'")
_WORD = re.compile(rb"[-+]?[0-9][0-9.]*|[A-Za-z_]+|\s+|.", re.DOTALL)


def mutate(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Return a file with one to four changes.

    Parameters
    ----------
    data : bytes
    rng : Random
    others : sequence of bytes
        Files of the same kind, from which parts may be taken.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        change = rng.choice(_IN_PARTS if rng.random() < 0.5 else _PLAIN)
        with contextlib.suppress(_NotOfThisKind):
            data = change(data, rng, others)[:_MOST]
    return data


class _NotOfThisKind(Exception):
    """The file has no parts of the kind that a mutation changes."""


# -- bytes and words -----------------------------------------------------------------------------


def _flip(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"\0")
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _byte(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"\0")
    changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _integer(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    width = rng.choice((1, 2, 4, 8))
    number = rng.choice(_NUMBERS) % (1 << 8 * width)
    at = rng.randrange(max(1, len(data) - width + 1))
    return data[:at] + number.to_bytes(width, rng.choice(("little", "big"))) + data[at + width :]


def _cut(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _gap(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    begin, end = _range(data, rng)
    return data[:begin] + data[end:]


def _twice(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    begin, end = _range(data, rng)
    return data[:begin] + data[begin:end] * rng.choice((2, 2, 2, 3, 40)) + data[end:]


def _moved(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    begin, end = _range(data, rng)
    rest = data[:begin] + data[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + data[begin:end] + rest[at:]


def _splice(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _word(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    # Near a random offset: taking all of a large file apart would be slow.
    near = rng.randrange(len(data) + 1)
    begin, end = max(0, near - 40), min(len(data), near + 40)
    words = _WORD.findall(data[begin:end]) or [b""]
    at = rng.randrange(len(words))
    new = rng.choice(_WORDS).encode("utf-8", "surrogatepass")
    words[at] = rng.choice((new, new, words[at] + new, rng.choice(words)))
    return data[:begin] + b"".join(words) + data[end:]


def _lines(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    more = rng.choice(others).split(b"\n")
    at = rng.randrange(len(lines))
    new = rng.choice(([], [rng.choice(lines)], [rng.choice(more)], [lines[at]] * 30))
    lines[at : at + rng.randrange(2)] = new
    return b"\n".join(lines)


def _range(data: bytes, rng: random.Random) -> tuple[int, int]:
    begin = rng.randrange(len(data) + 1)
    return begin, min(len(data), begin + rng.choice((1, 2, 4, 8, 30, 200)))


# -- parts ---------------------------------------------------------------------------------------


def _in_zip(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Change a member, its name or its compression; or leave one out or repeat it."""
    members = _members(data)
    at = rng.randrange(len(members))
    name, content = members[at]
    match rng.randrange(6):
        case 0:
            members[at] = (_text(name, rng), content)
        case 1:
            del members[at]
        case 2:
            other = _members(rng.choice(others))
            members.append((rng.choice((name, rng.choice(other)[0])), rng.choice(other)[1]))
        case _:
            members[at] = (name, _part(content, rng, [each for _, each in members]))
    out = io.BytesIO()
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with (
        zipfile.ZipFile(out, "w", how) as archive,
        contextlib.suppress(ValueError),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # about duplicate names, which are intended here
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, how)
    return out.getvalue()


def _members(data: bytes) -> list[tuple[str, bytes]]:
    if data[:2] != b"PK":
        raise _NotOfThisKind
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(each.filename, archive.read(each)) for each in archive.infolist()[:50]]
    except Exception as error:  # a damaged archive, which has no parts any more
        raise _NotOfThisKind from error
    if not members:
        raise _NotOfThisKind
    return members


def _text(text: str, rng: random.Random) -> str:
    data = _PLAIN[rng.randrange(len(_PLAIN))](text.encode(), rng, [text.encode(), b"x"])
    return data.decode("utf-8", "replace").replace("\0", "")


def _part(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Change an ``.npy`` by its head, and other files by their bytes."""
    if content[:6] == b"\x93NUMPY" and rng.random() < 0.7:
        return _in_npy(content, rng, others)
    return rng.choice(_PLAIN)(content, rng, others)


def _in_npy(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    if data[:6] != b"\x93NUMPY" or len(data) < 10:
        raise _NotOfThisKind
    end = 10 + int.from_bytes(data[8:10], "little")
    if _TEXT_HEAD.search(data[10:end]) and rng.random() < 0.7:
        return _in_text(data[:end], data[end:], rng, others)
    head = rng.choice((_word, _byte, _twice, _gap))(data[10:end], rng, others)
    return data[:8] + struct.pack("<H", len(head) & 0xFFFF) + head + data[end:]


def _in_text(head: bytes, values: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Change the characters of an array that is a text."""
    text = values.decode("utf-32-le", "replace").encode("utf-8", "surrogatepass")
    changed = rng.choice(_PLAIN)(text, rng, others).decode("utf-8", "replace")
    count = f"'<U{len(changed)}'".encode()
    new = _TEXT_HEAD.sub(count, head[10:]).ljust(1)
    values = changed.encode("utf-32-le", "surrogatepass")
    return head[:8] + struct.pack("<H", len(new) & 0xFFFF) + new + values


def _in_safetensors(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= len(data) - 8 or data[8:9] != b"{":
        raise _NotOfThisKind
    head = rng.choice((_word, _word, _byte, _twice, _gap))(data[8 : 8 + size], rng, others)
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


def _in_protobuf(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Change, leave out or repeat a field somewhere in the tree of messages; lengths stay right."""
    fields = _fields(data)
    at = rng.randrange(len(fields))
    number, value = fields[at]
    if isinstance(value, bytes) and rng.random() < 0.8:
        with contextlib.suppress(_NotOfThisKind):
            fields[at] = (number, _in_protobuf(value, rng, others))
            return _message(fields)
    match rng.randrange(5):
        case 0:
            del fields[at]
        case 1:
            fields += [fields[at]] * rng.choice((1, 1, 30))
        case 2:
            fields[at] = (rng.choice((number, rng.randrange(1, 40))), rng.choice(fields)[1])
        case _ if isinstance(value, bytes):
            fields[at] = (number, rng.choice(_PLAIN)(value, rng, others))
        case _:
            fields[at] = (number, rng.choice(_NUMBERS) % (1 << 64))
    return _message(fields)


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Take a protobuf message apart; numbers of fixed width, rare in ONNX, are not read."""
    fields: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        if tag & 7 == 0:
            fields.append((tag >> 3, value))
        elif tag & 7 == 2 and at + value <= len(data):
            fields.append((tag >> 3, data[at : at + value]))
            at += value
        else:
            raise _NotOfThisKind
    if not fields or fields[0][0] == 0:
        raise _NotOfThisKind
    return fields


def _message(fields: Sequence[tuple[int, int | bytes]]) -> bytes:
    parts = []
    for number, value in fields:
        if isinstance(value, bytes):
            parts += [_varint(number << 3 | 2), _varint(len(value)), value]
        else:
            parts += [_varint(number << 3), _varint(value)]
    return b"".join(parts)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 64:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return number, at
    raise _NotOfThisKind


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


_PLAIN: tuple[Mutation, ...] = (
    *(_flip, _byte, _integer, _cut, _gap, _twice, _moved, _splice),
    *(_word, _word, _word, _lines),
)
_IN_PARTS: tuple[Mutation, ...] = (_in_zip, _in_zip, _in_npy, _in_safetensors, _in_protobuf)
