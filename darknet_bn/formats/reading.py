"""Open the files that a user names, so that nothing waits for ever and nothing crashes.

Only regular files are opened: a FIFO, a device or a socket could wait, or never end.  The exception
is a file that the process already has open: ``/dev/stdin`` and ``/dev/fd/N``, which a shell creates
for ``<(command)``.  These are accepted for texts and pictures, which are read once from beginning
to end.

Weights files may have gigabytes, of which only parts are needed.  They stay open, and each part is
read when it is asked for.  They are never mapped into memory: if another program shortened a mapped
file, the system would end this one with SIGBUS; a read gives an error.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.errors import DarknetError, WeightsError, Where, reason_of
from darknet_bn.formats import systems

Name: TypeAlias = "str | os.PathLike[str]"

CANNOT_BE_READ = "cannot be read"
"""How messages begin if the system cannot read a file; its reason comes after a colon."""

_PIECE = 1 << 20  # bytes; memory is taken for all that are asked for, even if they do not exist
_OWN = re.compile(r"/dev/(stdin|fd/[0-9]+)|/proc/self/fd/[0-9]+")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def reported(
    path: Name, error: type[DarknetError] = DarknetError, what: str = CANNOT_BE_READ
) -> Iterator[None]:
    """In the block, turn an error of the system into one that names the file.

    Parameters
    ----------
    path : path
    error : type
        The type of the error to raise.
    what : str
        The action that failed, for the message.
    """
    try:
        yield
    except (OSError, ValueError) as failure:  # ValueError: a zero byte in the name
        name, problem = os.fspath(path), f"{what}: {reason_of(failure)}"
        hint = systems.advice(failure, name)
        raise error(problem, where=Where(file=name), hint=hint) from failure


def open_file(
    path: Name,
    error: type[DarknetError] = DarknetError,
    *,
    piped: bool = False,
    what: str = CANNOT_BE_READ,
) -> BinaryIO:
    """Open a regular file for reading.

    Parameters
    ----------
    path : path
    error : type
        The type of the error to raise.
    piped : bool
        Whether to accept a pipe that the process already has open.
    what : str
        As in `reported`.

    Raises
    ------
    DarknetError
        An error of that type: the file cannot be read, or is a folder, FIFO, device or socket.
    """
    name = os.fspath(path)
    own = piped and _OWN.fullmatch(name) is not None

    def opener(path: str, flags: int) -> int:
        # Without O_NONBLOCK, a file that has since become a FIFO would wait; without O_BINARY,
        # which Windows has, bytes would be taken for a text that ends at 0x1a.
        flags |= getattr(os, "O_BINARY", 0)
        return os.open(path, flags if own else flags | getattr(os, "O_NONBLOCK", 0))

    with reported(name, error, what):
        if not own:
            problem = systems.impossible(name)
            if problem is not None:
                raise ValueError(problem)
            _require_regular(os.stat(name))
        stream = open(name, "rb", opener=opener)  # noqa: SIM115  # the caller closes it
        try:
            found = os.fstat(stream.fileno())
            if not own or stat.S_ISDIR(found.st_mode):
                _require_regular(found)
        except BaseException:
            stream.close()
            raise
        return stream


def read_file(
    path: Name, most: int, error: type[DarknetError] = DarknetError, *, piped: bool = True
) -> bytes:
    """Read a file, but no more than one byte beyond ``most``.

    Parameters
    ----------
    path, error, piped
        As in `open_file`.
    most : int
        How many bytes the file may have; the caller refuses it if it has more.
    """
    with open_file(path, error, piped=piped) as stream, reported(path, error):
        pieces = []
        while most >= 0 and (piece := stream.read(min(most + 1, _PIECE))):
            pieces.append(piece)
            most -= len(piece)
        return b"".join(pieces)


def _require_regular(found: os.stat_result) -> None:
    """Raise an OSError that says what a file is, if it is not a regular file."""
    if stat.S_ISREG(found.st_mode):
        return
    kind = next((name for test, name in _KINDS if test(found.st_mode)), "a special file")
    raise OSError(errno.EINVAL, f"this is {kind}, not a file")


class Stored:
    """Bytes that are read in parts; here they are in memory.

    Parameters
    ----------
    content : bytes

    Attributes
    ----------
    size : int
        How many bytes there are.
    """

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self.size = len(content)

    def bytes(self, begin: int, end: int) -> bytes:
        """Return the bytes from ``begin`` up to ``end``; fewer if they end earlier."""
        begin, end = (min(max(each, 0), self.size) for each in (begin, end))
        return self.array(begin, np.dtype(np.uint8), max(0, end - begin)).tobytes()

    def array(self, begin: int, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        """Return consecutive values.

        Parameters
        ----------
        begin : int
            The offset of the first byte.
        dtype : dtype
        count : int
            The number of values, all of which exist.

        Returns
        -------
        array : array (count,)
            Read-only.

        Raises
        ------
        WeightsError
            A file cannot be read any more, or has changed since it was opened.
        """
        return np.frombuffer(self._content[begin : begin + count * dtype.itemsize], dtype)


class StoredFile(Stored):
    """The bytes of a file, which stays open as long as this object does.

    Parameters
    ----------
    path : path

    Raises
    ------
    WeightsError
        It cannot be read, or is not a regular file.
    """

    def __init__(self, path: Name) -> None:
        self._name = os.fspath(path)
        self._lock = threading.Lock()
        with open_file(path, WeightsError) as stream, reported(path, WeightsError):
            self._stream = io.FileIO(os.dup(stream.fileno()), "rb")
        weakref.finalize(self, self._stream.close)
        self._state = self._state_now()
        self.size = self._state[0]
        with _GUARD:
            _OPEN.add(self)

    def array(self, begin: int, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        """Read values, like `Stored.array`."""
        values = np.empty(count, dtype)
        rest = values.view(np.uint8).data
        with self._lock, reported(self._name, WeightsError):
            if self._stream.closed:  # `let_go` has read it all
                return super().array(begin, dtype, count)
            self._stream.seek(begin)
            while len(rest) and (got := self._stream.readinto(rest)):
                rest = rest[got:]
            now = self._state_now()
        if len(rest) or now != self._state:
            raise WeightsError(
                "the file was changed by another program after it was opened",
                where=Where(file=self._name),
                expected=f"the {self.size} bytes it had",
                found=f"{now[0]} bytes",
                hint="load it again",
            )
        values.flags.writeable = False
        return values

    def identity(self) -> tuple[int, int] | None:
        """Return the system's identity of the file; None if it is not open any more."""
        if self._stream.closed:
            return None
        found = os.fstat(self._stream.fileno())
        return found.st_dev, found.st_ino

    def let_go(self) -> None:
        """Read the whole file, and close it."""
        self._content = memoryview(self.bytes(0, self.size))
        with self._lock:
            self._stream.close()

    def _state_now(self) -> tuple[int, int]:
        found = os.fstat(self._stream.fileno())
        return found.st_size, found.st_mtime_ns


