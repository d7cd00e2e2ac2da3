"""How the work of one layer is cut into tasks for threads."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from darknet_bn.work.threads import workers

# Nanoseconds of one thread, roughly.  Threads hold each other up between the many short calls that
# copies and activations are, so that sharing those gains less.
_PER_MULTIPLICATION, _PER_FLOAT = 0.02, 0.2
_WORTH_SHARING = 300_000


@dataclass(frozen=True)
class Strip:
    """Some rows of one image; or rows of tiles, pixels, channels.

    Attributes
    ----------
    image, first, rows : int
        Rows ``first`` to ``first + rows - 1`` of image ``image`` of the batch.
    """

    image: int
    first: int
    rows: int


def sharers(multiplications: int, floats: int) -> int:
    """Return how many threads should share a layer: one where more would cost more than they gain.

    Parameters
    ----------
    multiplications : int
        In matrix products.
    floats : int
        That are written, the output and copies on the way.
    """
    return workers().count if worth_sharing(multiplications, floats) else 1


def worth_sharing(multiplications: int, floats: int) -> bool:
    """Tell whether threads should share some work at all; arguments as of `sharers`."""
    return multiplications * _PER_MULTIPLICATION + floats * _PER_FLOAT >= _WORTH_SHARING


def strips(n: int, rows: int, at_once: int, threads: int) -> list[list[Strip]]:
    """Share out the rows of a batch.

    Parameters
    ----------
    n : int
        Images.
    rows : int
        Rows of each.
    at_once : int
        How many rows a task may have.
    threads : int
        Who shares them.

    Returns
    -------
    list of list of Strip
        The tasks: several whole images each where they are small, else a part of one image.  There
        are as many parts, of about the same size, for each thread.
    """
    at_once = max(1, min(at_once, -(-n * rows // threads)))
    if at_once >= rows:
        images = [Strip(i, 0, rows) for i in range(n)]
        step = at_once // rows
        return [images[i : i + step] for i in range(0, n, step)]
    parts = min(rows, -(-rows // (at_once * threads)) * threads)
    edges = [rows * part // parts for part in range(parts + 1)]
    return [
        [Strip(i, first, last - first)]
        for i in range(n)
        for first, last in itertools.pairwise(edges)
    ]


def pieces(size: int, at_once: int) -> list[slice]:
    """Cut ``range(size)`` into slices of ``at_once``; the last may be shorter."""
    return [slice(i, min(i + at_once, size)) for i in range(0, size, at_once)]
