"""Windows that move over images, and how arrays are laid out for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import EllipsisType

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.work.cuts import Block, run_blocks
from darknet_bn.work.threads import workers

LOWEST = float(np.finfo(np.float32).min)  # -FLT_MAX: what C gives for a window of NaN only


@dataclass(frozen=True)
class Window:
    """How a window moves over the image.

    Attributes
    ----------
    size : int
        Side of the window.
    stride_x, stride_y : int
    padding : int
        Rows and columns outside the image, both sides together; the first side has the smaller
        half.  They are treated as absent.
    """

    size: int
    stride_x: int
    stride_y: int
    padding: int

    def out_hw(self, h: int, w: int) -> tuple[int, int]:
        """Return the rows and columns of the output; 0 or less if no window fits."""
        room = self.padding - self.size
        # As in C, division truncates towards zero: a window that is slightly too large still
        # counts.
        return int((h + room) / self.stride_y) + 1, int((w + room) / self.stride_x) + 1


def spread(task: Callable[[F32, Block, F32], None], x: F32, window: Window, delta: F32) -> F32:
    """Let a task add to padded images, block by block, and return the part inside the padding."""
    n, c, h, w = x.shape
    delta_x = np.empty_like(x)
    begin = window.padding // 2
    oh, ow = delta.shape[2:]

    def block(at: Block) -> None:
        seen = with_border(x[at], window, (oh, ow), LOWEST)
        sums = workers().scratch(seen.size, "pool sums", x.dtype).reshape(seen.shape)
        sums.fill(0)
        with np.errstate(invalid="ignore"):  # signalling NaN, in x or in stale scratch
            task(seen, at, sums)
        inside = sums[:, :, begin : begin + h, begin : begin + w]
        target = delta_x[at]
        target.fill(0)
        np.copyto(target[:, :, : inside.shape[2], : inside.shape[3]], inside)

    run_blocks(block, n, c, h * w)
    return delta_x


def places(window: Window, out_hw: tuple[int, ...]) -> Iterator[tuple[EllipsisType | slice, ...]]:
    """Yield the positions of each place of all windows in the padded image."""
    for row in range(window.size):
        down = slice(row, row + reach(out_hw[0], window.stride_y, 1), window.stride_y)
        for column in range(window.size):
            right = column + reach(out_hw[1], window.stride_x, 1)
            yield ..., down, slice(column, right, window.stride_x)


def with_border(x: F32, window: Window, out_hw: tuple[int, int], value: float) -> F32:
    """Copy to a scratch buffer that contains all windows, with ``value`` around the image."""
    m, c, h, w = x.shape
    begin = window.padding // 2
    high = reach(out_hw[0], window.stride_y, window.size)
    wide = reach(out_hw[1], window.stride_x, window.size)
    padded = workers().scratch(m * c * high * wide, "pool padded", x.dtype)
    padded = padded.reshape(m, c, high, wide)
    rows, columns = max(0, min(h, high - begin)), max(0, min(w, wide - begin))
    padded.fill(value)
    padded[:, :, begin : begin + rows, begin : begin + columns] = x[:, :, :rows, :columns]
    return padded


def every(x: F32, axis: int, start: int, stride: int, count: int) -> F32:
    """Return a view of ``count`` elements along an axis, ``stride`` apart."""
    stop = start + (count - 1) * stride + 1
    return x[(slice(None),) * axis + (slice(start, stop, stride),)]


def reach(count: int, stride: int, size: int) -> int:
    """Return how many rows the windows of ``count`` output rows span."""
    return (count - 1) * stride + size
