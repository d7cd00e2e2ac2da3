"""Ctrl-C, SIGTERM and SIGBREAK while the program starts: they end it at once and silently.

The program imports this module first, so it needs next to nothing itself.
"""

import os
import signal

# Nothing that takes time is imported here, not even for type checking.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# The signals that end a program, and the setting of each when nobody handles it.
DEFAULTS: "dict[int, Callable[[int, FrameType | None], object] | int | None]" = {
    signal.SIGINT: signal.default_int_handler
}
for _name in ("SIGTERM", "SIGBREAK"):  # no system has both
    if hasattr(signal, _name):
        DEFAULTS[getattr(signal, _name)] = signal.SIG_DFL


def leave(number: int, frame: "FrameType | None") -> None:
    """End the program, with the exit code that a shell gives to the signal."""
    terminated = number == getattr(signal, "SIGTERM", None)
    os._exit(143 if terminated else 130)  # an exception might crash extension modules, or be shown


def leave_at_signals() -> None:
    """From now on, end the program at these signals, unless they are handled otherwise."""
    for number, default in DEFAULTS.items():
        if signal.getsignal(number) == default:
            signal.signal(number, leave)
