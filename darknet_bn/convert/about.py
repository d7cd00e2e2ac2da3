"""The metadata stored next to the arrays, so that they become the same two Darknet files again.

=================== ========================================================================
name                text
=================== ========================================================================
cfg                 the ``.cfg`` as it is; if it is not UTF-8, ``cfg_base64`` instead
header              the header of the ``.weights`` file, its bytes as hexadecimal digits
dialect             the name of the dialect in force; absent for one that has been changed
names               the naming scheme of the arrays
files               JSON: the content of the files that options of the cfg name, in base64;
                    absent if there are none
=================== ========================================================================
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.errors import WeightsError, Where, shown
from darknet_bn.model.model import Model
from darknet_bn.model.weights import Header


@dataclass(frozen=True)
class About:
    """What the metadata of a file say.

    Attributes
    ----------
    cfg : bytes
    header : Header
    dialect : Dialect or None
    names : str
    files : mapping from name to bytes
    """

    cfg: bytes
    header: Header
    dialect: Dialect | None
    names: str
    files: Mapping[str, bytes] = field(default_factory=dict)


def format_about(model: Model, names: str) -> dict[str, str]:
    """Return the metadata of a model whose arrays follow a naming scheme."""
    about: dict[str, str] = {}
    cfg = model.cfg.to_bytes()
    try:
        about["cfg"] = cfg.decode()
    except UnicodeDecodeError:
        about["cfg_base64"] = base64.b64encode(cfg).decode()
    about["header"] = model.header.to_bytes().hex()
    if DIALECTS.get(model.dialect.name) == model.dialect:
        about["dialect"] = model.dialect.name
    about["names"] = names
    if model.network.files:
        files = {
            name: base64.b64encode(content).decode()
            for name, content in model.network.files.items()
        }
        about["files"] = json.dumps(files)
    return about


def parse_about(metadata: Mapping[str, str]) -> About:
    """Read metadata.

    Raises
    ------
    WeightsError
        They are incomplete or invalid; the message does not name the file.
    """
    names = metadata.get("names", "")
    dialect = metadata.get("dialect")
    if dialect is not None and dialect not in DIALECTS:
        raise _wrong("dialect", f"one of {', '.join(DIALECTS)}", dialect)
    return About(
        _cfg(metadata),
        _header(metadata.get("header", "")),
        None if dialect is None else DIALECTS[dialect],
        names,
        _files(metadata.get("files", "{}")),
    )


def _cfg(metadata: Mapping[str, str]) -> bytes:
    if "cfg" in metadata:
        try:
            return metadata["cfg"].encode()
        except UnicodeEncodeError as error:
            raise _wrong("cfg", "text", "half of a character") from error
    return _bytes("cfg_base64", metadata.get("cfg_base64", ""))


def _header(text: str) -> Header:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) not in (16, 20):
        raise _wrong("header", "the 16 or 20 bytes of a header as hexadecimal digits", text)
    major, minor, revision = (
        int.from_bytes(data[at : at + 4], "little", signed=True) for at in (0, 4, 8)
    )
    return Header(major, minor, revision, int.from_bytes(data[12:], "little"), len(data) - 12)


def _files(text: str) -> Mapping[str, bytes]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise _wrong("files", "a JSON object of strings", text)
    return {name: _bytes("files", content) for name, content in found.items()}


def _bytes(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise _wrong(name, "base64", text) from error


def _wrong(name: str, expected: str, found: str) -> WeightsError:
    return WeightsError(
        "the metadata is damaged",
        where=Where(key=name),
        expected=expected,
        found=ascii(shown(found, 40)),
    )
