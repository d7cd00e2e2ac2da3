"""Cuts of large arrays into parts that threads share, each small enough for one core's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from darknet_bn.workers import workers

Block: TypeAlias = "tuple[slice, slice]"

_BLOCK = 1 << 16  # floats; a block with its input and scratch stays in the second-level cache


def blocks(n: int, units: int, floats: int) -> list[Block]:
    """Cut ``(n, units)`` into parts of about the same size.

    Parameters
    ----------
    n, units : int
        Images, and what each is made of: channels, anchors …
    floats : int
        How many values a unit has.

    Returns
    -------
    list of (images, units), slices
        Several whole images where they are small, else some units of one image.
    """
    image = units * floats
    if image <= _BLOCK:
        step = max(1, _BLOCK // max(1, image))
        return [(slice(at, min(n, at + step)), slice(0, units)) for at in range(0, n, step)]
    step = -(-units // -(-image // _BLOCK))
    return [
        (slice(at, at + 1), slice(unit, min(units, unit + step)))
        for at in range(n)
        for unit in range(0, units, step)
    ]


def run_blocks(task: Callable[[Block], None], n: int, units: int, floats: int) -> None:
    """Call ``task`` for every block of ``(n, units)``, on all threads, and wait for the last."""
    workers().run(task, blocks(n, units, floats))
