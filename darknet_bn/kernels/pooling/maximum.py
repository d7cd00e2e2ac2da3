"""The largest value of windows, or of channels.  C: ``src/maxpool_layer.c``.

A window is pooled in one direction, then in the other.  The maximum of k neighbours takes about
log2(k) passes: the maximum of 2, of 4 …, and finally of two overlapping groups.  The passes run
over all pixels at once, whatever the stride: numpy is several times faster without steps.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.choice import twin
from darknet_bn.kernels.floating import floating
from darknet_bn.kernels.pooling import compiled, compiled_backward
from darknet_bn.kernels.pooling.windows import (
    LOWEST,
    Window,
    every,
    places,
    reach,
    spread,
    with_border,
)
from darknet_bn.work.cuts import Block, run_blocks
from darknet_bn.work.threads import workers


@floating
@twin(compiled.largest, when=compiled.pays)
def forward_maxpool_layer(x: F32, window: Window, out: F32) -> None:
    """Take the largest value of every window.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    window : Window
    out : float32 array (n, c, oh, ow)
        Receives the result; ``window.out_hw`` gives its size.

    Notes
    -----
    C: ``forward_maxpool_layer`` in ``src/maxpool_layer.c``.  NaN is never larger than anything, so
    it is ignored; a window that contains only NaN gives ``-FLT_MAX``.  AlexeyAB's AVX build cuts
    off the windows at the left edge if the stride is 1; this code does not.
    """
    n, c, h, w = x.shape

    def block(at: Block) -> None:
        y = out[at]
        with np.errstate(invalid="ignore"):  # signalling NaN, in x or in stale scratch
            _max_block(x[at], window, y)
            _raise_to_lowest(y)

    run_blocks(block, n, c, h * w)


@floating
def forward_maxpool_depth(x: F32, out: F32) -> None:
    """Take the maximum of every f-th channel of each pixel.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    out : float32 array (n, f, h, w)
        Receives the result: channel i is the maximum of the channels i, i + f, i + 2f …

    Notes
    -----
    C: ``forward_maxpool_layer`` in AlexeyAB's ``src/maxpool_layer.c``, for ``maxpool_depth=1``.
    """
    out.fill(LOWEST)
    f = out.shape[1]
    with np.errstate(invalid="ignore"):
        for start in range(0, x.shape[1], f):
            part = x[:, start : start + f]
            np.fmax(out[:, : part.shape[1]], part, out=out[:, : part.shape[1]])


@floating
@twin(compiled_backward.backward_maxpool_layer, when=compiled_backward.pays)
def backward_maxpool_layer(x: F32, y: F32, delta: F32, window: Window) -> F32:
    """Pass the delta of every window to its maximum, the first if there are several.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
        The input.  float64 is also accepted; then all arrays are float64.
    y, delta : float32 arrays (n, c, oh, ow)
        The output, and its delta.
    window : Window

    Returns
    -------
    delta_x : float32 array (n, c, h, w)

    Notes
    -----
    C: ``backward_maxpool_layer`` in ``src/maxpool_layer.c``; there, the forward pass keeps places.
    """

    def along_comparisons(seen: F32, at: Block, sums: F32) -> None:
        _back_to_largest(seen, delta[at], window.size, sums)

    def place_by_place(seen: F32, at: Block, sums: F32) -> None:
        largest, given = y[at], delta[at]
        free = np.ones(given.shape, bool)
        for taps in places(window, given.shape[2:]):
            hit = np.equal(seen[taps], largest)
            hit &= free
            free ^= hit
            sums[taps] += given * hit

    dense = window.stride_x == window.stride_y == 1
    return spread(along_comparisons if dense else place_by_place, x, window, delta)


@floating
def backward_maxpool_depth(x: F32, y: F32, delta: F32) -> F32:
    """Pass the delta of every output to the maximum of its channels, the first of several.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    y, delta : float32 arrays (n, f, h, w)

    Returns
    -------
    delta_x : float32 array (n, c, h, w)
    """
    f = y.shape[1]
    delta_x = np.empty_like(x)
    free = np.ones(y.shape, bool)
    for start in range(0, x.shape[1], f):
        part = slice(start, start + f)
        channels = slice(0, x[:, part].shape[1])
        hit = np.equal(x[:, part], y[:, channels])
        hit &= free[:, channels]
        free[:, channels] ^= hit
        np.multiply(delta[:, channels], hit, out=delta_x[:, part])
    return delta_x


def _back_to_largest(seen: F32, delta: F32, size: int, sums: F32) -> None:
    """Go back along the comparisons that find the maximum of ``size`` rows and columns.

    If values are equal, the first one counts: the leftmost in its row, the topmost of all rows.
    """
    width = seen.shape[3]
    steps = [*_distances(size), *(width * distance for distance in _distances(size))]
    values = [seen.reshape(-1)]
    for number, step in enumerate(steps):
        larger = workers().scratch(seen.size, ("pool level", number), seen.dtype)
        np.fmax(values[-1][:-step], values[-1][step:], out=larger[:-step])
        values.append(larger)
    oh, ow = delta.shape[2:]
    sums[:, :, :oh, :ow] = delta
    given = sums.reshape(-1)
    first = workers().scratch(seen.size, "pool first", seen.dtype)
    for step in reversed(steps):
        larger, smaller = values.pop()[:-step], values[-1][:-step]
        # If no window reads the result, the values are stale, but the delta passed on is 0.
        np.multiply(given[:-step], np.equal(smaller, larger), out=first[:-step])
        first[-step:] = 0
        np.subtract(given[:-step], first[:-step], out=given[:-step])
        np.add(first[step:], given[:-step], out=first[step:])
        np.copyto(given, first)


def _max_block(x: F32, window: Window, y: F32) -> None:
    size, (oh, ow) = window.size, y.shape[2:]
    inside = window.padding < 2 and reach(oh, window.stride_y, size) <= x.shape[2]
    inside = inside and reach(ow, window.stride_x, size) <= x.shape[3]
    if not (inside and x.flags.c_contiguous):
        x = with_border(x, window, (oh, ow), LOWEST)
    rows = _max_rows(x, window, oh)
    values = rows.reshape(-1)
    for number, shift in enumerate(_distances(size)):
        larger = workers().scratch(values.size, ("pool columns", number % 2), x.dtype)
        # If the neighbour is in the next row or channel, no window reads the result.
        np.fmax(values[:-shift], values[shift:], out=larger[:-shift])
        values = larger
    np.copyto(y, every(values.reshape(rows.shape)[:, :, :oh], 3, 0, window.stride_x, ow))


def _max_rows(x: F32, window: Window, oh: int) -> F32:
    """Return the maximum of the rows of every window, contiguous; rows after ``oh`` are stale."""
    m, c, _, w = x.shape
    if window.stride_y > 1:
        rows = workers().scratch(m * c * oh * w, "pool rows", x.dtype).reshape(m, c, oh, w)
        larger = every(x, 2, 0, window.stride_y, oh)
        for tap in range(1, window.size):
            larger = np.fmax(larger, every(x, 2, tap, window.stride_y, oh), out=rows)
        return np.ascontiguousarray(larger)
    values = x.reshape(-1)
    for number, distance in enumerate(_distances(window.size)):
        larger = workers().scratch(values.size, ("pool rows", number % 2), x.dtype)
        np.fmax(values[: -distance * w], values[distance * w :], out=larger[: -distance * w])
        values = larger
    return values.reshape(x.shape)


def _distances(size: int) -> list[int]:
    """Return the distances to the compared neighbours, so that ``size`` are covered in the end."""
    distances, reach = [], 1
    while reach < size:
        distances.append(min(reach, size - reach))
        reach += distances[-1]
    return distances


def _raise_to_lowest(y: F32) -> None:
    """Replace NaN and minus infinity, which no window gives in C, by ``LOWEST``."""
    if y.size and not y.min() >= LOWEST:  # "not >=" rather than "<" because of NaN
        np.fmax(y, LOWEST, out=y)
