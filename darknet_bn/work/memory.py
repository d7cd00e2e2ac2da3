"""Memory: requests that are too large are refused first, and used memory is reused."""

from __future__ import annotations

import math
import os
import sys
import threading

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError
from darknet_bn.work import measured

_SMALL = 1 << 15  # bytes; below, the system's own allocation is as fast


def require_memory(size: int, what: str) -> None:
    """Check whether this machine could provide ``size`` bytes at all.

    Raises
    ------
    ShapeError
        They are more than the machine has.
    """
    try:
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return
    if size > limit:
        raise ShapeError(
            f"there is not enough memory for {what}",
            expected=f"at most {limit / 2**30:.1f} GiB",
            found=f"{size / 2**30:.1f} GiB",
        )


class Arena:
    """Arrays that are reused when they are no longer referenced.

    The system fills newly allocated memory with zeros, page by page; in training, where each step
    needs the same arrays as the last one, that took a quarter of the time.
    """

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()
        self._unused = _references([np.empty(0, np.uint8)], 0)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> F32:
        """Return an array with arbitrary values that begins on a cache line.

        Parameters
        ----------
        shape : tuple of int
        dtype : dtype

        Returns
        -------
        array : array of that shape and type
            While it or a view of it is referred to, its memory is not reused.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size < _SMALL:
            return np.empty(shape, dtype)
        with self._lock:
            block = self._block(size + measured.LINE)
            begin = -block.ctypes.data % measured.LINE
            array: F32 = block[begin : begin + size].view(dtype).reshape(shape)
            return array

    def _block(self, size: int) -> npt.NDArray[np.uint8]:
        """Return the smallest free block that is large enough, and not much too large."""
        sizes = [block.size for block in self._blocks]
        free = [
            index
            for index in range(len(self._blocks))
            if _references(self._blocks, index) <= self._unused
        ]
        fitting = [index for index in free if size <= sizes[index] <= 2 * size]
        if fitting:
            return self._blocks[min(fitting, key=sizes.__getitem__)]
        if 2 * sum(sizes[index] for index in free) > sum(sizes):  # other sizes are in demand now
            for index in reversed(free):
                del self._blocks[index]
        self._blocks.append(np.empty(size, np.uint8))
        return self._blocks[-1]


def _references(blocks: list[npt.NDArray[np.uint8]], index: int) -> int:
    """Count the references to a block: from views of it, and from views of these."""
    return sys.getrefcount(blocks[index])
