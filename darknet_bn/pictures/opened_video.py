"""A video that is open: its facts, and its frames as the decoder gives them, with their times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from darknet_bn.errors import ImageError, one_line, reason_of
from darknet_bn.optional import load_extra
from darknet_bn.pictures.images import MOST_PIXELS, U8
from darknet_bn.pictures.places import WAIT, Place
from darknet_bn.values import brief

RATE = 25.0
"""Frames a second, if nothing says how long a frame lasts."""

_SLACK = 0.5  # seconds that a file may be shorter than it says
_MATRIX = "DISPLAYMATRIX"


@dataclass(frozen=True)
class VideoFacts:
    """What a video says of itself.

    Attributes
    ----------
    width, height : int
        Of upright frames, in pixels.
    rate : float or None
        Frames a second, on average.
    frames : int or None
        How many there are, or about how many.
    seconds : float or None
        How long it lasts; None for a camera, and for a stream without an end.
    codec : str
    turned : int
        By how many degrees its frames are turned to be upright, counterclockwise.
    sound : str or None
        The codec of its sound.
    time_base : Fraction
        Times are multiples of this many seconds.
    aspect : Fraction
        The width of a pixel by its height.
    """

    width: int
    height: int
    rate: float | None
    frames: int | None
    seconds: float | None
    codec: str
    turned: int
    sound: str | None
    time_base: Fraction
    aspect: Fraction

    def __repr__(self) -> str:
        """Return one line about it."""
        rate = "" if self.rate is None else f", {self.rate:.4g} frames/s"
        return brief(self, f"{self.width} x {self.height}, {self.codec}{rate}")


class OpenedVideo:
    """A video that is open."""

    def __init__(self, place: Place, sound: bool) -> None:
        self._place = place
        self._av = load_extra("av", error=ImageError, where=place.where)
        self._container = place.open()
        self.damaged = 0
        self.spoilt = False  # whether frames were made of damaged bytes
        self.sound = None
        self.broken = ""
        try:
            video = self._container.streams.video
            if not video:
                raise ImageError("there are no pictures in it, only sound", where=place.where)
            self._video = video[0]
            sounds = self._container.streams.audio
            self._sounds = [each for each in sounds if each.codec_context is not None][:1]
            self.sound = self._sounds[0] if self._sounds and sound else None
            context = self._video.codec_context
            if context is None:
                raise ImageError("there is no decoder for what is in it", where=place.where)
            context.thread_type = "AUTO"
            context.options = {"max_pixels": str(MOST_PIXELS)}
            self._require_size(context.width, context.height)
            self._ahead = self._decoded()
            self._peeked = next(self._ahead, None)
            self.facts = self._facts()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it, unless packets of its sound refer to it: it is closed with the last of them."""
        if self.sound is None:
            self._container.close()

    def _require_size(self, width: int, height: int) -> None:
        if width * height > MOST_PIXELS:
            raise ImageError(
                "the frames are too large",
                where=self._place.where,
                expected=f"at most {MOST_PIXELS} pixels",
                found=f"{width} x {height}",
            )

    def _facts(self) -> VideoFacts:
        if self._peeked is None:
            raise ImageError(
                "no frame can be decoded", where=self._place.where, found=self.broken or None
            )
        video, picture = self._video, self._peeked[0]
        height, width = picture.height, picture.width
        matrix = _matrix(picture)
        aspect = Fraction(video.codec_context.sample_aspect_ratio or 1)
        if matrix[1]:
            width, height, aspect = height, width, 1 / aspect
        rate = video.average_rate or video.guessed_rate
        seconds = self._seconds()
        frames = video.frames or (round(seconds * rate) if seconds and rate else None)
        return VideoFacts(
            width,
            height,
            float(rate) if rate else None,
            frames,
            seconds,
            video.codec_context.name,
            round(picture.rotation) % 360,
            self._sounds[0].codec_context.name if self._sounds else None,
            Fraction(video.time_base),
            aspect,
        )

    def _seconds(self) -> float | None:
        """Return how long the pictures last, as the file says; a raw stream only guesses."""
        if self._video.duration:
            return float(self._video.duration * self._video.time_base)
        if not self._container.duration or self._place.kind == "camera":
            return None
        return float(self._container.duration / self._av.time_base)

    def _start(self) -> float:
        """Return the time at which the video begins, on its own clock."""
        if self._place.kind == "file" and self._container.start_time is not None:
            return float(self._container.start_time / self._av.time_base)
        first = math.nan if self._peeked is None else self._time(self._peeked[0])
        return 0.0 if math.isnan(first) else first

    def _time(self, picture: Any) -> float:
        return math.nan if picture.pts is None else float(picture.pts * picture.time_base)

    def decoded(
        self, shift: float = 0.0, after: float = -math.inf
    ) -> Iterator[tuple[Any, float, list[Any]]]:
        """Yield frames with their times, and the sound before each.

        Parameters
        ----------
        shift : float
            The time at which it begins.
        after : float
            Frames up to this time are left out, because they were there before.
        """
        begin, step = self._start(), 1 / (self.facts.rate or RATE)
        late = shift - begin
        last, held = -step + shift, None
        sound: list[Any] = []
        while self._peeked is not None:
            (picture, packets), self._peeked = self._peeked, None
            seconds = self._time(picture) + late
            last = last + step if math.isnan(seconds) else seconds
            sound += (_later(each, late) for each in packets)
            if last > after:
                if held is not None:
                    yield *held, sound
                    sound = []
                held = picture, last
                if self.sound is None:  # nothing comes after it that belongs to it
                    yield *held, sound
                    held = None
            self._peeked = next(self._ahead, None)
        if held is not None:
            yield *held, sound + [_later(each, late) for each in self._rest]

    def _decoded(self) -> Iterator[tuple[Any, list[Any]]]:
        """Yield frames as they are in the file, and the packets of the sound before each."""
        streams = [each for each in (self._video, self.sound) if each is not None]
        sound: list[Any] = []
        try:
            for packet in self._container.demux(streams):
                if packet.stream is not self._video:
                    if packet.dts is not None:
                        sound.append(packet)
                    continue
                self.spoilt |= packet.is_corrupt
                try:
                    pictures = packet.decode()
                except self._av.error.FFmpegError:
                    self.damaged += 1
                    continue
                for picture in pictures:
                    self._require_size(picture.width, picture.height)
                    self.spoilt |= picture.is_corrupt
                    yield picture, sound
                    sound = []
        except (self._av.error.FFmpegError, OSError) as error:
            stopped = isinstance(error, self._av.error.ExitError)
            self.broken = f"nothing came for {WAIT:g} s" if stopped else one_line(reason_of(error))
        self._rest = sound

    def missing(self, last: float) -> str:
        """Return what is missing after the last frame, in words; empty if nothing is."""
        seconds = self.facts.seconds
        if self.broken:
            return self.broken
        if seconds is not None and last < seconds - _SLACK - 1 / (self.facts.rate or RATE):
            return f"the video ends at {max(last, 0):.1f} of {seconds:.1f} s: it is cut off"
        return ""

    def upright(self, picture: Any) -> Callable[[], U8]:
        """Return a function that makes the pixels of a frame."""

        def pixels() -> U8:
            array: U8 = picture.to_ndarray(format="rgb24")
            a, b, c, d = _matrix(picture)
            if b:
                array = array.swapaxes(0, 1)
            if (c if b else a) < 0:
                array = array[:, ::-1]
            if (b or d) < 0:
                array = array[::-1]
            return np.ascontiguousarray(array)

        return pixels


def _later(packet: Any, seconds: float) -> Any:
    """Shift a packet in time."""
    ticks = round(seconds / packet.time_base)
    packet.dts += ticks
    packet.pts = packet.dts if packet.pts is None else packet.pts + ticks
    return packet


def _matrix(picture: Any) -> tuple[int, int, int, int]:
    """Return how a frame is shown: x grows by a, c and y by b, d along its rows and columns."""
    for at in range(len(picture.side_data)):
        data = picture.side_data[at]
        if data.type.name == _MATRIX:
            values = np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]]
            a, b, c, d = (int(each) for each in np.sign(values))
            across = abs(int(values[1])) > abs(int(values[0]))
            if across and b and c:
                return 0, b, c, 0
            if not across and a and d:
                return a, 0, 0, d
    return 1, 0, 0, 1
