"""Convolutions as matrix products of weights and windows, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue
from darknet_bn.kernels.choice import twin
from darknet_bn.kernels.convolution.im2col import ConvGeometry, im2col_cpu, windows
from darknet_bn.work import measured
from darknet_bn.work.cuts import Strip, fitting, pieces, sharers, strips, two_each
from darknet_bn.work.threads import workers


class Pointwise:
    """A 1x1 convolution of stride 1: the image itself is the matrix of windows.

    Parameters
    ----------
    weights : float32 array (f, c//g, 1, 1)
    epilogue : Epilogue
    geometry : ConvGeometry
    in_shape : (c, h, w)
    exact : bool
        Whether the result must be the same with and without compiled kernels.

    Attributes
    ----------
    finishes_compiled : bool
        Whether a compiled epilogue may finish the sums.
    """

    def __init__(
        self,
        weights: F32,
        epilogue: Epilogue,
        geometry: ConvGeometry,
        in_shape: tuple[int, int, int],
        *,
        exact: bool = False,
    ) -> None:
        f, c = len(weights), in_shape[0]
        bends = epilogue.activation is None or epilogue.activation.bend is not None
        self.finishes_compiled = not exact and bends and weights.dtype == np.float32
        self._pixels = in_shape[1] * in_shape[2]
        # Copying the image with a row of ones costs less than adding biases to more filters.
        self._product = Product(weights, epilogue, geometry.groups, bias_as_weight=c <= f)
        self._plain = Product(weights, epilogue, geometry.groups, bias_as_weight=False)
        self._at_once = fitting(measured.POINTWISE_SUMS, f)

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, h, w)
        """
        self.bind(x, out)()

    def bind(self, x: F32, out: F32) -> Callable[[], None]:
        """Prepare a call with arrays that are used again; see `Convolution.bind`."""
        n, c = x.shape[:2]
        return _bind_pointwise(
            self, x.reshape(n, c, self._pixels), out.reshape(n, -1, self._pixels)
        )

    def in_strips(self, columns: F32, y: F32) -> Callable[[], None]:
        """Bind (n, c, pixels) and (n, f, pixels), to be convolved some pixels at a time."""
        n = len(columns)
        threads = sharers(n * self._product.weights * self._pixels, y.size)
        if self._product.shares_filters(n, self._pixels, threads):
            return partial(self._share_filters, self._product, columns, y)

        def task(parts: list[Strip]) -> None:
            images = slice(parts[0].image, parts[-1].image + 1)
            pixels = slice(parts[0].first, parts[0].first + parts[0].rows)
            seen = self._with_ones(columns[images, :, pixels])
            self._product.compute_images(seen, y[images, :, pixels])

        tasks = strips(n, self._pixels, self._at_once, threads)
        return lambda: workers().run(task, tasks)

    def in_whole_images(self, columns: F32, y: F32) -> Callable[[], None]:
        """Bind the same, to be convolved in whole images, which a compiled epilogue finishes."""
        n = len(columns)
        threads = sharers(n * self._plain.weights * self._pixels, y.size)
        if n < threads and not self._plain.grouped:
            return partial(self._share_filters, self._plain, columns, y)
        if n == 1:
            return self._plain.bind(columns[0], y[0])
        at_once = min(fitting(measured.POINTWISE_SUMS, y[0].size), -(-n // threads))
        parts = [(columns[images], y[images]) for images in pieces(n, at_once)]
        return lambda: workers().run(lambda part: self._plain.compute_images(*part), parts)

    def _share_filters(self, product: Product, columns: F32, y: F32) -> None:
        for image, target in zip(columns, y, strict=True):
            product.share(self._with_ones(image) if product.bias_as_weight else image, target)

    def _with_ones(self, columns: F32) -> F32:
        """Copy columns (..., c, pixels) into a buffer with a row of ones, if that row is wanted."""
        if not self._product.bias_as_weight:
            return columns
        *images, c, pixels = columns.shape
        shape = (*images, c + 1, pixels)
        buffer = workers().scratch(math.prod(shape), "columns", columns.dtype).reshape(shape)
        np.copyto(buffer[..., :c, :], columns)
        buffer[..., c, :] = 1
        return buffer


def _in_whole_images(way: Pointwise, columns: F32, y: F32) -> Callable[[], None]:
    return way.in_whole_images(columns, y)


def _finishes_compiled(way: Pointwise, columns: F32, y: F32) -> bool:
    return way.finishes_compiled


@twin(_in_whole_images, when=_finishes_compiled)
def _bind_pointwise(way: Pointwise, columns: F32, y: F32) -> Callable[[], None]:
    return way.in_strips(columns, y)


class Im2col:
    """Any convolution: what each tap reads for a tile is copied, then multiplied.

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
        self._geometry = geometry
        self._rows, self._width = geometry.out_hw(*in_shape[1:])
        self._taps = in_shape[0] * geometry.size**2
        self._product = Product(weights, epilogue, geometry.groups, bias_as_weight=True)
        row = (len(weights) + self._taps) * self._width
        self._at_once = fitting(measured.WINDOWS, row)

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, oh, ow)
        """
        n = len(x)
        pixels = self._rows * self._width
        y = out.reshape(n, -1, pixels)
        threads = sharers(n * self._product.weights * pixels, n * self._taps * pixels + y.size)
        if self._product.shares_filters(n, pixels, threads):
            for i in range(n):
                self._product.share(self._gathered(x[i]), y[i])
            return

        def task(parts: list[Strip]) -> None:
            images = slice(parts[0].image, parts[-1].image + 1)
            first, rows = parts[0].first, parts[0].rows
            columns, taps = self._columns(len(parts), rows, x.dtype)
            np.copyto(taps, windows(x[images], self._geometry, first, rows))
            seen = slice(first * self._width, (first + rows) * self._width)
            self._product.compute(columns, y[images, :, seen].swapaxes(0, 1))

        workers().run(task, strips(n, self._rows, self._at_once, threads))

    def _gathered(self, x: F32) -> F32:
        """Gather all windows of one image (c, h, w) on all threads, some channels on each."""
        columns, taps = self._columns(1, self._rows, x.dtype)

        def task(channels: slice) -> None:
            im2col_cpu(x[channels], self._geometry, out=taps[channels, :, :, 0])

        workers().run(task, two_each(len(x)))
        return columns

    def _columns(self, images: int, rows: int, dtype: npt.DTypeLike) -> tuple[F32, F32]:
        """Borrow this thread's buffer (taps, pixels), also viewed as (c, k, k, m, rows, ow)."""
        k, pixels = self._geometry.size, images * rows * self._width
        ones = int(self._product.bias_as_weight)
        size = (self._taps + ones) * pixels
        buffer = workers().scratch(size, "columns", dtype).reshape(-1, pixels)
        buffer[self._taps :] = 1
        return buffer, buffer[: self._taps].reshape(-1, k, k, images, rows, self._width)


class Product:
    """Weights times windows, then bias and activation.

    Parameters
    ----------
    weights : float32 array (f, c//g, k, k)
    epilogue : Epilogue
    groups : int
    bias_as_weight : bool
        Whether the bias may become an additional weight, for a row of ones below the windows.

    Attributes
    ----------
    weights : int
        Number of weights.
    grouped : bool
        Whether filters read some of the channels only.
    bias_as_weight : bool
        Whether the last row of the columns must be ones.
    """

    def __init__(
        self, weights: F32, epilogue: Epilogue, groups: int, *, bias_as_weight: bool
    ) -> None:
        f = len(weights)
        self.weights, self.grouped = weights.size, groups > 1
        self._can_share_filters = groups == 1 and f >= measured.FILTERS_SHARED
        self.bias_as_weight = (
            bias_as_weight
            and groups == 1
            and epilogue.biases is not None
            and weights.size <= measured.BIAS_AS_WEIGHT
        )
        self._weights = weights.reshape(groups, f // groups, -1)
        self._epilogue = epilogue
        if self.bias_as_weight and epilogue.biases is not None:
            biases = epilogue.biases.reshape(1, f, 1)
            self._weights = np.concatenate((self._weights, biases), axis=2)
            self._epilogue = replace(epilogue, biases=None)
        self._all = slice(0, f)

    def shares_filters(self, images: int, pixels: int, threads: int) -> bool:
        """Return whether threads should take some filters each, for one image after the other."""
        few = images < threads and pixels <= measured.FILTERS_PIXELS
        return few and self._can_share_filters

    def compute(self, columns: F32, target: F32) -> None:
        """Compute all filters of a tile in this thread.

        Parameters
        ----------
        columns : float32 array (taps, pixels)
        target : float32 array (f, pixels), or (f, m, pixels) of several images
            Each row contiguous.
        """
        self._compute(self._weights, columns, target, self._all)

    def bind(self, columns: F32, target: F32) -> Callable[[], None]:
        """Prepare to compute a contiguous tile that is used again; arguments as in `compute`."""
        if self.grouped or not target.flags.c_contiguous:
            return partial(self.compute, columns, target)
        operands = _operands(self._weights[0], columns, target)
        finish = self._epilogue.bind(target, self._all)

        def compute() -> None:
            for weights, seen, sums in operands:
                np.matmul(weights, seen, out=sums)
            finish()

        return compute

    def compute_images(self, columns: F32, target: F32) -> None:
        """Compute all filters of tiles of several images in this thread.

        Parameters
        ----------
        columns : float32 array (m, taps, pixels)
        target : float32 array (m, f, pixels)
        """
        if len(columns) == 1:
            self.compute(columns[0], target[0])
            return
        groups, (m, _, pixels) = len(self._weights), target.shape
        parts = columns.reshape(m, groups, -1, pixels)
        np.matmul(self._weights, parts, out=target.reshape(m, groups, -1, pixels))
        self._epilogue.apply(target.swapaxes(0, 1), self._all)

    def share(self, columns: F32, target: F32) -> None:
        """Compute a tile with all threads, some filters each.

        Parameters
        ----------
        columns : float32 array (taps, pixels)
        target : float32 array (f, pixels)
        """

        def task(filters: slice) -> None:
            self._compute(self._weights[:, filters], columns, target[filters], filters)

        f = len(target)
        workers().run(task, two_each(f))

    def _compute(self, weights: F32, columns: F32, target: F32, filters: slice) -> None:
        groups = len(weights)
        y = target
        if not target.flags.c_contiguous:  # the next steps are faster on contiguous arrays
            y = workers().scratch(target.size, "sums", target.dtype).reshape(target.shape)
        pixels = columns.shape[1]
        if groups == 1:
            multiply(weights[0], columns, y.reshape(-1, pixels))
        else:
            np.matmul(
                weights, columns.reshape(groups, -1, pixels), out=y.reshape(groups, -1, pixels)
            )
        self._epilogue.apply(y, filters)
        if y is not target:
            np.copyto(target, y)


def multiply(weights: F32, columns: F32, out: F32) -> None:
    """Multiply matrices; where it pays, in products so small that OpenBLAS does not pack.

    Parameters
    ----------
    weights : float32 array (f, taps)
    columns : float32 array (..., taps, pixels)
    out : float32 array (..., f, pixels)
    """
    for one, other, sums in _operands(weights, columns, out):
        np.matmul(one, other, out=sums)


def _operands(weights: F32, columns: F32, out: F32) -> list[tuple[F32, F32, F32]]:
    """Return the operands of `multiply`'s products, and where these go."""
    f, taps = weights.shape
    pixels = columns.shape[-1]
    widest = measured.UNPACKED // (f * taps)
    if widest < measured.PRODUCT_COLUMNS or pixels <= widest:
        return [(weights, columns, out)]
    parts, _, rest = equal_parts(pixels, widest)
    even = slice(0, pixels - rest)
    operands = [(weights, cut(columns[..., even], parts), cut(out[..., even], parts))]
    if rest:
        operands.append((weights, columns[..., -rest:], out[..., -rest:]))
    return operands


def cut(matrices: F32, parts: int) -> F32:
    """View matrices (..., rows, columns) as (..., parts, rows, columns/parts)."""
    *lead, rows, columns = matrices.shape
    return matrices.reshape(*lead, rows, parts, columns // parts).swapaxes(-3, -2)


def equal_parts(size: int, most: int) -> tuple[int, int, int]:
    """Split ``size`` into ``parts * width + rest``, ``width <= most``; with no rest if close."""
    fewest = -(-size // most)
    for parts in range(fewest, fewest + fewest // 4 + 2):
        if size % parts == 0:
            return parts, size // parts, 0
    width = max(1, most // 16 * 16)
    return size // width, width, size % width
