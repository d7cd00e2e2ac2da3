"""Winograd's transforms for F(4x4, 3x3), compiled: from pixels to patches, from sums to pixels.

Each works on as many rows of tiles as stay in the first-level cache.  What it reads or writes with
a step is copied; all arithmetic runs along tiles.  The buffers have fixed distances, so that the
compiler sees that nothing overlaps.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue, activate_tile
from darknet_bn.kernels.activations.bends import LEAKY
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.convolution.scheme import F4, Scheme
from darknet_bn.work.cuts import Strip
from darknet_bn.work.threads import workers

_TILES = 160  # at once, at most
_LINE = 4 * _TILES + 8  # floats of their rows of pixels; no multiple of a power of two
_AT_ONCE = 64  # tiles wanted, if rows are short
_SLOPES = {"linear": np.float32(1), "leaky": LEAKY}  # below zero, of what the loop can apply

_HALF, _TWO, _FOUR, _EIGHT = (np.float32(each) for each in (0.5, 2, 4, 8))
_QUARTER, _EIGHTH, _MORE, _MOST = (np.float32(each) for each in (0.25, 0.125, 1.5, 2.5))


def pays_in(x: F32, parts: list[Strip], channels: slice, scheme: Scheme, patches: F32) -> bool:
    """Return whether `transform` is for such images."""
    return _fits(x, scheme)


def pays_back(
    sums: F32, parts: list[Strip], filters: slice, scheme: Scheme, epilogue: Epilogue, out: F32
) -> bool:
    """Return whether `transform_back` is for such images."""
    return _fits(out, scheme)


def _fits(images: F32, scheme: Scheme) -> bool:
    return scheme is F4 and images.shape[3] <= 4 * _TILES


def transform(x: F32, parts: list[Strip], channels: slice, scheme: Scheme, patches: F32) -> None:
    """Do what `winograd.transform` does."""
    scratch = workers().scratch
    lines, columns = scratch(7 * _LINE, "winograd rows"), scratch(36 * _TILES, "winograd columns")
    lines[:] = 0  # the last one is what is read outside the image
    begin = 0
    for part in parts:
        _transform(
            x[part.image], part.first, part.rows, channels.start, channels.stop, lines, columns,
            patches.reshape(-1), patches.shape[3], begin,
        )  # fmt: skip
        begin += part.rows


def transform_back(
    sums: F32, parts: list[Strip], filters: slice, scheme: Scheme, epilogue: Epilogue, out: F32
) -> None:
    """Do what `winograd.transform_back` does."""
    activation = epilogue.activation
    name = "linear" if activation is None else activation.name
    slope = _SLOPES.get(name, np.float32(1))
    f = filters.stop - filters.start
    biases = np.zeros(f, np.float32) if epilogue.biases is None else epilogue.biases[filters]
    scratch = workers().scratch
    half, whole = scratch(24 * _TILES, "winograd half"), scratch(16 * _TILES, "winograd outputs")
    line = scratch(_LINE, "winograd line")
    begin = 0
    for part in parts:
        y = out[part.image]
        _transform_back(
            sums.reshape(-1), sums[0, 0].size, sums.shape[3], begin, part.first, part.rows,
            filters.start, biases, slope, half, whole, line, y,
        )  # fmt: skip
        begin += part.rows
        if name not in _SLOPES and activation is not None:
            activate_tile(y[filters, 4 * part.first : 4 * (part.first + part.rows)], activation)


# -- the loops -------------------------------------------------------------------------------------


@loop()
def _transform(
    x: F32,
    first: int,
    rows: int,
    start: int,
    stop: int,
    lines: F32,
    columns: F32,
    patches: F32,
    tiles: int,
    begin: int,
) -> None:
    """Transform rows of tiles of some channels (c, h, w) to patches (36, c, tiles)."""
    c, h, w = x.shape
    across = (w + 3) // 4
    at_once = _rows_at_once(rows, across)
    zeros = lines[6 * _LINE : 6 * _LINE + w]
    for k in range(start, stop):
        for some in range(0, rows, at_once):
            count = min(at_once, rows - some)
            for tile in range(count):
                top = 4 * (first + some + tile) - 1
                _down(
                    x[k, top] if top >= 0 else zeros,
                    x[k, top + 1],
                    x[k, top + 2] if top + 2 < h else zeros,
                    x[k, top + 3] if top + 3 < h else zeros,
                    x[k, top + 4] if top + 4 < h else zeros,
                    x[k, top + 5] if top + 5 < h else zeros,
                    lines[4 * tile * across :],
                )
            size, to = count * across, k * tiles + (begin + some) * across
            for i in range(6):
                some_columns = columns[6 * i * _TILES :]
                _split(lines[i * _LINE :], some_columns, size)
                for edge in range(0, size, across):
                    some_columns[edge] = 0
                    some_columns[edge + across - 1 + 5 * _TILES] = 0
                _across(some_columns, size)
            for i in range(36):
                _copy(columns[i * _TILES :], patches[i * c * tiles + to :], size)


@loop()
def _transform_back(
    sums: F32,
    position: int,
    tiles: int,
    begin: int,
    first: int,
    rows: int,
    start: int,
    biases: F32,
    slope: np.float32,
    half: F32,
    whole: F32,
    line: F32,
    y: F32,
) -> None:
    """Transform sums (36, f, tiles) to some rows of the filters of an image (f, h, w)."""
    _, h, w = y.shape
    across = (w + 3) // 4
    at_once = _rows_at_once(rows, across)
    for k in range(len(biases)):
        for some in range(0, rows, at_once):
            count = min(at_once, rows - some)
            here, size = k * tiles + (begin + some) * across, count * across
            for i in range(6):
                at = 6 * i * position + here
                _back_across(
                    sums[at:],
                    sums[at + position :],
                    sums[at + 2 * position :],
                    sums[at + 3 * position :],
                    sums[at + 4 * position :],
                    sums[at + 5 * position :],
                    half[4 * i * _TILES :],
                    size,
                )
            for j in range(4):
                _back_down(half[j * _TILES :], whole[j * _TILES :], size)
            top = 4 * (first + some)
            for i in range(4):
                _join(whole[4 * i * _TILES :], line, size)
                for tile in range(count):
                    row = top + 4 * tile + i
                    if row < h:
                        _finish(line[4 * tile * across :], biases[k], slope, y[start + k, row])


@loop()
def _rows_at_once(rows: int, across: int) -> int:
    """Return how many rows of tiles go together: parts of equal size."""
    most = max(1, _AT_ONCE // across)
    parts = (rows + most - 1) // most
    return (rows + parts - 1) // parts


@loop(fuses=True)
def _down(d0: F32, d1: F32, d2: F32, d3: F32, d4: F32, d5: F32, y: F32) -> None:
    """Multiply six rows by the matrix of the scheme."""
    for p in range(len(d1)):
        a, b, c, d, e, f = _six(d0[p], d1[p], d2[p], d3[p], d4[p], d5[p])
        y[p] = a
        y[p + _LINE] = b
        y[p + 2 * _LINE] = c
        y[p + 3 * _LINE] = d
        y[p + 4 * _LINE] = e
        y[p + 5 * _LINE] = f


@loop(fuses=True)
def _across(columns: F32, size: int) -> None:
    """Multiply six columns by the matrix of the scheme, in place."""
    for p in range(size):
        a, b, c, d, e, f = _six(
            columns[p],
            columns[p + _TILES],
            columns[p + 2 * _TILES],
            columns[p + 3 * _TILES],
            columns[p + 4 * _TILES],
            columns[p + 5 * _TILES],
        )
        columns[p] = a
        columns[p + _TILES] = b
        columns[p + 2 * _TILES] = c
        columns[p + 3 * _TILES] = d
        columns[p + 4 * _TILES] = e
        columns[p + 5 * _TILES] = f


@loop(fuses=True)
def _six(
    d0: np.float32, d1: np.float32, d2: np.float32, d3: np.float32, d4: np.float32, d5: np.float32
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32, np.float32]:
    """Multiply by ``F4.input``."""
    return (
        d0 - _MORE * d1 - _TWO * d2 + _MORE * d3 + d4,
        d4 - d1 + _HALF * d2 + _MOST * d3,
        d4 + d1 - _MOST * d2 + _HALF * d3,
        d4 - _TWO * d1 - d2 + _TWO * d3,
        d4 + _HALF * d1 - d2 - _HALF * d3,
        d5 + d1 - _MORE * d2 - _TWO * d3 + _MORE * d4,
    )


@loop(fuses=True)
def _four(
    s0: np.float32, s1: np.float32, s2: np.float32, s3: np.float32, s4: np.float32, s5: np.float32
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Multiply by ``F4.output``."""
    even, odd = s1 + s2, s1 - s2
    return (
        s0 + even + s3 + s4,
        odd + _HALF * s3 - _TWO * s4,
        even + _QUARTER * s3 + _FOUR * s4,
        odd + _EIGHTH * s3 - _EIGHT * s4 + s5,
    )


