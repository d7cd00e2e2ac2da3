"""Files of pictures, made in memory, for tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.support.paths import FIXTURES

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

PREPROCESS = FIXTURES / "preprocess"
PNGS = sorted(PREPROCESS.glob("*.png"))

_RNG = np.random.default_rng(7)
COLOURS: U8 = _RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
NOISE: U8 = _RNG.integers(0, 256, (64, 48, 3), dtype=np.uint8)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def planes(pixels: npt.NDArray[Any]) -> F32:
    """8-bit pixels (h, w, 3) or (h, w) as three planes."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return (pixels.transpose(2, 0, 1) / 255).astype(np.float32)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG file by hand, of kinds that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data
