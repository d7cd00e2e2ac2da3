"""Programs that die: run something in a process of its own that ends at a given call."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# What changes names in a folder, or waits for the disk.
CALLS = ("link", "unlink", "replace", "rename", "open", "fsync", "chmod")
_DIED = 137  # as after kill -9


def dies(work: Callable[[], object], last: int) -> bool:
    """Run ``work`` in a child that dies before its ``last``-th call; False if it gets to its end.

    Nothing is cleaned up, flushed or caught in the child, as after kill -9.
    """
    child = os.fork()
    if child == 0:
        left = last

        def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os._exit(_DIED)
                return real(*args, **options)

            return call

        try:
            for name in CALLS:
                setattr(os, name, deadly(getattr(os, name)))
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _DIED), code
    return code == _DIED
