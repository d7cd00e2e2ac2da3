"""Where moving pictures come from: a file, an address on the network, or a camera."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Any, Literal

from darknet_bn.errors import ImageError, Where, reason_of
from darknet_bn.formats.reading import open_file
from darknet_bn.optional import load_extra

Kind = Literal["file", "address", "camera"]

STREAMS = ("http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp")
"""The protocols of addresses that can be read."""
_ADDRESS = re.compile(rf"({'|'.join(STREAMS)})://", re.IGNORECASE)
_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")
WAIT = 10.0
"""Seconds until a connection is there, and until the next bytes are."""
# What may be in a file.  Others name more files, or addresses, that would be opened too.
_DEMUXERS = (
    *("asf", "avi", "flv", "h264", "hevc", "ivf", "m4v", "matroska", "mjpeg", "mov", "mpeg"),
    *("mpegts", "mpegvideo", "mxf", "ogg", "webm", "wtv"),
)


@dataclass(frozen=True)
class Place:
    """Where moving pictures come from.

    Attributes
    ----------
    name : str
        As it was given.
    kind : "file", "address" or "camera"
    """

    name: str
    kind: Kind

    def __str__(self) -> str:
        """Return the name for messages: an address without its password."""
        return _PASSWORD.sub(r"\1:***@", self.name)

    @property
    def where(self) -> Where:
        """The place for errors."""
        return Where(file=str(self))

    def open(self) -> Any:
        """Open it, as a container of PyAV's.

        Raises
        ------
        ImageError
            PyAV is not installed; or it cannot be opened, or is not a video.
        """
        av = load_extra("av", error=ImageError, where=self.where)
        name = self.name
        more: dict[str, Any] = {}
        if self.kind == "file":
            with open_file(self.name, ImageError) as stream:
                empty = not stream.read(1)
            if empty:
                raise ImageError("the file is empty", where=self.where, expected="a video")
            # With the protocol in front of it, no name is one of FFmpeg's own protocols.
            name = f"file:{self.name}"
            limits = {"protocol_whitelist": "file", "format_whitelist": ",".join(_DEMUXERS)}
            more = {"container_options": limits}
        elif self.kind == "camera":
            name, form = _device(av, self)
            more = {"format": form}
        else:
            more = {"timeout": (WAIT, WAIT)}
            if name.lower().startswith("rtsp"):  # lost packets of UDP would smear the picture
                more["container_options"] = {"rtsp_flags": "prefer_tcp"}  # some have UDP only
        begun = time.monotonic()
        try:
            return av.open(name, **more)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if self.kind == "address" and time.monotonic() - begun > 0.9 * WAIT:
                # FFmpeg has no error of its own for it: of RTSP it says that the data are invalid.
                what = f"cannot be opened: no answer within {WAIT:g} s"
                raise ImageError(what, where=self.where) from error
            if isinstance(error, ValueError) and self.kind != "camera":  # invalid data, or numbers
                what = "not a video, or its header is damaged"
                raise ImageError(what, where=self.where) from error
            what = "the camera cannot be opened" if self.kind == "camera" else "cannot be opened"
            raise ImageError(f"{what}: {reason_of(error)}", where=self.where) from error


def place_of(place: str | os.PathLike[str] | int) -> Place:
    """Return what a place is: a number is a camera, unless a file has it as its name."""
    name = str(place) if isinstance(place, int) else os.fspath(place)
    if isinstance(place, int) or name.startswith("/dev/video"):
        return Place(name, "camera")
    if os.path.lexists(name):
        return Place(name, "file")
    if name.isdecimal():
        return Place(name, "camera")
    return Place(name, "address" if _ADDRESS.match(name) else "file")


def _device(av: Any, place: Place) -> tuple[str, str]:
    """Return the name of a camera, and the format by which FFmpeg reads it on this system."""
    name = place.name
    if sys.platform.startswith("linux"):
        return (f"/dev/video{name}" if name.isdecimal() else name), "v4l2"
    if sys.platform == "darwin":
        return name, "avfoundation"
    cameras = [each for each in av.enumerate_input_devices("dshow") if "video" in each.media_types]
    if not name.isdecimal() or int(name) >= len(cameras):
        raise ImageError(
            "there is no such camera",
            where=place.where,
            expected=f"a number below {len(cameras)}" if cameras else None,
        )
    return f"video={cameras[int(name)].name}", "dshow"
