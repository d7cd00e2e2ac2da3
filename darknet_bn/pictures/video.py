"""Videos, streams and cameras, frame by frame: upright, and each at its time.  PyAV reads them."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from darknet_bn.errors import ConnectionLost, ImageError
from darknet_bn.pictures.images import U8
from darknet_bn.pictures.opened_video import RATE, OpenedVideo, VideoFacts
from darknet_bn.pictures.places import place_of
from darknet_bn.values import brief, counted

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each try to connect again."""


class VideoFrame:
    """A picture of a video.

    Parameters
    ----------
    number : int
        From 0.
    seconds : float
        Its time, from the beginning of the video.
    pixels : uint8 array (h, w, 3), or function
        Red, green and blue; or a function that returns them, called when they are asked for.
    sound : sequence of av.Packet
        What came of the sound since the frame before, for `write_video`; it is not pickled.
    """

    def __init__(
        self,
        number: int,
        seconds: float,
        pixels: U8 | Callable[[], U8],
        sound: Sequence[Any] = (),
    ) -> None:
        self.number, self.seconds, self.sound = number, seconds, tuple(sound)
        self._pixels = pixels

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled."""
        return {"number": self.number, "seconds": self.seconds, "pixels": self.pixels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled."""
        VideoFrame.__init__(self, **state)

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"{self.number} at {self.seconds:.3f} s")

    @property
    def pixels(self) -> U8:
        """The picture, upright: uint8 (h, w, 3), red, green and blue."""
        if not isinstance(self._pixels, np.ndarray):
            self._pixels = self._pixels()
        return self._pixels

    def with_pixels(self, pixels: U8) -> VideoFrame:
        """Return the frame with another picture, such as one with boxes in it."""
        return VideoFrame(self.number, self.seconds, pixels, self.sound)


class Video:
    """A video file, a stream or a camera, whose frames are iterated over.

    It is opened when its frames, or facts about it, are first asked for.  Iterating again reads a
    file from its beginning.

    Parameters
    ----------
    place : path, str or int
        A file; an address such as ``rtsp://…`` or ``http://…``; or the number of a camera.
    sound : bool
        Whether frames carry the sound along, for `write_video`.
    pauses : sequence of float
        The seconds to wait before each try to connect again, if a stream or a camera breaks off.
    tell : function, optional
        Called with a line about each connection that is lost or back, and each part that is
        damaged; by default they are logged as warnings.

    Attributes
    ----------
    problems : tuple of str
        What could not be read, once all frames have been taken.

    Raises
    ------
    ImageError
        PyAV is not installed; or it cannot be opened, is not a video, has no pictures in it or too
        large ones.  Iterating raises it too, if there is not a single frame.

    Notes
    -----
    Frames are turned and mirrored as the display matrix says.  Those that the decoder cannot make
    out of damaged bytes are left out.  After a gap in a stream, times are later by as much as it
    lasted.

    Examples
    --------
    >>> import darknet_bn as dn
    >>> for frame in dn.Video("clip.mp4"):  # doctest: +SKIP
    ...     print(frame.number, frame.seconds, frame.pixels.shape)
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | int,
        *,
        sound: bool = False,
        pauses: Sequence[float] = PAUSES,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self._given, self._sound, self._pauses = place, sound, tuple(pauses)
        self._place = place_of(place)
        self._tell = tell
        self._first: OpenedVideo | None = None
        self._facts: VideoFacts | None = None
        self._sound_stream: Any = None
        self.problems: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the arguments."""
        return {"place": self._given, "sound": self._sound, "pauses": self._pauses}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled."""
        Video.__init__(self, **state)

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, str(self._place)[-60:])

    @property
    def place(self) -> str:
        """Where it is, for messages: an address without its password."""
        return str(self._place)

    @property
    def live(self) -> bool:
        """Whether it does not wait for who looks at it: a camera, or a stream without an end."""
        return self._place.kind != "file" and self.facts.seconds is None

    @property
    def facts(self) -> VideoFacts:
        """What the video says of itself.

        ``width`` and ``height`` of upright frames; ``rate``, frames a second on average; ``frames``
        and ``seconds``, or None if there is no end; ``codec``, ``turned`` (by how many degrees) and
        ``sound`` (its codec, or None); ``time_base`` and ``aspect``.
        """
        with self._lock:
            if self._facts is None:
                self._first = self._open()
                self._facts = self._first.facts
            return self._facts

    @property
    def sound_stream(self) -> Any:
        """PyAV's stream of the sound; None if there is none, or frames do not carry it."""
        _ = self.facts
        return self._sound_stream

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the frames."""
        with self._lock:
            opened, self._first = self._first, None
        opened = opened or self._open()
        self._facts = self._facts or opened.facts
        self.problems = ()
        number, shift, last, tries = 0, 0.0, -math.inf, 0
        while True:
            begun = number
            try:
                for picture, seconds, sound in opened.decoded(shift, after=last):
                    if number == begun and number:
                        self._say(f"connected again, at frame {number}")
                    tries, last = 0, seconds
                    yield VideoFrame(number, seconds, opened.upright(picture), sound)
                    number += 1
            finally:
                opened.close()
            gone = time.monotonic()
            lost = opened.missing(last)
            again = tries and number == begun and not opened.broken  # it is no longer than that
            if self._place.kind == "file" or not (self.live or lost) or (again and not self.live):
                break
            opened, tries = self._connected(number, tries, lost or "it ended")
            if self.live:  # its own clock may begin anywhere
                step = 1 / (opened.facts.rate or RATE)
                shift = max(last, 0) + max(time.monotonic() - gone, step)
        wrong = [
            f"{counted(opened.damaged, 'damaged piece')} left out" if opened.damaged else "",
            "some frames are damaged" if opened.spoilt else "",
            lost,
        ]
        if any(wrong):
            self.problems = ("; ".join(filter(None, wrong)),)
            self._say(self.problems[0])

    def _open(self) -> OpenedVideo:
        opened = OpenedVideo(self._place, self._sound)
        self._sound_stream = opened.sound
        return opened

    def _connected(self, number: int, tries: int, reason: str) -> tuple[OpenedVideo, int]:
        """Connect again, each time after a longer pause; returns the number of tries too."""
        for pause in self._pauses[tries:]:
            tries += 1
            broke = f"the connection broke off after frame {number - 1} ({reason})"
            self._say(f"{broke}; try {tries} of {len(self._pauses)} in {pause:g} s")
            time.sleep(pause)
            try:
                return self._open(), tries
            except ImageError as error:
                reason = error.problem
        raise ConnectionLost(
            f"the connection broke off after frame {number - 1}, for good",
            where=self._place.where,
            expected="a stream that can be connected to again" if tries else None,
            found=reason,
        )

    def _say(self, text: str) -> None:
        if self._tell is not None:
            self._tell(f"{self._place}: {text}")
        else:
            logging.getLogger(__name__).warning("%s: %s", self._place, text)
