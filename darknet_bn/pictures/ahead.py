"""Read frames ahead, in a thread, while those before them are looked at."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator

from darknet_bn.pictures.video import Video, VideoFrame

_MOST_BYTES = 1 << 27  # of frames that wait
_MOST = 16


class ReadAhead:
    """The frames of a video, of which a few are always read ahead.

    A camera, or a stream without an end, does not wait: if nobody takes its frames in time, the
    oldest of those that wait are left out, and their sound goes with the next.

    Parameters
    ----------
    video : Video
    wanted : function
        Tells of the number of a frame whether its pixels are needed; they are made in the thread.
    depth : int, optional
        How many frames may wait; by default as many as fit into a limited memory.

    Attributes
    ----------
    left_out : int
        How many frames have been left out.
    """

    def __init__(
        self, video: Video, wanted: Callable[[int], bool], depth: int | None = None
    ) -> None:
        size = video.facts.width * video.facts.height * 3
        self._depth = depth or min(_MOST, max(2, _MOST_BYTES // size))
        self._video, self._wanted, self._drop = video, wanted, video.live
        self.left_out = 0
        self._waiting: collections.deque[VideoFrame] = collections.deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="reading ahead", daemon=True)

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the frames; what the thread could not do is raised here."""
        self._thread.start()
        try:
            while (frame := self._next()) is not None:
                yield frame
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading; the thread closes the video when it has what it waits for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> VideoFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            if self._waiting:
                frame = self._waiting.popleft()
                self._changed.notify_all()
                return frame
            if self._error is not None:
                raise self._error
            return None

    def _read(self) -> None:
        try:
            for frame in self._video:
                if self._wanted(frame.number):
                    _ = frame.pixels
                if not self._put(frame):
                    break
        except BaseException as error:  # it belongs to who takes the frames
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, frame: VideoFrame) -> bool:
        """Let a frame wait to be taken; returns whether any more are wanted."""
        with self._changed:
            if self._drop and len(self._waiting) >= self._depth:
                oldest = self._waiting.popleft()
                self.left_out += 1
                heir = self._waiting[0] if self._waiting else frame
                heir.sound = (*oldest.sound, *heir.sound)
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._depth)
            self._waiting.append(frame)
            self._changed.notify_all()
            return not self._closed
