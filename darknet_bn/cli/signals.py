"""Ctrl-C, and SIGTERM as from ``docker stop`` or systemd, are handled alike; so is SIGBREAK.

While the program is imported they end it at once (see `darknet_bn.cli.interrupts`).  Once a command
runs they raise an exception, so that unfinished files are removed.  They do not raise inside an
import, where an exception may crash an extension module, get lost, or be shown by Python itself,
nor in the destructor of an object, where Python shows it and continues.
Windows sends SIGBREAK for Ctrl-Break, and when the window is closed.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from darknet_bn.cli.interrupts import DEFAULTS, leave

INTERRUPTED, TERMINATED = 130, 143  # 128 and the number of the signal, as a shell reports it

_AGAIN = 0.01  # seconds
_IMPORTING = "<frozen importlib._bootstrap>"  # its code is on the stack during an import
_FINALIZING = weakref.finalize.__call__.__code__


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """In the block, SIGINT and SIGBREAK raise `KeyboardInterrupt`, and SIGTERM `Terminated`.

    So everything that Ctrl-C saves and removes is saved and removed.  Imports and destructors are
    completed first.  A signal that has another handler, or that is ignored on purpose, is left
    alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals only go to the main thread
        return
    around = _uncut(sys._getframe())
    waiting: list[int] = []

    def arrived(number: int, frame: FrameType | None) -> None:
        waiting[:] = [number] if _uncut(frame) > around else []
        if waiting:
            later = threading.Timer(_AGAIN, _thread.interrupt_main, waiting)
            later.daemon = True
            later.start()
        else:
            end(number)

    def end(number: int) -> NoReturn:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_IGN)  # one is enough: its handling must not be interrupted
        raise Terminated if number == getattr(signal, "SIGTERM", None) else KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in DEFAULTS}
    ours = {number: each for number, each in before.items() if each in (leave, DEFAULTS[number])}
    try:
        for number in ours:
            signal.signal(number, arrived)
        yield
        for number in waiting:
            end(number)
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


def _uncut(frame: FrameType | None) -> int:
    """Return how many calls on a stack must not be interrupted: imports, and destructors."""
    count = 0
    while frame is not None:
        code = frame.f_code
        count += code.co_filename == _IMPORTING or code is _FINALIZING or code.co_name == "__del__"
        frame = frame.f_back
    return count


def exit_code(error: BaseException) -> int:
    """Return the exit code of an interrupted command, from the cause of its error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Terminated):
            return TERMINATED
        cause = cause.__cause__ or cause.__context__
    return INTERRUPTED
