"""Threads that wait for work, as long as anybody might still have work for them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeAlias

Job: TypeAlias = "tuple[Future[None], Callable[[], object]]"


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
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        for number in range(count):
            threading.Thread(
                target=_work, args=(self._jobs,), name=f"darknet_bn_{number}", daemon=True
            ).start()
        end = weakref.finalize(self, _stop, self._jobs, count)
        end.atexit = False  # functions that run at exit may need the threads

    def submit(self, task: Callable[[], object]) -> Future[None]:
        """Let one of the threads call a function; the future reports its end, or its exception.

        A future that is cancelled before a thread starts it never runs.
        """
        future: Future[None] = Future()
        self._jobs.put((future, task))
        return future


def _work(jobs: SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, task = job
        if future.set_running_or_notify_cancel():
            try:
                task()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)
        del job, future, task  # or else their contents would live until the next job


def _stop(jobs: SimpleQueue[Job | None], count: int) -> None:
    for _ in range(count):
        jobs.put(None)
