"""Clips of moving shapes, made by PyAV, and a detector that knows shapes by their colour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.predictions import ClassScore

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (40, 40, 220)
COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}
GREY = 90
RATE = 10
BASE = Fraction(1, 1000)

Box = tuple[int, int, int, int]  # left, top, width, height
Scene = Sequence[tuple[str, Box]]  # what is in a frame; later shapes hide earlier ones


def require_av() -> Any:
    """PyAV; skips if it is absent."""
    return pytest.importorskip("av", reason="PyAV is not installed")


def picture(scene: Scene, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A frame (h, w, 3) with rectangles in it."""
    pixels = np.full((size[1], size[0], 3), GREY, np.uint8)
    for name, (left, top, width, height) in scene:
        pixels[max(top, 0) : top + height, max(left, 0) : left + width] = COLOURS[name]
    return pixels


def write_clip(
    path: Path,
    scenes: Iterable[Scene],
    times: Sequence[float] | None = None,
    *,
    size: tuple[int, int] = (96, 64),
    turned: int = 0,
    sound: str | None = None,
    codec: str = "libx264",
    form: str | None = None,
    base: Fraction = BASE,
    aspect: Fraction = Fraction(1),
) -> Path:
    """Write a clip whose frames have these scenes, at these times or every tenth of a second.

    ``turned`` is by how many degrees a player turns it, as a phone's file says; ``sound`` is the
    codec of a tone that it has.
    """
    av = require_av()
    with av.open(str(path), "w", format=form) as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = base
        stream.codec_context.sample_aspect_ratio = aspect
        if codec == "libx264":
            stream.options = {"crf": "10", "preset": "ultrafast"}
        if turned:
            stream.set_display_rotation(turned)
        tone = file.add_stream(sound, rate=48000) if sound else None
        end = 0.0
        for at, scene in enumerate(scenes):
            frame = av.VideoFrame.from_ndarray(picture(scene, size), format="rgb24")
            seconds = at / RATE if times is None else times[at]
            frame.pts, frame.time_base = round(seconds / base), base
            file.mux(stream.encode(frame))
            end = seconds
        file.mux(stream.encode(None))
        if tone is not None:
            _write_tone(av, file, tone, end)
    return path


def _write_tone(av: Any, file: Any, stream: Any, seconds: float) -> None:
    at = np.arange(round(48000 * seconds))
    wave = (8000 * np.sin(at * 2 * np.pi * 440 / 48000)).astype(np.int16)
    resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=48000)
    for start in range(0, len(wave), 960):
        piece = av.AudioFrame.from_ndarray(wave[None, start : start + 960], "s16", "mono")
        piece.sample_rate, piece.pts = 48000, start
        for each in resampler.resample(piece):
            file.mux(stream.encode(each))
    file.mux(stream.encode(None))


class ByColour:
    """Finds rectangles by their colours; it is called as a `Detector` is."""

    def __init__(self, names: Sequence[str] = tuple(COLOURS)) -> None:
        self.names = tuple(names)
        self.calls = 0

    def __call__(self, pixels: np.ndarray) -> list[dn.Detection]:
        self.calls += 1
        height, width = pixels.shape[:2]
        found = []
        for number, name in enumerate(self.names):
            near = np.abs(pixels.astype(int) - COLOURS[name]).max(axis=2) < 60
            if near.sum() < 12:
                continue
            rows, columns = np.nonzero(near.any(axis=1))[0], np.nonzero(near.any(axis=0))[0]
            found.append(
                found_at(
                    name,
                    (
                        int(columns[0]),
                        int(rows[0]),
                        int(columns[-1] - columns[0] + 1),
                        int(rows[-1] - rows[0] + 1),
                    ),
                    (width, height),
                    number,
                )
            )
        return found


def found_at(
    name: str, box: tuple[float, float, float, float], size: tuple[int, int], number: int = 0
) -> dn.Detection:
    """The detection of a box (left, top, width, height) in a picture of a size (width, height)."""
    left, top, width, height = box
    relative = (
        (left + width / 2) / size[0],
        (top + height / 2) / size[1],
        width / size[0],
        height / size[1],
    )
    return dn.Detection((ClassScore(number, name, 0.9),), 0.9, relative, (size[1], size[0]))


def passing(frames: int = 20, times: Sequence[float] | None = None) -> list[Scene]:
    """A red shape goes to the right, a blue one to the left in front of it: they cross."""
    ways = [round(30 * each) for each in times or np.arange(frames) / RATE]
    return [[("red", (4 + at, 22, 14, 14)), ("blue", (74 - at, 26, 14, 20))] for at in ways]


Frames = Callable[[], Iterable[dn.VideoFrame]]
