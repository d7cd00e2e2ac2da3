"""Threads that wait for something to do, as long as somebody may have it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeAlias

Job: TypeAlias = "tuple[Future[None], Callable[[], object]]"


class Crew:
    """Threads that do what they are handed, in its order; they end when nobody refers to the crew.

    They are daemons.  Those of `concurrent.futures.ThreadPoolExecutor` take nothing more once the
    main thread has come to its end, though other threads of the program may go on for hours.

    Parameters
    ----------
    count : int
        How many threads.
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
        """Let one of the threads call a function; the future says when it has, or what it raised.

        A future that is cancelled before a thread came to it is not done.
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
        del job, future, task  # else what they hold would live until the next job comes


def _stop(jobs: SimpleQueue[Job | None], count: int) -> None:
    for _ in range(count):
        jobs.put(None)