_OPEN: weakref.WeakSet[StoredFile] = weakref.WeakSet()
_GUARD = threading.Lock()  # for the set above


def let_go(path: Name) -> None:
    """Close a stored file: Windows can neither replace nor remove an open one.

    Readers continue with its content, which is in memory from then on.

    Raises
    ------
    WeightsError
        It cannot be read any more, or has changed since it was opened.
    """
    wanted = systems.identity(path)
    with _GUARD:
        found = list(_OPEN)
    for each in found:
        if each.identity() == wanted:
            each.let_go()


class StoredStream(io.RawIOBase):
    """Stored bytes as the stream that `zipfile` needs.

    Parameters
    ----------
    stored : Stored
    most : int
        How many bytes may be read at a time, while ``limited`` is on.
    """

    def __init__(self, stored: Stored, most: int) -> None:
        self._stored = stored
        self._at = 0
        self._most = most
        self.limited = True

    def seekable(self) -> bool:
        """Whether it can be read at any place."""
        return True

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset, which may be after the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._stored.size}[whence]
        if start + offset < 0:
            raise OSError(
                errno.EINVAL, "the archive refers to a position before the file"
            )  # as files do
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the offset."""
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Read from the offset on."""
        end = self._stored.size if size is None or size < 0 else self._at + size
        if self.limited and min(end, self._stored.size) - self._at > self._most:
            raise ValueError(f"its list of members has more than {self._most >> 20} MiB")
        found = self._stored.bytes(self._at, end)
        self._at += len(found)
        return found
