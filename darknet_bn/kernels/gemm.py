"""Convolutions as matrix products of weights and windows, tile by tile."""

from __future__ import annotations

import math

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue
from darknet_bn.kernels.im2col import ConvGeometry, Strip, im2col_cpu, pieces, strips, windows
from darknet_bn.workers import workers

_TILE = 1 << 19  # floats of windows and sums in a tile: 1 MiB, which the cache of a core holds
UNPACKED = 1_000_000  # multiplications up to which OpenBLAS multiplies without packing first
_NARROWEST = 192  # columns that are worth a product of their own
_PIXELS = 1 << 18  # floats of sums in a tile of a 1x1 convolution
_SMALL = 12_000_000  # multiplications below which a second thread comes too late
_FEW_PIXELS = 1 << 10  # pixels of an image up to which threads share the filters
_MANY_FILTERS = 64
_BIAS_AS_WEIGHT = 1 << 15  # weights up to which the bias is one more of them


class Pointwise:
    """A 1x1 convolution of stride 1: the image itself is the matrix of windows.

    Parameters
    ----------
    weights : float32 array (f, c//g, 1, 1)
    epilogue : Epilogue
    geometry : ConvGeometry
    in_shape : (c, h, w)
    """

    def __init__(
        self,
        weights: F32,
        epilogue: Epilogue,
        geometry: ConvGeometry,
        in_shape: tuple[int, int, int],
    ) -> None:
        f, per_group = weights.shape[:2]
        self._pixels = in_shape[1] * in_shape[2]
        self._product = Product(weights, epilogue, geometry.groups)
        work = f * per_group * self._pixels
        self._at_once = self._pixels if work < _SMALL else max(1, _PIXELS // f)
        self._by_filters = (
            work >= _SMALL and self._pixels <= _FEW_PIXELS and self._product.can_share_filters
        )

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, h, w)
        """
        n, c = x.shape[:2]
        columns = x.reshape(n, c, self._pixels)
        y = out.reshape(n, -1, self._pixels)
        if self._by_filters:
            for i in range(n):
                self._product.share(columns[i], y[i])
            return

        def task(parts: list[Strip]) -> None:
            for part in parts:
                pixels = slice(part.first, part.first + part.rows)
                self._product.compute(columns[part.image, :, pixels], y[part.image, :, pixels])

        workers().run(task, strips(n, self._pixels, self._at_once, workers().count))


class Im2col:
    """Any convolution: what each tap sees of a tile is copied, then multiplied.

    Parameters
    ----------
    weights : float32 array (f, c//g, k, k)
    epilogue : Epilogue
    geometry : ConvGeometry
    in_shape : (c, h, w)
    """

    def __init__(
        self,
        weights: F32,
        epilogue: Epilogue,
        geometry: ConvGeometry,
        in_shape: tuple[int, int, int],
    ) -> None:
        f = len(weights)
        self._geometry = geometry
        self._rows, self._width = geometry.out_hw(*in_shape[1:])
        self._taps = in_shape[0] * geometry.size**2
        self._product = Product(weights, epilogue, geometry.groups)
        work = weights.size * self._rows * self._width
        pixels = _TILE // (f + self._taps)
        self._at_once = self._rows if work < _SMALL else max(1, pixels // self._width)
        self._by_filters = (
            work >= _SMALL
            and self._rows * self._width <= _FEW_PIXELS
            and self._product.can_share_filters
        )

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, oh, ow)
        """
        n = len(x)
        y = out.reshape(n, out.shape[1], self._rows * self._width)
        if self._by_filters:
            for i in range(n):
                columns = self._gathered(x[i])
                self._product.share(columns.reshape(self._taps, -1), y[i])
            return

        def task(parts: list[Strip]) -> None:
            for part in parts:
                columns = self._columns(part.rows)
                np.copyto(columns, windows(x[part.image], self._geometry, part.first, part.rows))
                first = part.first * self._width
                pixels = slice(first, first + part.rows * self._width)
                self._product.compute(columns.reshape(self._taps, -1), y[part.image, :, pixels])

        workers().run(task, strips(n, self._rows, self._at_once, workers().count))

    def _gathered(self, x: F32) -> F32:
        """Gather all windows of one image (c, h, w) with all threads, some channels each."""
        columns = self._columns(self._rows)

        def task(channels: slice) -> None:
            im2col_cpu(x[channels], self._geometry, out=columns[channels])

        workers().run(task, pieces(len(x), -(-len(x) // (2 * workers().count))))
        return columns

    def _columns(self, rows: int) -> F32:
        """Borrow the buffer (c, k, k, rows, ow) of the calling thread."""
        k = self._geometry.size
        buffer = workers().scratch(self._taps * rows * self._width, "columns")
        return buffer.reshape(-1, k, k, rows, self._width)


class Product:
    """Weights times windows, then bias and activation.

    Parameters
    ----------
    weights : float32 array (f, c//g, k, k)
    epilogue : Epilogue
    groups : int
    """

    def __init__(self, weights: F32, epilogue: Epilogue, groups: int) -> None:
        self._weights = weights.reshape(groups, len(weights) // groups, -1)
        self._epilogue = epilogue
        self._all = slice(0, len(weights))
        self.can_share_filters = groups == 1 and len(weights) >= _MANY_FILTERS

    def compute(self, columns: F32, target: F32) -> None:
        """Compute all filters of a tile in this thread.

        Parameters
        ----------
        columns : float32 array (taps, pixels)
        target : float32 array (f, pixels)
            Each row contiguous.
        """
        self._compute(self._weights, columns, target, self._all)

    def share(self, columns: F32, target: F32) -> None:
        """Compute a tile with all threads, some filters each.

        Parameters
        ----------
        columns : float32 array (taps, pixels)
        target : float32 array (f, pixels)
        """
        f = len(target)
        parts = 2 * workers().count
        workers().run(
            lambda filters: self._compute(
                self._weights[:, filters], columns, target[filters], filters
            ),
            pieces(f, -(-f // parts)),
        )

    def _compute(self, weights: F32, columns: F32, target: F32, filters: slice) -> None:
        groups = len(weights)
        y = target
        if not target.flags.c_contiguous:  # what follows is faster on contiguous arrays
            y = workers().scratch(target.size, "sums").reshape(target.shape)
        if groups == 1:
            multiply(weights[0], columns, y)
        else:
            pixels = columns.shape[1]
            np.matmul(
                weights, columns.reshape(groups, -1, pixels), out=y.reshape(groups, -1, pixels)
            )
        self._epilogue.apply(y, filters)
        if y is not target:
            np.copyto(target, y)


def multiply(weights: F32, columns: F32, out: F32) -> None:
    """Multiply matrices, in products so small that OpenBLAS need not pack where that pays.

    Parameters
    ----------
    weights : float32 array (f, taps)
    columns : float32 array (..., taps, pixels)
    out : float32 array (..., f, pixels)
    """
    f, taps = weights.shape
    pixels = columns.shape[-1]
    widest = UNPACKED // (f * taps)
    if widest < _NARROWEST or pixels <= widest:
        np.matmul(weights, columns, out=out)
        return
    parts, _, rest = equal_parts(pixels, widest)
    even = slice(0, pixels - rest)
    np.matmul(weights, cut(columns[..., even], parts), out=cut(out[..., even], parts))
    if rest:
        np.matmul(weights, columns[..., -rest:], out=out[..., -rest:])


def cut(matrices: F32, parts: int) -> F32:
    """View matrices (..., rows, columns) as (..., parts, rows, columns/parts)."""
    *lead, rows, columns = matrices.shape
    return matrices.reshape(*lead, rows, parts, columns // parts).swapaxes(-3, -2)


def equal_parts(size: int, most: int) -> tuple[int, int, int]:
    """Split ``size`` into ``parts * width + rest`` with ``width <= most``, without rest if near."""
    fewest = -(-size // most)
    for parts in range(fewest, fewest + fewest // 4 + 2):
        if size % parts == 0:
            return parts, size // parts, 0
    width = max(1, most // 16 * 16)
    return size // width, width, size % width


def multiplications(weights: F32, out_hw: tuple[int, int]) -> int:
    """Count the multiplications of a convolution of one image."""
    return weights.size * math.prod(out_hw)