@loop(fuses=True)
def _back_across(s0: F32, s1: F32, s2: F32, s3: F32, s4: F32, s5: F32, y: F32, size: int) -> None:
    for p in range(size):
        a, b, c, d = _four(s0[p], s1[p], s2[p], s3[p], s4[p], s5[p])
        y[p] = a
        y[p + _TILES] = b
        y[p + 2 * _TILES] = c
        y[p + 3 * _TILES] = d


@loop(fuses=True)
def _back_down(s: F32, y: F32, size: int) -> None:
    for p in range(size):
        a, b, c, d = _four(
            s[p],
            s[p + 4 * _TILES],
            s[p + 8 * _TILES],
            s[p + 12 * _TILES],
            s[p + 16 * _TILES],
            s[p + 20 * _TILES],
        )
        y[p] = a
        y[p + 4 * _TILES] = b
        y[p + 8 * _TILES] = c
        y[p + 12 * _TILES] = d


@loop()
def _split(line: F32, columns: F32, size: int) -> None:
    """Write each column of tiles apart; the first and last are those of the tiles beside them."""
    for p in range(size):
        columns[p + _TILES] = line[4 * p]
        columns[p + 2 * _TILES] = line[4 * p + 1]
        columns[p + 3 * _TILES] = line[4 * p + 2]
        columns[p + 4 * _TILES] = line[4 * p + 3]
    for p in range(size - 1):
        columns[p + 1] = columns[p + 4 * _TILES]
        columns[p + 5 * _TILES] = columns[p + 1 + _TILES]


@loop()
def _join(columns: F32, line: F32, size: int) -> None:
    for p in range(size):
        line[4 * p] = columns[p]
        line[4 * p + 1] = columns[p + _TILES]
        line[4 * p + 2] = columns[p + 2 * _TILES]
        line[4 * p + 3] = columns[p + 3 * _TILES]


@loop()
def _copy(x: F32, y: F32, size: int) -> None:
    for p in range(size):
        y[p] = x[p]


@loop()
def _finish(sums: F32, bias: np.float32, slope: np.float32, y: F32) -> None:
    """Add the bias and activate: 1 is the slope of what is linear, for both signs."""
    for p in range(len(y)):
        value = sums[p] + bias
        y[p] = value if value > 0 else value * slope
