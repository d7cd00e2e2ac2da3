"""Winograd convolution for 3x3 kernels: transform tiles, multiply, and transform back.

F(m×m, 3×3) computes m x m outputs from a tile of a x a inputs, a = m + 2, with a·a multiplications
instead of 9·m·m.  With the matrices of ``Scheme``, for the kernel g and the tile d::

    outputs = output (Σ over channels of (filter g filterᵀ) ⊙ (input d inputᵀ)) outputᵀ

The product ⊙ runs over a·a positions; for each position, the sum over channels, for all filters and
tiles at once, is one matrix product.  The transforms are matrix products too: first down the
tiles, then across.  See A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks",
2015.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue, activate_tile
from darknet_bn.kernels.choice import twin
from darknet_bn.kernels.convolution import tiles
from darknet_bn.kernels.convolution.gemm import cut, equal_parts, multiply
from darknet_bn.kernels.convolution.scheme import Scheme
from darknet_bn.work import measured
from darknet_bn.work.cuts import Strip, fitting, portions, strips
from darknet_bn.work.threads import workers

_LINE = measured.LINE // 4  # floats


class Winograd:
    """A 3x3 convolution of stride 1 and pad 1, computed by tiles.

    Parameters
    ----------
    weights : float32 array (f, c, 3, 3)
    epilogue : Epilogue
    in_shape : (c, h, w)
    scheme : Scheme
        A larger scheme needs fewer multiplications; a smaller one wastes less at the edges of small
        images and has fewer filter values to read.

    Notes
    -----
    The filters are transformed once, in float64.  With ``F4``, sums differ from direct ones by some
    1e-6 of the largest value, because its matrices contain numbers up to 8.
    """

    def __init__(
        self, weights: F32, epilogue: Epilogue, in_shape: tuple[int, int, int], scheme: Scheme
    ) -> None:
        self.scheme = scheme
        self._f = len(weights)
        self._channels, self._h, self._w = in_shape
        self._down, self._across = (-(-side // scheme.m) for side in in_shape[1:])
        few = self._down * self._across <= measured.WINOGRAD_FEW_TILES
        sizes = measured.WINOGRAD_BLOCKS_FOR_FEW if few else measured.WINOGRAD_BLOCKS
        self._block = min(sizes, key=lambda block: -self._f % block)
        self._filters = transform_filters(weights, scheme, self._block)
        self._epilogue = epilogue

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, h, w)
        """
        n, threads = len(x), workers().count
        patches = measured.WINOGRAD_PATCHES // self._channels
        tiles = min(patches, measured.WINOGRAD_SUMS // self._block)
        tasks = strips(n, self._down, fitting(tiles, self._across), threads)
        if len(tasks) >= threads and self._filters.size <= measured.WINOGRAD_HEAVY:
            workers().run(lambda parts: self._share_tiles(x, out, parts), tasks)
            return
        whole = max(self._down, measured.WINOGRAD_TILES // self._across)
        for parts in strips(n, self._down, whole, 1):
            self._share_filters(x, out, parts)

    def _share_tiles(self, x: F32, out: F32, parts: list[Strip]) -> None:
        """Convolve some strips in this thread, while other threads convolve others."""
        tiles = self._tiles(parts)
        patches = self._patches(tiles)
        for channels in self._channel_parts(tiles, 1):
            transform(x, parts, channels, self.scheme, patches)
        for blocks in self._block_parts(tiles, 1):
            self._multiply(patches, parts, blocks, out)

    def _share_filters(self, x: F32, out: F32, parts: list[Strip]) -> None:
        """Convolve some strips on all threads, so that each filter is read by only one thread."""
        tiles, threads = self._tiles(parts), workers().count
        patches = self._patches(tiles)
        workers().run(
            lambda channels: transform(x, parts, channels, self.scheme, patches),
            self._channel_parts(tiles, threads),
        )
        workers().run(
            lambda blocks: self._multiply(patches, parts, blocks, out),
            self._block_parts(tiles, threads),
        )

    def _tiles(self, parts: list[Strip]) -> int:
        return self._across * sum(part.rows for part in parts)

    def _channel_parts(self, tiles: int, threads: int) -> list[slice]:
        return portions(self._channels, tiles * self.scheme.m, measured.WINOGRAD_ROWS, threads)

    def _block_parts(self, tiles: int, threads: int) -> list[slice]:
        blocks = self._filters.shape[2]
        return portions(blocks, tiles * self._block, measured.WINOGRAD_SUMS, threads)

    def _patches(self, tiles: int) -> F32:
        """Borrow the buffer (a, a, c, tiles) for transformed inputs."""
        a = self.scheme.a
        buffer = workers().scratch(a * a * self._channels * tiles, "winograd patches")
        return buffer.reshape(a, a, self._channels, tiles)

    def _multiply(self, patches: F32, parts: list[Strip], blocks: slice, out: F32) -> None:
        """Sum over channels, transform back, and write some filter blocks of the strips."""
        a, n = self.scheme.a, patches.shape[3]
        f = (blocks.stop - blocks.start) * self._block
        filters = slice(blocks.start * self._block, min(blocks.stop * self._block, self._f))
        sums = workers().scratch(a * a * f * n, "winograd sums").reshape(a, a, f, n)
        _sum_channels(self._filters[:, :, blocks], patches, sums)
        transform_back(sums, parts, filters, self.scheme, self._epilogue, out)


def transform_filters(weights: F32, scheme: Scheme, block: int) -> F32:
    """Transform filters in float64, in parts that the cache holds, and round them.

    Parameters
    ----------
    weights : float32 array (f, c, 3, 3)
    scheme : Scheme
    block : int
        How many filters are next to each other.

    Returns
    -------
    filters : float32 array (a, a, blocks, c, block)
        The last block is filled up with zeros.
    """
    (f, c), a = weights.shape[:2], scheme.a
    blocks = -(-f // block)
    filters = np.zeros((a, a, blocks, c, block), np.float32)
    most = fitting(measured.WINOGRAD_TAPS, 9 * block)
    for number in range(blocks):
        for start in range(0, c, most):
            part = weights[number * block :, start : start + most][:block]
            n, channels = part.shape[:2]
            # From (n, channels * 9) to (9, channels * n), copying runs of n.
            turned = np.ascontiguousarray(part.reshape(n, -1).T, np.float64)
            taps = np.ascontiguousarray(turned.reshape(channels, 9, n).swapaxes(0, 1))
            half = scheme.filter @ taps.reshape(3, -1)
            whole = np.matmul(scheme.filter, half.reshape(a, 3, -1))
            target = filters[:, :, number, start : start + channels, :n]
            target[...] = whole.reshape(target.shape)
    return filters


@twin(tiles.transform, when=tiles.pays_in)
def transform(x: F32, parts: list[Strip], channels: slice, scheme: Scheme, patches: F32) -> None:
    """Transform the inputs of strips.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
    parts : list of Strip
        Rows of tiles.
    channels : slice
        Which channels.
    scheme : Scheme
    patches : float32 array (a, a, c, tiles of all parts)
        Of which these channels are filled.
    """
    m, a = scheme.m, scheme.a
    across = -(-x.shape[3] // m)
    c = channels.stop - channels.start
    count = c * patches.shape[3]
    pixels = count * m
    scratch = workers().scratch
    # Column s of a tile is its pixel s - 1: one float before it and one after it are read as well.
    buffer = scratch(_LINE + a * pixels + 1, "winograd rows")
    rows = buffer[_LINE:-1].reshape(a, c, -1, across * m)
    begin = 0
    for part in parts:
        end = begin + part.rows
        _transform_rows(x[part.image, channels], part, scheme, rows[:, :, begin:end])
        begin = end
    step = buffer.itemsize
    shape, strides = (a, a, count), (step, step * pixels, step * m)
    columns = scratch(a * a * count, "winograd columns").reshape(shape)
    np.copyto(columns, np.ndarray(shape, np.float32, buffer, (_LINE - 1) * step, strides))
    # Everything left of the first tile and right of the last tile is zero.
    edges = columns.reshape(a, -1, across)
    edges[0, :, 0] = 0
    edges[-1, :, -1] = 0
    first = channels.start * patches.shape[3]
    target = patches.reshape(a, a, -1)[:, :, first : first + count]
    multiply(scheme.input, columns.transpose(1, 0, 2), target)


def _transform_rows(x: F32, part: Strip, scheme: Scheme, rows: F32) -> None:
    """Transform down the tiles: channels (c, h, w) to (a, c, rows of tiles, m*across)."""
    m, (_, h, w) = scheme.m, x.shape
    a, c, down, wide = rows.shape
    top, high = part.first * m - 1, (down - 1) * m + a
    padded = workers().scratch(c * high * wide, "winograd padded").reshape(c, high, wide)
    first, last = max(0, -top), min(high, h - top)
    padded[:, :first] = 0
    padded[:, last:] = 0
    padded[:, :, w:] = 0
    np.copyto(padded[:, first:last, :w], x[:, top + first : top + last])
    channel, row, pixel = padded.strides
    shape, strides = (c, down, a, wide), (channel, m * row, row, pixel)
    tile_rows = np.ndarray(shape, np.float32, padded, 0, strides)
    np.matmul(scheme.input, tile_rows, out=rows.transpose(1, 2, 0, 3))


@twin(tiles.transform_back, when=tiles.pays_back)
def transform_back(
    sums: F32, parts: list[Strip], filters: slice, scheme: Scheme, epilogue: Epilogue, out: F32
) -> None:
    """Transform sums over channels back, add biases, activate, and write strips.

    Parameters
    ----------
    sums : float32 array (a, a, f', tiles of all parts)
        Overwritten.  There may be more filters than are written.
    parts : list of Strip
        Rows of tiles.
    filters : slice
        Which filters they are.
    scheme : Scheme
    epilogue : Epilogue
    out : float32 array (n, f, h, w)
    """
    m, a = scheme.m, scheme.a
    f, n = sums.shape[2:]
    size = f * n
    scratch = workers().scratch
    if epilogue.biases is not None:
        biases = epilogue.biases[filters, None]
        # The point 1 has weight 1 in every output, so its sum carries the bias to all of them.
        sums[1, 1, : len(biases)] += biases
    half = scratch(m * a * size, "winograd half").reshape(m, a, size)
    multiply(scheme.output, sums.reshape(a, a * size), half.reshape(m, a * size))
    y = scratch(m * size * m, "winograd outputs").reshape(m, size, m)
    np.matmul(half.transpose(0, 2, 1), scheme.output.T, out=y)
    if epilogue.activation is not None:
        activate_tile(y, epilogue.activation)
    across = -(-out.shape[3] // m)
    _scatter_rows(y.reshape(m, f, -1, across * m), parts, filters, out)


def _scatter_rows(y: F32, parts: list[Strip], filters: slice, out: F32) -> None:
    """Write ``y[r]``, row r of all tiles, to its place; rows outside the image are dropped."""
    m = len(y)
    begin = 0
    for part in parts:
        end = begin + part.rows
        target = out[part.image, filters, part.first * m : (part.first + part.rows) * m]
        f, rows, w = target.shape
        tiles = y[:, :f, begin:end, :w].transpose(1, 2, 0, 3)
        whole = rows // m
        upper = target[:, : whole * m].reshape(f, whole, m, w)
        np.copyto(upper, tiles[:, :whole])
        if whole * m < rows:
            np.copyto(target[:, whole * m :], tiles[:, whole, : rows - whole * m])
        begin = end


def _sum_channels(filters: F32, patches: F32, sums: F32) -> None:
    """Multiply (a, a, blocks, c, block) by (a, a, c, tiles) to (a, a, blocks*block, tiles).

    The products are so small that OpenBLAS multiplies without packing.  Products with the same
    patches follow each other, so the patches are still in the first-level cache.
    """
    blocks, c, block = filters.shape[2:]
    tiles = patches.shape[3]
    widest = max(measured.WINOGRAD_COLUMNS, measured.WINOGRAD_PATCH // c)
    widest = min(widest, fitting(measured.UNPACKED, c * block))
    parts, _, rest = equal_parts(tiles, widest)
    blockwise = sums.reshape(*sums.shape[:2], blocks, block, tiles)
    weights = filters.swapaxes(3, 4)[:, :, :, None]
    for some, count in ((slice(0, tiles - rest), parts), (slice(tiles - rest, tiles), 1)):
        if some.start < some.stop:
            seen = cut(patches[..., some], count)[:, :, None]
            np.matmul(weights, seen, out=cut(blockwise[..., some], count))
