"""Ctrl-C and SIGTERM while the program starts: they end it at once, without a word.

This module is what the program imports first, so it needs next to nothing itself.
"""

import os
import signal

# Nothing that takes time is imported here, not even what types are checked by.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# The signals that end a program, and what is set for each where nobody sees to it.
DEFAULTS: "dict[int, Callable[[int, FrameType | None], object] | int | None]" = {
    signal.SIGINT: signal.default_int_handler
}
if hasattr(signal, "SIGTERM"):  # not every system has it
    DEFAULTS[signal.SIGTERM] = signal.SIG_DFL


def leave(number: int, frame: "FrameType | None") -> None:
    """End the program, with the exit code that a shell gives to the signal."""
    os._exit(128 + number)  # an exception might crash extension modules, or be shown


def leave_at_signals() -> None:
    """From now on, end the program at Ctrl-C and SIGTERM, unless something else is set."""
    for number, default in DEFAULTS.items():
        if signal.getsignal(number) == default:
            signal.signal(number, leave)
