"""The backward pass of a convolution: to its input, and to its weights.

All arrays may also be float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.choice import twin
from darknet_bn.kernels.convolution import compiled_gradient, compiled_small
from darknet_bn.kernels.convolution.convolution import Convolution
from darknet_bn.kernels.convolution.im2col import ConvGeometry, windows
from darknet_bn.kernels.floating import floating
from darknet_bn.work import measured
from darknet_bn.work.cuts import even, fitting, pieces, strips, worth_sharing
from darknet_bn.work.threads import workers


@floating
@twin(compiled_small.weight_updates, when=compiled_small.pays)
@twin(compiled_gradient.weight_updates, when=compiled_gradient.pays)
def weight_updates(x: F32, delta: F32, geometry: ConvGeometry) -> F32:
    """Sum the updates of the weights of a convolution over all windows.

    Parameters
    ----------
    x : float32 array (n, c, h, w)
        The input.
    delta : float32 array (n, f, oh, ow)
        Delta of the sums that the filters gave, contiguous.
    geometry : ConvGeometry

    Returns
    -------
    updates : float32 array (f, c//g, k, k)

    Notes
    -----
    C: the first half of ``backward_convolutional_layer`` in ``src/convolutional_layer.c``.
    """
    n, f, oh, ow = delta.shape
    g, k, c = geometry.groups, geometry.size, x.shape[1]
    taps = c // g * k * k
    deltas = delta.reshape(n, f, oh * ow)
    large = worth_sharing(n * oh * ow * f * taps, n * oh * ow * (g * taps + f))
    rows = fitting(measured.UPDATE_WINDOWS, (f + g * taps) * ow)
    tiles = strips(n, oh, rows, measured.UPDATE_PARTS if large else 1)
    count = max(1, min(len(tiles), measured.UPDATE_PARTS, measured.UPDATE_SUMS // (f * taps)))
    parts = even(len(tiles), count)
    sums = np.zeros((count, g, taps, f // g), x.dtype)
    pointwise = k == 1 and geometry.pad == 0 and (geometry.stride_x, geometry.stride_y) == (1, 1)

    def task(part: int) -> None:
        for tile in tiles[parts[part]]:
            images = slice(tile[0].image, tile[-1].image + 1)
            first, rows = tile[0].first, tile[0].rows
            pixels = slice(first * ow, (first + rows) * ow)
            if pointwise:
                seen = x.reshape(n, c, oh * ow)[images, :, pixels].swapaxes(0, 1)
            else:
                seen = windows(x[images], geometry, first, rows)
            columns = _rows(seen, g * taps, "columns").reshape(g, taps, -1)
            given = _rows(deltas[images, :, pixels].swapaxes(0, 1), f, "deltas")
            products = workers().scratch(sums[part].size, "products", x.dtype)
            products = products.reshape(sums[part].shape)
            # With more taps, this order is faster in OpenBLAS than the other one.
            np.matmul(columns, given.reshape(g, f // g, -1).swapaxes(1, 2), out=products)
            np.add(sums[part], products, out=sums[part])

    workers().run(task, range(count))
    total = np.add.reduce(sums, axis=0).swapaxes(1, 2)
    return np.ascontiguousarray(total).reshape(f, c // g, k, k)


def _rows(x: F32, rows: int, slot: str) -> F32:
    """Return an array as (rows, columns): in this thread's buffer if it is not contiguous."""
    if x.flags.c_contiguous:
        return x.reshape(rows, -1)
    buffer = workers().scratch(x.size, slot, x.dtype).reshape(x.shape)
    np.copyto(buffer, x)
    return buffer.reshape(rows, -1)


@floating
@twin(compiled_gradient.input_delta, when=compiled_gradient.carries)
def input_delta(delta: F32, weights: F32, geometry: ConvGeometry, out: F32) -> None:
    """Carry the delta of the sums back to the input of a convolution.

    Parameters
    ----------
    delta : float32 array (n, f, oh, ow)
    weights : float32 array (f, c//g, k, k)
    geometry : ConvGeometry
    out : float32 array (n, c, h, w)
        Receives the delta of the input.

    Notes
    -----
    C: the second half of ``backward_convolutional_layer`` in ``src/convolutional_layer.c``.  If
    windows are one pixel apart, this is a convolution as well, with the filters rotated.
    """
    in_shape = (out.shape[1], out.shape[2], out.shape[3])
    turned = _turned(geometry, in_shape, delta.shape)
    if turned is not None:
        filters = _turned_around(weights, geometry.groups)
        Convolution(filters, None, turned, None, delta.shape[1:])(delta, out)
        return
    n, f, oh, ow = delta.shape
    c, k, g = in_shape[0], geometry.size, geometry.groups
    taps = c * k * k
    matrix = np.ascontiguousarray(weights.reshape(g, f // g, -1).swapaxes(1, 2))
    deltas = delta.reshape(n, f, oh * ow)
    large = worth_sharing(n * oh * ow * weights.size, 2 * n * oh * ow * taps + out.size)
    most = fitting(measured.UPDATE_WINDOWS, taps * oh * ow)
    images = min(most, -(-n // workers().count) if large else n)

    def task(some: slice) -> None:
        m = len(range(*some.indices(n)))
        given = _rows(deltas[some].swapaxes(0, 1), f, "deltas")
        columns = workers().scratch(taps * m * oh * ow, "columns", delta.dtype)
        products = columns.reshape(g, -1, m * oh * ow)
        np.matmul(matrix, given.reshape(g, f // g, -1), out=products)
        col2im_cpu(columns.reshape(c, k, k, m, oh, ow), geometry, out[some])

    workers().run(task, pieces(n, images))


@floating
def col2im_cpu(columns: F32, geometry: ConvGeometry, out: F32) -> None:
    """Add up, for each pixel, the values of all windows at its position, in this thread.

    Parameters
    ----------
    columns : float32 array (c, k, k, m, oh, ow)
        The values that each tap adds, for the windows of m images.
    geometry : ConvGeometry
        ``groups`` is ignored.
    out : float32 array (m, c, h, w)
        The images; overwritten.

    Notes
    -----
    C: ``col2im_cpu`` in ``src/col2im.c``, and AlexeyAB's ``col2im_cpu_ext``.  With a stride, the
    sums of each residue are kept in a separate plane at first, so that neighbours in the columns
    remain neighbours.
    """
    c, k, _, m, oh, ow = columns.shape
    h, w = out.shape[2:]
    down, across = (
        _Axis(stride, geometry.pad * geometry.dilation, geometry.dilation, k, windows_, size)
        for stride, windows_, size in (
            (geometry.stride_y, oh, h),
            (geometry.stride_x, ow, w),
        )
    )
    shape = (down.planes, across.planes, c, m, down.room, across.room)
    planes = workers().scratch(math.prod(shape), "planes", columns.dtype).reshape(shape)
    planes.fill(0)
    for row in range(k):
        y, first = down.place(row)
        for column in range(k):
            x, start = across.place(column)
            sums = planes[y, x, :, :, first : first + oh, start : start + ow]
            np.add(sums, columns[:, row, column], out=sums)
    images = out.swapaxes(0, 1)
    if down.planes < down.stride or across.planes < across.stride:
        out.fill(0)  # no tap reaches the others
    for y in range(down.planes):
        for x in range(across.planes):
            (to_y, from_y), (to_x, from_x) = down.inside(y), across.inside(x)
            np.copyto(images[:, :, to_y, to_x], planes[y, x, :, :, from_y, from_x])


@dataclass(frozen=True)
class _Axis:
    """How pixels are placed along one axis, in planes of pixels that are a stride apart.

    Attributes
    ----------
    stride, edge, dilation, taps, windows, size : int
        The edge is the padding in pixels.
    """

    stride: int
    edge: int
    dilation: int
    taps: int
    windows: int
    size: int

    @property
    def planes(self) -> int:
        """Number of planes: up to the last plane that a tap adds to."""
        return 1 + max(self.place(tap)[0] for tap in range(self.taps))

    @property
    def room(self) -> int:
        """Number of pixels in a plane: all that taps reach, and all pixels of the image."""
        reached = self.windows + (self.taps - 1) * self.dilation // self.stride
        return max(reached, -(-(self.edge + self.size) // self.stride))

    def place(self, tap: int) -> tuple[int, int]:
        """Return the plane that a tap adds to, and where its first window is in that plane."""
        residue = tap * self.dilation % self.stride
        return residue, tap * self.dilation // self.stride

    def inside(self, plane: int) -> tuple[slice, slice]:
        """Return which pixels of the image a plane has, and where they are in the plane."""
        first = (plane - self.edge) % self.stride
        start = (first + self.edge) // self.stride
        count = len(range(first, self.size, self.stride))
        return slice(first, self.size, self.stride), slice(start, start + count)


def _turned(
    geometry: ConvGeometry, in_shape: tuple[int, int, int], out_shape: tuple[int, ...]
) -> ConvGeometry | None:
    """Return the geometry of the convolution that leads back; None if it is not a convolution."""
    if (geometry.stride_x, geometry.stride_y, geometry.dilation) != (1, 1, 1):
        return None
    if geometry.pad >= geometry.size:
        return None
    pad = geometry.size - 1 - geometry.pad
    turned = ConvGeometry(size=geometry.size, pad=pad, groups=geometry.groups)
    return turned if turned.out_hw(*out_shape[2:]) == in_shape[1:] else None


def _turned_around(weights: F32, groups: int) -> F32:
    """Return filters (f, c//g, k, k) as (c, f//g, k, k), each rotated by 180 degrees."""
    f, c, k = weights.shape[:3]
    parts = weights.reshape(groups, f // groups, c, k, k)[..., ::-1, ::-1]
    return np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(groups * c, f // groups, k, k)
