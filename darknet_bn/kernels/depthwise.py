"""Depthwise convolutions: every filter sees one channel.

A channel is laid out with zeros around it, so that what a tap sees of all windows is one run of
floats, ends of rows included; nine runs are copied below each other, and one product with the nine
weights sums them.  With a stride, each residue of the pixels modulo the stride is a plane of its
own, in which the windows are neighbours again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue, activate_tile
from darknet_bn.kernels.im2col import ConvGeometry
from darknet_bn.kernels.tiles import Strip, sharers, strips
from darknet_bn.workers import workers


@dataclass(frozen=True)
class _Axis:
    """How windows and taps lie along one axis.

    Attributes
    ----------
    stride, dilation, taps, windows, pixels : int
    begin : int
        Position of pixel 0 behind the padding.
    """

    stride: int
    dilation: int
    taps: int
    windows: int
    pixels: int
    begin: int

    @property
    def reach(self) -> int:
        """How far behind its window a tap may lie, within the plane of its residue."""
        return (self.taps - 1) * self.dilation // self.stride

    @property
    def period(self) -> int:
        """After how many taps the residue comes again."""
        return self.stride // math.gcd(self.stride, self.dilation)

    def first(self, residue: int) -> int:
        """Return where pixels begin in the plane of a residue."""
        return max(0, -(-(self.begin - residue) // self.stride))

    def end(self, residue: int) -> int:
        """Return where pixels end in the plane of a residue."""
        return max(0, -(-(self.begin + self.pixels - residue) // self.stride))

    @property
    def pitch(self) -> int:
        """Floats from row to row: the zeros behind a row are those in front of the next."""
        residues = range(self.stride)
        zeros = min(self.first(residue) for residue in residues)
        longest = max(self.end(residue) for residue in residues)
        return max(self.windows, longest, self.windows + self.reach - zeros)


class Depthwise:
    """A convolution with as many groups as channels.

    Parameters
    ----------
    weights : float32 array (f, 1, k, k)
        f a multiple of c.
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
        c, h, w = in_shape
        k = geometry.size
        oh, ow = geometry.out_hw(h, w)
        begin = geometry.pad * geometry.dilation
        self._y = _Axis(geometry.stride_y, geometry.dilation, k, oh, h, begin)
        self._x = _Axis(geometry.stride_x, geometry.dilation, k, ow, w, begin)
        self._pitch = self._x.pitch
        line = 16  # floats in a cache line: each run begins at one
        self._run = -(-oh * self._pitch // line) * line
        reach = self._y.reach * self._pitch + self._x.reach
        self._plane = -(-(reach + self._run) // line) * line
        self._out_shape = (oh, ow)
        biases = np.zeros(len(weights), np.float32) if epilogue.biases is None else epilogue.biases
        taps = weights.reshape(c, -1, k * k)
        self._weights = np.concatenate((taps, biases.reshape(c, -1, 1)), axis=2)
        self._activation = epilogue.activation

    @property
    def _planes(self) -> int:
        return self._y.stride * self._x.stride

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, oh, ow)
        """

        def task(parts: list[Strip]) -> None:
            for part in parts:
                self._channels(x, out, part)

        n, c = x.shape[:2]
        threads = sharers(0, 4 * out.size + x.size)
        workers().run(task, strips(n, c, c, threads))

    def _channels(self, x: F32, out: F32, part: Strip) -> None:
        """Convolve some channels of one image; ``part.rows`` counts channels."""
        c = part.rows
        channels = slice(part.first, part.first + c)
        columns = self._columns(self._padded(x[part.image, channels]))
        weights = self._weights[channels]
        filters = weights.shape[1]
        sums = workers().scratch(c * filters * self._run, "sums").reshape(c, filters, self._run)
        np.matmul(weights, columns, out=sums)
        if self._activation is not None:
            activate_tile(sums, self._activation)
        oh, ow = self._out_shape
        rows = sums.reshape(c * filters, -1)[:, : oh * self._pitch]
        first = part.first * filters
        np.copyto(
            out[part.image, first : first + c * filters],
            rows.reshape(c * filters, oh, self._pitch)[:, :, :ow],
        )

    def _padded(self, x: F32) -> F32:
        """Lay out channels (c, h, w) with zeros around them, (residues, residues, c, plane)."""
        c = len(x)
        size = self._planes * c * self._plane
        buffer = workers().scratch(size, "planes")
        buffer.fill(0)
        planes = buffer.reshape(self._y.stride, self._x.stride, c, self._plane)
        down, across = self._y, self._x
        rows = self._plane // self._pitch
        for ry in range(down.stride):
            for rx in range(across.stride):
                plane = planes[ry, rx, :, : rows * self._pitch].reshape(c, rows, self._pitch)
                y0, y1 = down.first(ry), min(down.end(ry), rows)
                x0, x1 = across.first(rx), min(across.end(rx), self._pitch)
                if y0 < y1 and x0 < x1:
                    top = y0 * down.stride + ry - down.begin
                    left = x0 * across.stride + rx - across.begin
                    seen = x[:, top :: down.stride, left :: across.stride]
                    np.copyto(plane[:, y0:y1, x0:x1], seen[:, : y1 - y0, : x1 - x0])
        return planes

    def _columns(self, planes: F32) -> F32:
        """Copy what each tap sees below each other, (c, k*k + 1, run); the last is for the bias."""
        c = planes.shape[2]
        down, across = self._y, self._x
        k = down.taps
        size = c * (k * k + 1) * self._run
        columns = workers().scratch(size, "columns").reshape(c, k * k + 1, self._run)
        columns[:, -1] = 1
        taps = columns[:, :-1].reshape(c, k, k, self._run)
        step = planes.itemsize
        strides = (
            self._plane * step,
            down.period * down.dilation // down.stride * self._pitch * step,
            across.period * across.dilation // across.stride * step,
            step,
        )
        for ky in range(min(k, down.period)):
            for kx in range(min(k, across.period)):
                target = taps[:, ky :: down.period, kx :: across.period]
                y, ry = divmod(ky * down.dilation, down.stride)
                x, rx = divmod(kx * across.dilation, across.stride)
                plane = planes[ry, rx]
                offset = (y * self._pitch + x) * step
                np.copyto(
                    target,
                    np.ndarray(target.shape, np.float32, plane, offset, strides),
                )
        return columns
