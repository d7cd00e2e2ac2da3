"""Pictures by the million on the threads of one process: batches in, rows out as they are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_AHEAD = 2  # pieces of work for each thread, so that none waits


def map_on_threads(function: Callable[[A], B], pieces: Iterable[A], workers: int) -> Iterator[B]:
    """Yield what a function makes of pieces, in their order.

    Parameters
    ----------
    function : function
        It may be called from several threads at once.
    pieces : iterable
        No more of them are taken than are worked on.
    workers : int
        How many threads call it; with one, it is the thread that iterates.

    Notes
    -----
    If the function raises, or nobody iterates any more, pieces that have not begun are given up.
    """
    if workers < 2:
        yield from map(function, pieces)
        return
    rest = iter(pieces)
    waiting: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(workers, "pictures")
    try:
        for piece in rest:
            waiting.append(pool.submit(function, piece))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
