"""Keep off standard error what LiteRT says of itself."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_ERROR = threading.Lock()  # of the process: one thread at a time may turn it aside


@contextmanager
def without_notes() -> Iterator[None]:
    """Keep what LiteRT notes on standard error off it; it has no switch for that.

    What is no note, such as an error, appears afterwards.
    """
    with _STANDARD_ERROR, tempfile.TemporaryFile() as said:
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            rest = b"".join(line for line in said if not line.startswith(b"INFO: "))
            if rest:
                os.write(2, rest)
