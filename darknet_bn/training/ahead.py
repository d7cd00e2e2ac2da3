"""What is needed next is made ahead, by threads, while what was made before is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from typing import TypeVar

from darknet_bn.work.crew import Crew

Key = TypeVar("Key")
T = TypeVar("T")


def made_ahead(make: Callable[[Key], T], keys: Iterable[Key], workers: int) -> Iterator[T]:
    """Yield what a function makes of each key, in order.

    Parameters
    ----------
    make : function
        What it makes follows from the key alone, so that the number of threads changes nothing.
    keys : iterable
    workers : int
        How many threads work ahead, each on one key; with 0, the caller makes each when it asks.

    Yields
    ------
    made
        An exception is raised when its turn comes, in the thread that asks.
    """
    if workers < 1:
        yield from map(make, keys)
        return
    crew, left = Crew(workers), iter(keys)
    waiting: deque[tuple[Future[None], list[T]]] = deque()

    def work(key: Key, context: Context, made: list[T]) -> None:
        made.append(context.run(make, key))

    def begin() -> None:
        for key in left:
            made: list[T] = []
            # numpy's handling of errors is part of the context.
            task = partial(work, key, copy_context(), made)
            waiting.append((crew.submit(task), made))
            return

    for _ in range(workers):
        begin()
    try:
        while waiting:
            future, made = waiting.popleft()
            future.result()
            begin()
            yield made.pop()
    finally:
        for future, _ in waiting:
            future.cancel()
