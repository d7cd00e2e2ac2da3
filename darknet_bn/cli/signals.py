"""SIGTERM, as from ``docker stop`` or systemd, goes the way of Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143  # 128 and the number of the signal, as a shell says it


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated`, so that all that Ctrl-C saves and removes is."""
    number = getattr(signal, "SIGTERM", None)  # not every system has it
    in_main_thread = threading.current_thread() is threading.main_thread()
    if number is None or not in_main_thread or signal.getsignal(number) != signal.SIG_DFL:
        yield  # somebody else sees to it, or it is ignored on purpose
        return

    def end(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # one is enough: what it leads to is not to be cut
        raise Terminated

    signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)


def exit_code(error: BaseException) -> int:
    """Return the exit code of a command that was interrupted, by what its error came from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Terminated):
            return TERMINATED
        cause = cause.__cause__ or cause.__context__
    return INTERRUPTED
