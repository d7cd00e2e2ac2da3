"""What public values share: a line for ``__repr__``, what is pickled, and what is in their JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

_FEW = 4  # items of a collection that are shown
_LONGEST = 120  # characters of a line
_LONGEST_NAME = 40  # characters of a file name in it
_SCHEMA = 1  # of all JSON: a new number if a field changes its meaning


def brief(value: object, text: str) -> str:
    """Return ``<Type text>`` for ``__repr__``: one line, short enough for a log."""
    name = type(value).__name__
    line = f"{name} {shortened(text, _LONGEST - len(name) - 3)}"
    return f"<{line.strip()}>"


def file_name(path: str | os.PathLike[str] | None) -> str:
    """Return the name of a file without its folder; ``no file`` if there is none."""
    if path is None:
        return "no file"
    return shortened(os.path.basename(os.fspath(path)), _LONGEST_NAME)


def shortened(text: str, limit: int) -> str:
    """Return text on one line, without its middle if it is longer than the limit."""
    line = "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
    if len(line) <= limit:
        return line
    kept = limit - 1
    return f"{line[: kept - kept // 2]}…{line[-(kept // 2) :]}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 layer`` or ``3 layers``; ``plural`` is for a plural that needs more than an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass for ``__getstate__``, without those derived from others."""
    return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}


def brief_fields(value: Any) -> str:
    """Return `brief` of a dataclass by its fields: arrays by shape, long fields by length."""
    fields = fields_of(value).items()
    return brief(value, ", ".join(f"{name}={_shown(each)}" for name, each in fields))


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (Mapping, tuple, list)) and len(value) > _FEW:
        return f"{len(value)} items"
    return repr(value)


def json_text(facts: Mapping[str, Any], *, compact: bool = False) -> str:
    """Return facts as one JSON object; non-finite numbers become "nan", "inf" or "-inf"."""
    form: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    return json.dumps({"schema": _SCHEMA} | _plain(facts), allow_nan=False, **form)


def json_line(facts: Mapping[str, Any]) -> str:
    """Return facts as one JSON object in one line, without the number of the schema."""
    return json.dumps(_plain(facts), allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(fields_of(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
