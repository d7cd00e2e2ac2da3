"""Threads that wait for work, as long as anybody might still have work for them."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Protocol, TypeAlias

Job: TypeAlias = "tuple[Future[None], Callable[[], object]]"

_WAKE = "look again"


class Standby(Protocol):
    """Where threads wait for a while before they sleep, for work that needs no Python."""

    @property
    def called(self) -> int:
        """How often the threads were called back."""

    def call(self) -> None:
        """Let all threads that wait come back, and those that are about to."""

    def wait(self, called: int) -> None:
        """Work, and wait for work, until there was none for a while, or ``self.called`` differs."""


class Crew:
    """Threads that run submitted tasks in order; they end when the crew is no longer referenced.

    They are daemon threads.  The threads of `concurrent.futures.ThreadPoolExecutor` accept no more
    tasks after the main thread has ended, although other threads of the program may run for hours.

    Parameters
    ----------
    count : int
        Number of threads.
    """

    def __init__(self, count: int) -> None:
        self._desk = _Desk()
        for number in range(count):
            threading.Thread(
                target=_work, args=(self._desk,), name=f"darknet_bn_{number}", daemon=True
            ).start()
        end = weakref.finalize(self, _stop, self._desk, count)
        end.atexit = False  # functions that run at exit may need the threads

    def submit(self, task: Callable[[], object]) -> Future[None]:
        """Let one of the threads call a function; the future reports its end, or its exception.

        A future that is cancelled before a thread starts it never runs.
        """
        future: Future[None] = Future()
        self._desk.put((future, task))
        return future

    @property
    def standby(self) -> Standby | None:
        """Where the threads wait before they sleep."""
        return self._desk.standby

    def stand_by(self, standby: Standby) -> None:
        """Let the threads wait there from now on, but no more once the program ends."""
        if not _ENDING.is_set():
            self._desk.standby = standby

    def wake(self, count: int) -> None:
        """Let so many threads wait there again, if nobody has just asked for it."""
        self._desk.wake(count)


class _Desk:
    """What the threads of a crew know; they must not know the crew, which would never end."""

    def __init__(self) -> None:
        self.standby: Standby | None = None
        self._calls: SimpleQueue[Job | str | None] = SimpleQueue()
        self._jobs, self._counting = 0, threading.Lock()  # that nobody has taken yet
        self._woken = False
        _DESKS.add(self)

    def put(self, job: Job | None) -> None:
        """Hand over a job; None ends a thread."""
        with self._counting:
            self._jobs += 1
        self._calls.put(job)
        if self.standby is not None:
            self.standby.call()

    def wake(self, count: int) -> None:
        """Let so many threads look again whether there is work."""
        if not self._woken:
            self._woken = True
            for _ in range(count):
                self._calls.put(_WAKE)

    def take(self) -> Job | None:
        """Return the next job, or None if there will be no more."""
        self._wait()
        while isinstance(job := self._calls.get(), str):
            self._woken = False
            self._wait()
        with self._counting:
            self._jobs -= 1
        return job

    def _wait(self) -> None:
        standby = self.standby
        if standby is not None:
            called = standby.called  # before it is known that there is no job
            if self._jobs == 0:
                standby.wait(called)


def _work(desk: _Desk) -> None:
    while (job := desk.take()) is not None:
        future, task = job
        if future.set_running_or_notify_cancel():
            try:
                task()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)
        del job, future, task  # or else their contents would live until the next job


def _stop(desk: _Desk, count: int) -> None:
    for _ in range(count):
        desk.put(None)


_DESKS: weakref.WeakSet[_Desk] = weakref.WeakSet()
_ENDING = threading.Event()


@atexit.register
def _send_to_sleep() -> None:
    """Let no thread wait in compiled code while Python frees it."""
    _ENDING.set()
    for desk in list(_DESKS):
        if desk.standby is not None:
            standby, desk.standby = desk.standby, None
            standby.call()
