"""Threads that share the tiles of one layer, with BLAS limited to one thread each."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.work import measured
from darknet_bn.work.blas_limit import BlasLimit
from darknet_bn.work.crew import Crew

T = TypeVar("T")
Buffers: TypeAlias = dict[Hashable, F32]

_VARIABLE = "DARKNET_BN_THREADS"
_OF_PROCESS: dict[int, Workers] = {}  # by process id: threads do not survive a fork


class Workers:
    """A fixed number of threads; the calling thread is one of them.

    Parameters
    ----------
    count : int
        Number of threads that work at once, including the caller.

    Attributes
    ----------
    crew : Crew
        The other threads.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._blas = BlasLimit()
        self.crew = Crew(count - 1)
        self._local = threading.local()
        self._left: list[Buffers] = []

    def run(self, task: Callable[[T], None], items: Iterable[T]) -> None:
        """Call ``task`` once for every item, in any order, and wait for the last.

        All threads handle floating-point errors as the caller's `numpy.errstate` says.  If a task
        raises an exception, no more tasks are started, and the exception is raised after all
        running tasks have ended.
        """
        todo = list(items)
        if self.count < 2 or len(todo) < 2:
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
                    queue.clear()  # the rest is not needed
                    raise

        handling = np.geterr()

        def help_draining() -> None:
            with np.errstate(**handling), self._blas.help():  # each thread has its own setting
                drain()

        helpers = [self.crew.submit(help_draining) for _ in todo[1 : self.count]]
        try:
            drain()
        finally:
            # A helper that never started has nothing left to do; waiting for it could cause a
            # deadlock if this call itself runs on one of the threads.
            running = [helper for helper in helpers if not helper.cancel()]
            errors = [helper.exception() for helper in running]
        for error in errors:
            if error is not None:
                raise error

    def scratch(self, size: int, slot: Hashable = 0, dtype: npt.DTypeLike = np.float32) -> F32:
        """Borrow this thread's own buffer of ``size`` floats, valid until its next use.

        Buffers with different ``slot`` never overlap.  They begin on a cache line.
        """
        floats = size * np.dtype(dtype).itemsize // 4
        buffers: Buffers = self._local.__dict__.setdefault("buffers", {})
        buffer = buffers.get(slot)
        if buffer is None or buffer.size < floats:
            buffer = _aligned(floats)
            buffers[slot] = buffer
        return buffer[:floats].view(dtype)

    @contextmanager
    def hold_blas(self) -> Iterator[None]:
        """Keep every BLAS call inside this context on the thread that makes it.

        A thread that arrives without buffers takes over the buffers of a thread that has left, so
        that there are only as many as threads that compute at the same time.
        """
        with self._blas.hold():
            if hasattr(self._local, "buffers"):
                yield
                return
            self._local.buffers = self._left.pop() if self._left else {}
            try:
                yield
            finally:
                self._left.append(self._local.__dict__.pop("buffers"))


def _aligned(size: int) -> F32:
    """Return an uninitialised array that begins on a cache line; unaligned ones are slower."""
    raw = np.empty(4 * size + measured.LINE, np.uint8)
    begin = -raw.ctypes.data % measured.LINE
    aligned: F32 = raw[begin : begin + 4 * size].view(np.float32)
    return aligned


def workers() -> Workers:
    """Return the threads of this process: one per usable core, or ``DARKNET_BN_THREADS``."""
    process = os.getpid()
    found = _OF_PROCESS.get(process)
    if found is None:
        # If several threads come first at once, each makes some; one of these sets serves all.
        found = _OF_PROCESS.setdefault(process, Workers(_wanted()))
    return found


def _wanted() -> int:
    return threads_given() or usable_cores()


def limit_threads(count: int) -> None:
    """Let this process, and engines that are opened from now on, compute on so many threads.

    It is as if ``DARKNET_BN_THREADS`` had been set before the process began.  What is running goes
    on as it is; but OpenCV and PyTorch have one number for the whole process, which is that of the
    model that was opened last.
    """
    if threads_given() != count:
        os.environ[_VARIABLE] = str(count)
        _OF_PROCESS.pop(os.getpid(), None)


def threads_given() -> int | None:
    """Return the number of threads that ``DARKNET_BN_THREADS`` gives, if it gives one."""
    wanted = os.environ.get(_VARIABLE, "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else None


def usable_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
