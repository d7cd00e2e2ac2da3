"""Threads that share the tiles of one layer, with BLAS held to one thread each."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from darknet_bn.arrays import F32

T = TypeVar("T")

_SWITCH = 2e-5  # seconds after which a thread that waits for Python asks for it


class Workers:
    """A fixed number of threads; the calling thread is one of them.

    Parameters
    ----------
    count : int
        How many threads work at once, the caller included.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1, "darknet_bn") if count > 1 else None
        self._local = threading.local()
        self._blas = ThreadpoolController().select(user_api="blas")
        self._holders = 0
        self._lock = threading.Lock()
        self._limit: object = None
        self._interval = 0.0

    def run(self, task: Callable[[T], None], items: Iterable[T]) -> None:
        """Call ``task`` once for every item, in any order, and wait for the last.

        Floating-point errors are handled in all threads as the caller's `numpy.errstate` says.
        An exception of a task is raised after all running tasks have ended; no more are begun.
        """
        todo = list(items)
        if self._pool is None or len(todo) < 2:
            for item in todo:
                task(item)
            return
        queue = deque(todo)

        def drain() -> None:
            while True:
                try:
                    item = queue.popleft()
                except IndexError:
                    return
                try:
                    task(item)
                except BaseException:
                    queue.clear()  # nobody needs the rest any more
                    raise

        handling = np.geterr()

        def help_draining() -> None:
            with np.errstate(**handling):  # each thread has its own
                drain()

        helpers = [self._pool.submit(help_draining) for _ in range(min(self.count, len(todo)) - 1)]
        try:
            drain()
        finally:
            # A helper that never started has nothing left to do; waiting for it could deadlock
            # where this call itself runs on one of the threads.
            running = [helper for helper in helpers if not helper.cancel()]
            errors = [helper.exception() for helper in running]
        for error in errors:
            if error is not None:
                raise error

    def scratch(self, size: int, slot: Hashable = 0, dtype: npt.DTypeLike = np.float32) -> F32:
        """Borrow this thread's own buffer of ``size`` floats, valid until its next use.

        Buffers of different ``slot`` never overlap.  They begin at a cache line.
        """
        floats = size * np.dtype(dtype).itemsize // 4
        buffers: dict[Hashable, F32] = self._local.__dict__.setdefault("buffers", {})
        buffer = buffers.get(slot)
        if buffer is None or buffer.size < floats:
            buffer = _aligned(floats)
            buffers[slot] = buffer
        return buffer[:floats].view(dtype)

    @contextmanager
    def hold_blas(self) -> Iterator[None]:
        """Keep every BLAS call inside to the thread that makes it.

        Threads also hand Python over to each other sooner than usual, as what they call is short.
        """
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._limit = self._blas.limit(limits=1)
                self._interval = sys.getswitchinterval()
                sys.setswitchinterval(_SWITCH)
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._limit.restore_original_limits()  # type: ignore[attr-defined]
                    sys.setswitchinterval(self._interval)


def _aligned(size: int) -> F32:
    """Return an uninitialised array that begins at a cache line; unaligned ones are slower."""
    line = 64
    raw = np.empty(4 * size + line, np.uint8)
    begin = -raw.ctypes.data % line
    aligned: F32 = raw[begin : begin + 4 * size].view(np.float32)
    return aligned


@functools.cache
def workers() -> Workers:
    """Return the threads of this process: one a core it may use, or ``DARKNET_BN_THREADS``."""
    wanted = os.environ.get("DARKNET_BN_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return Workers(int(wanted))
    affinity = getattr(os, "sched_getaffinity", None)
    return Workers(len(affinity(0)) if affinity else os.cpu_count() or 1)


if hasattr(os, "register_at_fork"):  # threads do not survive a fork
    os.register_at_fork(after_in_child=workers.cache_clear)
