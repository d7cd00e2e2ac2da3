"""How work is divided into tasks, for the caches and for threads.

Three things are divided: ranges (`pieces`, `even`, `two_each`, `portions`), batches of images, each
made of rows or other units (`strips`, `blocks`, `tiles`), and arrays (`elements`, `pixels`).  The
caller sets the size of a part, with a value from `measured`.  Nothing here knows what is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from darknet_bn.arrays import F32
from darknet_bn.work import measured
from darknet_bn.work.threads import workers

Block: TypeAlias = "tuple[slice, slice]"
"""Which images, and which units of each: channels, planes, values …"""


class Strip(NamedTuple):
    """Some rows of one image; they may also be rows of tiles, pixels or channels.

    Attributes
    ----------
    image, first, rows : int
        Rows ``first`` to ``first + rows - 1`` of image ``image`` of the batch.
    """

    image: int
    first: int
    rows: int


# -- whether threads share the work, and in how many parts -----------------------------------------


def sharers(multiplications: int, floats: int) -> int:
    """Return how many threads should share a layer: one if more would cost more than they gain.

    Parameters
    ----------
    multiplications : int
        Number of multiplications in matrix products.
    floats : int
        Number of floats written: the output, and intermediate copies.
    """
    return workers().count if worth_sharing(multiplications, floats) else 1


def worth_sharing(multiplications: int, floats: int) -> bool:
    """Return whether threads should share some work at all; arguments as in `sharers`.

    Copies and activations consist of many short calls, between which threads delay each other, so
    that sharing them gains less.
    """
    work = multiplications * measured.PER_MULTIPLICATION + floats * measured.PER_FLOAT
    return work >= measured.WORTH_SHARING


def shares(size: int, most: int, threads: int) -> int:
    """Return the number of parts of at most about ``most``: equally many for each thread."""
    return -(-size // (most * threads)) * threads


def fitting(most: int, each: int) -> int:
    """Return how many things of size ``each`` fit in ``most``; at least 1."""
    return max(1, most // max(1, each))


# -- ranges ----------------------------------------------------------------------------------------


def pieces(size: int, at_once: int) -> list[slice]:
    """Cut ``range(size)`` into slices of ``at_once``; the last may be shorter."""
    return [slice(i, min(i + at_once, size)) for i in range(0, size, at_once)]


def even(size: int, count: int) -> list[slice]:
    """Cut ``range(size)`` into ``count`` slices of about the same size."""
    return [slice(size * i // count, size * (i + 1) // count) for i in range(count)]


def two_each(size: int) -> list[slice]:
    """Cut ``range(size)`` into equal slices, two for each thread; the last may be shorter."""
    return pieces(size, -(-size // (2 * workers().count)))


def portions(size: int, each: int, most: int, threads: int) -> list[slice]:
    """Cut ``range(size)`` into slices of about ``most`` at most, equally many for each thread.

    Parameters
    ----------
    size : int
    each : int
        Size of each of the ``size`` things.
    most : int
        Largest total size of the things in a slice.
    threads : int
    """
    return pieces(size, -(-size // shares(size * each, most, threads)))


# -- batches ---------------------------------------------------------------------------------------


def strips(n: int, rows: int, at_once: int, threads: int) -> list[list[Strip]]:
    """Divide the rows of a batch into tasks.

    Parameters
    ----------
    n : int
        Number of images.
    rows : int
        Number of rows in each image.
    at_once : int
        Largest number of rows in a task.
    threads : int
        Number of threads that share the tasks.

    Returns
    -------
    list of list of Strip
        The tasks: several whole images each if images are small, otherwise a part of one image.
        Each thread gets the same number of parts, all of about the same size.
    """
    at_once = max(1, min(at_once, -(-n * rows // threads)))
    if at_once >= rows:
        images = [Strip(i, 0, rows) for i in range(n)]
        return [images[some] for some in pieces(n, at_once // rows)]
    parts = even(rows, min(rows, shares(rows, at_once, threads)))
    return [[Strip(i, part.start, part.stop - part.start)] for i in range(n) for part in parts]


def blocks(n: int, units: int, floats: int, threads: int) -> list[Block]:
    """Cut ``(n, units)`` into parts of about the same size, equally many for each thread.

    Parameters
    ----------
    n, units : int
        Number of images, and of the units in each.
    floats : int
        Number of values in a unit.
    threads : int
        Number of threads that share the parts.

    Returns
    -------
    list of Block
        Several whole images if images are small, otherwise some units of one image.
    """
    image = units * floats
    if image <= measured.BLOCK:
        return [(some, slice(0, units)) for some in pieces(n, fitting(measured.BLOCK, image))]
    parts = portions(units, floats, measured.BLOCK, threads)
    return [(slice(at, at + 1), part) for at in range(n) for part in parts]


def run_blocks(task: Callable[[Block], None], n: int, units: int, floats: int) -> None:
    """Call ``task`` for every block of ``(n, units)``, on all threads, and wait for the last."""
    shared = workers()
    shared.run(task, blocks(n, units, floats, shared.count))


def tiles(n: int, units: int, each: int, most: int) -> Iterator[Block]:
    """Cut ``(n, units)`` into parts of about ``most``: images, or some units of one image.

    Parameters
    ----------
    n, units : int
    each : int
        Size of a unit.
    most : int
        Wanted size of a part, in the same measure.
    """
    parts = max(1, -(-n * units * each // max(1, most)))
    images = -(-n // min(n, parts)) if n else 1
    parts = max(1, -(-units * each // max(1, most))) if images == 1 else 1
    height = -(-units // min(units, parts)) if units else 1
    for some in pieces(n, images):
        for part in pieces(units, height):
            yield some, part


# -- arrays ----------------------------------------------------------------------------------------


def elements(most: int, *arrays: F32) -> list[tuple[F32, ...]]:
    """Cut arrays of one shape alike, into views of some ``most`` elements, in any layout."""
    first, *_ = arrays
    if first.size <= most:
        return [arrays]
    if all(array.flags.c_contiguous for array in arrays):
        flat = [array.reshape(-1) for array in arrays]
        return [tuple(array[some] for array in flat) for some in pieces(first.size, most)]
    inner = first.size // len(first)
    if inner > most:
        return [part for row in zip(*arrays, strict=True) for part in elements(most, *row)]
    return [
        tuple(array[some] for array in arrays) for some in pieces(len(first), fitting(most, inner))
    ]


def pixels(most: int, *arrays: F32) -> list[tuple[F32, ...]]:
    """Cut arrays (n, c, s) or (n, c, h, w) alike, into views of whole pixels of one image."""
    n, c, rows, *inner = arrays[0].shape
    parts = pieces(rows, fitting(most, c * math.prod(inner)))
    return [
        tuple(array[i : i + 1, :, part] for array in arrays) for i in range(n) for part in parts
    ]
