"""Winograd's F(m×m, 3×3): a 3x3 convolution of stride 1 with a quarter of the multiplications.

A tile of m x m outputs needs a = m + 2 rows and columns of input.  With the matrices of
``Scheme``, for the filter g and the input tile d::

    outputs = output (Σ over channels of (filter g filterᵀ) ⊙ (input d inputᵀ)) outputᵀ

The product ⊙ runs over a·a positions; for each of them the sum over channels, for all filters and
tiles at once, is one matrix product.  The two transforms are matrix products as well: first over
the rows, then over the columns of all tiles of a block.  See A. Lavin and S. Gray, "Fast
Algorithms for Convolutional Neural Networks", 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.activations import Epilogue, activate_tile
from darknet_bn.kernels.im2col import tap_range
from darknet_bn.workers import workers

_ROWS = 1 << 14  # floats of one row position that a task transforms at once
_TILES = 96  # tiles in a block where threads share the tiles
_TILES_AT_ONCE = 192  # tiles in a block where threads share the filters
_PRODUCT = 1_000_000  # multiplications up to which OpenBLAS multiplies without packing
_SUMS = 1 << 12  # filters times tiles that are transformed back at once
_HEAVY = 1 << 21  # floats of transformed filters that should be read once only


@dataclass(frozen=True)
class Scheme:
    """The matrices of F(m×m, 3×3).

    Attributes
    ----------
    m : int
        Rows and columns of outputs in a tile.
    input : float32 array (m+2, m+2)
    filter : float64 array (m+2, 3)
    output : float32 array (m, m+2)
    """

    m: int
    input: F32
    filter: F64
    output: F32


def _scheme(*points: float) -> Scheme:
    """Interpolate through these points and infinity; row and column 1 stand for the point 1."""
    a = len(points) + 1
    m = a - 2
    powers = np.vander(np.array(points, np.float64), a, increasing=True)
    nodes = np.empty((a, a))
    scale = np.empty(a - 1)
    for i, point in enumerate(points):
        others = [other for other in points if other != point]
        nodes[i] = np.append(np.poly(others)[::-1], 0)
        scale[i] = np.prod([point - other for other in others])
    nodes[-1] = np.poly(points)[::-1]
    filters = np.vstack((powers[:, :3] / scale[:, None], (0, 0, 1)))
    output = np.vstack((powers[:, :m], np.eye(m)[-1])).T
    return Scheme(m, nodes.astype(np.float32), filters, output.astype(np.float32))


F2 = _scheme(0, 1, -1)
F4 = _scheme(0, 1, -1, 0.5, -2)  # a third of the error of 0, ±1, ±2


@dataclass(frozen=True)
class _Strip:
    """Some rows of tiles of one image."""

    image: int
    first: int
    rows: int


class Winograd:
    """A 3x3 convolution of stride 1 and pad 1 by tiles.

    Parameters
    ----------
    weights : float32 array (f, c, 3, 3)
    epilogue : Epilogue
    in_shape : (c, h, w)
    scheme : Scheme
        ``F4`` needs fewer multiplications, ``F2`` wastes less at the edge of small images and has
        fewer filters to read.

    Notes
    -----
    The filters are transformed once, in float64.  Sums differ from direct ones by some 1e-6 of the
    largest with ``F4``, because its matrices hold numbers up to 8.
    """

    def __init__(
        self, weights: F32, epilogue: Epilogue, in_shape: tuple[int, int, int], scheme: Scheme
    ) -> None:
        self.scheme = scheme
        self._f, self._c = weights.shape[:2]
        self._h, self._w = in_shape[1:]
        self._down, self._across = (-(-side // scheme.m) for side in in_shape[1:])
        half = np.einsum("ir,fcrk->ifck", scheme.filter, weights, optimize=True)
        full = np.einsum("ifck,jk->ijfc", half, scheme.filter, optimize=True)
        self._filters = np.ascontiguousarray(full, np.float32)
        self._epilogue = epilogue

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, h, w)
        """
        strips = self._strips(len(x))
        if len(strips) >= 2 * workers().count and self._filters.size <= _HEAVY:
            workers().run(lambda strip: self._share_tiles(x, out, [strip]), strips)
            return
        per_block = max(1, _TILES_AT_ONCE // (self._down * self._across))
        images = [_Strip(i, 0, self._down) for i in range(len(x))]
        for i in range(0, len(images), per_block):
            self._share_filters(x, out, images[i : i + per_block])

    def _strips(self, n: int) -> list[_Strip]:
        """Cut all images into strips of some ``_TILES`` tiles."""
        step = max(1, _TILES // self._across)
        return [
            _Strip(i, row, min(step, self._down - row))
            for i in range(n)
            for row in range(0, self._down, step)
        ]

    def _share_tiles(self, x: F32, out: F32, strips: list[_Strip]) -> None:
        """Convolve some strips in this thread, while other threads do others."""
        tiles = self._tiles(strips)
        patches = self._patches(tiles)
        for channels in _slices(self._c, self._channels_at_once(tiles)):
            self._transform(x, strips, channels, patches)
        for filters in _slices(self._f, self._filters_at_once(tiles)):
            self._multiply(patches, strips, filters, out)

    def _share_filters(self, x: F32, out: F32, strips: list[_Strip]) -> None:
        """Convolve some strips with all threads, so that each filter is read by one of them."""
        tiles = self._tiles(strips)
        patches = self._patches(tiles)
        workers().run(
            lambda channels: self._transform(x, strips, channels, patches),
            _slices(self._c, self._channels_at_once(tiles)),
        )
        workers().run(
            lambda filters: self._multiply(patches, strips, filters, out),
            _slices(self._f, self._filters_at_once(tiles)),
        )

    def _tiles(self, strips: list[_Strip]) -> int:
        return self._across * sum(strip.rows for strip in strips)

    def _patches(self, tiles: int) -> F32:
        """Borrow the buffer (a, a, c, tiles) of transformed inputs."""
        a = self.scheme.m + 2
        buffer = workers().scratch(a * a * self._c * tiles, "winograd patches")
        return buffer.reshape(a, a, self._c, tiles)

    def _channels_at_once(self, tiles: int) -> int:
        return max(1, _ROWS // (tiles * self.scheme.m))

    def _filters_at_once(self, tiles: int) -> int:
        most = min(_SUMS, _PRODUCT // self._c) // tiles
        return max(16, most // 16 * 16)

    def _transform(self, x: F32, strips: list[_Strip], channels: slice, patches: F32) -> None:
        """Fill ``patches[:, :, channels]`` with the transformed inputs of the strips."""
        m = self.scheme.m
        a = m + 2
        c = channels.stop - channels.start
        tiles = c * patches.shape[3]
        pixels = tiles * m
        scratch = workers().scratch
        rows = scratch(a * pixels, 0).reshape(a, c, -1, self._across * m)
        self._gather_rows(x, strips, channels, rows)
        # Column s of a tile is pixel s - 1 of it: one float before and after is read as well.
        buffer = scratch(a * pixels + 2, 1)
        np.matmul(self.scheme.input, rows.reshape(a, pixels), out=buffer[1:-1].reshape(a, pixels))
        step = buffer.itemsize
        tile_columns = as_strided(buffer, (a, a, tiles), (step, step * pixels, step * m))
        columns = scratch(a * a * tiles, 2).reshape(a, a, tiles)
        np.copyto(columns, tile_columns)
        # What lies left of the first tile and right of the last is zero.
        edges = columns.reshape(a, a, -1, self._across)
        edges[0, :, :, 0] = 0
        edges[-1, :, :, -1] = 0
        tiles_of = slice(channels.start * patches.shape[3], channels.stop * patches.shape[3])
        target = patches.reshape(a, a, -1)[:, :, tiles_of]
        np.matmul(self.scheme.input, columns.transpose(1, 0, 2), out=target)

    def _gather_rows(self, x: F32, strips: list[_Strip], channels: slice, rows: F32) -> None:
        """Copy row r of all tiles to ``rows[r]``, (c, rows of tiles, m*across); zero outside."""
        m = self.scheme.m
        begin = 0
        rows[..., self._w :] = 0
        for strip in strips:
            image = x[strip.image, channels]
            end = begin + strip.rows
            for r in range(m + 2):
                top = strip.first * m + r - 1
                first, last = tap_range(top, m, self._h, strip.rows)
                rows[r, :, begin : begin + first] = 0
                rows[r, :, begin + last : end] = 0
                if first < last:
                    source = image[:, top + first * m : top + (last - 1) * m + 1 : m]
                    rows[r, :, begin + first : begin + last, : self._w] = source
            begin = end

    def _multiply(self, patches: F32, strips: list[_Strip], filters: slice, out: F32) -> None:
        """Sum over channels, transform back, and write ``out[:, filters]`` of the strips."""
        m = self.scheme.m
        a = m + 2
        f, tiles = filters.stop - filters.start, patches.shape[3]
        size = f * tiles
        scratch = workers().scratch
        sums = scratch(a * a * size, 0).reshape(a, a, f, tiles)
        np.matmul(self._filters[:, :, filters], patches, out=sums)
        if self._epilogue.biases is not None:
            # The point 1 has weight 1 in every output, so its sum carries the bias to all of them.
            sums[1, 1] += self._epilogue.biases[filters, None]
        half = scratch(m * a * size, 1).reshape(m, a, size)
        np.matmul(self.scheme.output, sums.reshape(a, a * size), out=half.reshape(m, a * size))
        y = scratch(m * size * m, 2).reshape(m, size, m)
        np.matmul(half.transpose(0, 2, 1), self.scheme.output.T, out=y)
        if self._epilogue.activation is not None:
            activate_tile(y, self._epilogue.activation)
        self._scatter_rows(y.reshape(m, f, -1, self._across * m), strips, filters, out)

    def _scatter_rows(self, y: F32, strips: list[_Strip], filters: slice, out: F32) -> None:
        """Write ``y[r]``, row r of all tiles, where it belongs; what is outside is dropped."""
        m = self.scheme.m
        begin = 0
        for strip in strips:
            for r in range(m):
                top = strip.first * m + r
                count = min(strip.rows, (self._h - 1 - top) // m + 1)
                if count > 0:
                    target = out[strip.image, filters, top : top + (count - 1) * m + 1 : m]
                    target[...] = y[r, :, begin : begin + count, : self._w]
            begin += strip.rows


def _slices(size: int, step: int) -> list[slice]:
    """Cut ``range(size)`` into pieces of ``step``."""
    return [slice(i, min(i + step, size)) for i in range(0, size, step)]
