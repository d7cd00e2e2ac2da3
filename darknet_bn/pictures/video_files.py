"""Write a video: with the times of another, and its sound.  PyAV encodes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from darknet_bn.errors import ConnectionLost, ImageError, Where, one_line, reason_of
from darknet_bn.formats.writing import write_files
from darknet_bn.optional import load_extra
from darknet_bn.pictures.images import U8
from darknet_bn.pictures.opened_video import RATE
from darknet_bn.pictures.suffixes import by_suffix
from darknet_bn.pictures.video import Video, VideoFrame

# As many threads everywhere, since what comes out depends on their number.
_THREADS = {"threads": "4"}
_H264 = ("libx264", {"crf": "20", "preset": "veryfast", **_THREADS})
_VP9 = (
    "libvpx-vp9",
    {"crf": "31", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", **_THREADS},
)
_WRITTEN = {  # the container, and the codec with its constant quality
    ".m4v": ("mp4", *_H264),
    ".mkv": ("matroska", *_H264),
    ".mov": ("mov", *_H264),
    ".mp4": ("mp4", *_H264),
    ".webm": ("webm", *_VP9),
}
WRITTEN = tuple(_WRITTEN)
"""The suffixes of videos that can be written."""
_BT709, _LIMITED = 1, 1  # the numbers of the colour space of HD video, and of its range
_BASE = Fraction(1, 90_000)  # divides the rates that there are
_FAST_START = {"movflags": "+faststart"}  # the table comes first, so that it plays while it loads


class WrittenVideo(NamedTuple):
    """What was written.

    Attributes
    ----------
    frames : int
    seconds : float
        The time of the last frame.
    sound : str or None
        The codec of the sound that was copied.
    without_sound : str or None
        Why sound that there is was not copied.
    """

    frames: int
    seconds: float
    sound: str | None
    without_sound: str | None


def video_format(path: str | os.PathLike[str]) -> str:
    """Return the container in which `write_video` writes a file of this name.

    Raises
    ------
    ImageError
        The suffix is unknown.
    """
    return by_suffix(path, _WRITTEN, "video")[0]


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[VideoFrame],
    like: Video | None = None,
    *,
    force: bool = False,
) -> WrittenVideo:
    """Write frames to a file that appears whole, or not at all.

    Parameters
    ----------
    path : path
        ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv`` (H.264), or ``.webm`` (VP9).
    frames : iterable of VideoFrame
        In the order of their times, which are kept.  They may be computed while they are taken.
    like : Video, optional
        What the frames come from: it says how exact times are, which shape pixels have, and which
        sound there is.  Sound is copied as it is, if the frames carry it (``Video(sound=True)``)
        and the container takes it.
    force : bool
        Whether to overwrite an existing file.

    Returns
    -------
    written : WrittenVideo
        With ``frames``, ``seconds``, ``sound`` (the codec of what was copied, or None) and
        ``without_sound`` (why there is none).

    Raises
    ------
    ImageError
        PyAV is not installed, the suffix is unknown, or the frames cannot be encoded.
    DarknetError
        The file already exists and ``force`` is off, or it cannot be written.
    KeyboardInterrupt, ConnectionLost
        The frames came to an early end by one of these: what there was of them is in the file.

    Notes
    -----
    The quality is constant, not the number of bytes a second.  A frame with an odd number of rows
    or columns gets one more, as the codecs need.
    """
    written, stopped = write_frames(path, frames, like, force=force)
    if stopped is not None:
        raise stopped
    return written


def write_frames(
    path: str | os.PathLike[str], frames: Iterable[VideoFrame], like: Video | None, *, force: bool
) -> tuple[WrittenVideo, BaseException | None]:
    """Write frames like `write_video`; what ended them early is returned, not raised."""
    video_format(path)
    where = Where(file=os.fspath(path))
    av = load_extra("av", error=ImageError, where=where)
    stopped: list[BaseException] = []
    done: list[WrittenVideo] = []

    def write(stream: BinaryIO) -> None:
        try:
            output = _Output(av, stream.name, Path(path).suffix.lower(), like)
            _encode(output, frames, stopped)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            problem = f"cannot be written: {one_line(reason_of(error))}"
            raise ImageError(problem, where=where) from error
        if not output.frames:
            raise stopped[0] if stopped else ImageError("there are no frames", where=where)
        done.append(output.written)

    write_files({Path(path): write}, force=force)
    return done[0], stopped[0] if stopped else None


def _encode(output: _Output, frames: Iterable[VideoFrame], stopped: list[BaseException]) -> None:
    """Encode frames in a thread, where no signal interrupts it, and close the file."""
    with ThreadPoolExecutor(1, "encoding") as pool:
        before: Future[None] | None = None
        ended = False
        try:
            for frame in frames:
                if before is not None:
                    before.result()
                before = pool.submit(output.add, frame)
            ended = True
        except (KeyboardInterrupt, ConnectionLost) as error:
            stopped.append(error)
        finally:
            if before is not None and (ended or stopped):
                before.result()
            pool.submit(output.close).result()


class _Output:
    """A file that is being written."""

    def __init__(self, av: Any, name: str, suffix: str, like: Video | None) -> None:
        self._av, self._like = av, like
        form, self._codec, self._options = _WRITTEN[suffix]
        options = _FAST_START if form in ("mp4", "mov") else {}
        self._file = av.open(f"file:{name}", "w", format=form, container_options=options)
        self._video: Any = None
        self._sound: Any = None
        self._step = 0
        self._last, self._heard = -1, -math.inf
        self._copied: str | None = None
        self._base = _BASE if like is None else like.facts.time_base
        self._rate = None if like is None else like.facts.rate
        self._held: VideoFrame | None = None
        self.frames = 0
        self._why: str | None = None

    def add(self, frame: VideoFrame) -> None:
        """Encode a frame, and copy the sound that comes with it."""
        if self._video is not None:
            self._encode(frame)
        elif self._held is None and not self._rate:
            self._held = frame  # the next shows how long it lasts
        else:
            first = self._held or frame
            passed = frame.seconds - first.seconds
            self._begin(first, self._rate or (1 / passed if passed > 0 else RATE))
            if self._held is not None:
                self._encode(self._held)
            self._encode(frame)

    def _encode(self, frame: VideoFrame) -> None:
        pixels = _even(frame.pixels)
        picture = self._av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            width=self._video.width,
            height=self._video.height,
            format="yuv420p",
            dst_colorspace="ITU709",
            dst_color_range="MPEG",
        )
        before = self._last
        self._last = max(round(Fraction(frame.seconds) / self._base), before + 1)
        if self.frames and not self._rate:
            self._step = self._last - before  # the last frame is shown as long as the one before
        picture.pts, picture.time_base = self._last, self._base
        if self._sound is not None:
            for packet in frame.sound:
                self._copy(packet)
        self._mux(self._video.encode(picture))
        self.frames += 1

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            packet.duration = packet.duration or self._step
            self._file.mux(packet)

    @property
    def written(self) -> WrittenVideo:
        """What there is in it."""
        seconds = float(self._last * self._base)
        return WrittenVideo(self.frames, seconds, self._copied, self._why)

    def _begin(self, frame: VideoFrame, per_second: float) -> None:
        facts = None if self._like is None else self._like.facts
        rate = Fraction(per_second).limit_denominator(1001)
        self._step = max(1, round(1 / rate / self._base))
        self._video = stream = self._file.add_stream(self._codec, rate=rate, options=self._options)
        stream.height, stream.width = _even(frame.pixels).shape[:2]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = self._base
        context.sample_aspect_ratio = Fraction(1) if facts is None else facts.aspect
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        self._begin_sound()

    def _begin_sound(self) -> None:
        codec = None if self._like is None else self._like.facts.sound
        if self._like is None or codec is None:
            return
        source = self._like.sound_stream
        if source is None:
            self._why = "it was not asked for"
        elif codec not in self._file.supported_codecs:
            self._why = f"{self._file.format.name} does not take {codec}"
        else:
            self._sound, self._copied = self._file.add_stream_from_template(source), codec

    def _copy(self, packet: Any) -> None:
        if packet.dts > self._heard:
            self._heard = packet.dts
            packet.stream = self._sound
            self._file.mux(packet)

    def close(self) -> None:
        """Encode what is left, and close the file."""
        try:
            if self._video is None and self._held is not None:
                self._begin(self._held, RATE)
                self._encode(self._held)
            if self._video is not None:
                self._mux(self._video.encode(None))
        finally:
            self._file.close()


def _even(pixels: U8) -> U8:
    """Return a picture with an even number of rows and columns; the last may be there twice."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return np.ascontiguousarray(pixels)
