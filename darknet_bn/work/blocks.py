"""Cuts of large arrays into parts that threads share, each small enough for one core's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from darknet_bn.work.threads import workers

Block: TypeAlias = "tuple[slice, slice]"

_BLOCK = 1 << 19  # floats; smaller parts cost more to hand to a thread than they gain; measured


def blocks(n: int, units: int, floats: int, threads: int) -> list[Block]:
    """Cut ``(n, units)`` into parts of about the same size, as many for each thread.

    Parameters
    ----------
    n, units : int
        Images, and what each is made of: channels, planes, values …
    floats : int
        How many values a unit has.
    threads : int
        How many threads share the parts.

    Returns
    -------
    list of (images, units), slices
        Several whole images where they are small, else some units of one image.
    """
    image = units * floats
    if image <= _BLOCK:
        step = max(1, _BLOCK // max(1, image))
        return [(slice(at, min(n, at + step)), slice(0, units)) for at in range(0, n, step)]
    parts = -(-image // (_BLOCK * threads)) * threads
    step = -(-units // parts)
    return [
        (slice(at, at + 1), slice(unit, min(units, unit + step)))
        for at in range(n)
        for unit in range(0, units, step)
    ]


def run_blocks(task: Callable[[Block], None], n: int, units: int, floats: int) -> None:
    """Call ``task`` for every block of ``(n, units)``, on all threads, and wait for the last."""
    shared = workers()
    shared.run(task, blocks(n, units, floats, shared.count))
