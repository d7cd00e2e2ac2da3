"""Writers of a few bytes, and what a folder holds, for tests of writing."""

from __future__ import annotations

from pathlib import Path

from darknet_bn.formats.writing import Writer


def writer(data: bytes) -> Writer:
    return lambda stream: stream.write(data)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
