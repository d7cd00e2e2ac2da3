"""Depthwise convolutions: every filter reads one channel.

A channel is stored as one run of floats with zeros between its rows, so that moving by a tap means
moving along the run, even at the ends of rows.  Copies of the run, each moved by one tap of a
kernel row, are stacked; one product with the weights gives a run for each kernel row, and these
runs, moved by whole rows, are added up.  This way, nearly all work is done on long contiguous runs.

With a stride, the rows and columns of each residue modulo the stride form a separate plane, in
which the windows are neighbours again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue, activate_tile
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.work import measured
from darknet_bn.work.cuts import Strip, sharers, strips
from darknet_bn.work.threads import workers

_LINE = measured.LINE // 4  # floats: each run begins on a cache line


@dataclass(frozen=True)
class _Axis:
    """How windows and taps are placed along one axis.

    Attributes
    ----------
    stride, dilation, taps, windows, pixels : int
    begin : int
        Position of pixel 0 after the padding.
    """

    stride: int
    dilation: int
    taps: int
    windows: int
    pixels: int
    begin: int

    @property
    def reach(self) -> int:
        """The largest distance of a tap from the start of its window, in its residue's plane."""
        return (self.taps - 1) * self.dilation // self.stride

    def groups(self) -> list[tuple[int, range]]:
        """List the residues that taps read, and which taps read them; these are evenly spaced."""
        period = self.stride // math.gcd(self.stride, self.dilation)
        return [
            (first * self.dilation % self.stride, range(first, self.taps, period))
            for first in range(min(self.taps, period))
        ]

    def place(self, tap: int) -> int:
        """Return how far a tap is from the start of its window, in the plane of its residue."""
        return tap * self.dilation // self.stride

    def span(self, residue: int, room: int) -> tuple[int, int]:
        """Return where the pixels of a residue begin and end in its plane, which has some room."""
        begin = max(0, -(-(self.begin - residue) // self.stride))
        end = max(0, -(-(self.begin + self.pixels - residue) // self.stride))
        return min(begin, room), min(end, room)

    def pitch(self) -> int:
        """Return the floats from row to row; the zeros between two rows belong to both."""
        spans = [self.span(residue, self.begin + self.pixels) for residue in range(self.stride)]
        zeros = min(begin for begin, _ in spans)
        longest = max(end for _, end in spans)
        return max(self.windows, longest, self.windows + self.reach - zeros)


class Depthwise:
    """A convolution with as many groups as channels.

    Parameters
    ----------
    weights : float32 array (f, 1, k, k)
        f is a multiple of c.
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
        k, d = geometry.size, geometry.dilation
        oh, ow = geometry.out_hw(h, w)
        begin = geometry.pad * d
        self._y = _Axis(geometry.stride_y, d, k, oh, h, begin)
        self._x = _Axis(geometry.stride_x, d, k, ow, w, begin)
        self._pitch = self._x.pitch()
        self._rows = oh + self._y.reach
        self._run = -(-(self._rows * self._pitch + self._x.reach) // _LINE) * _LINE
        self._activation = epilogue.activation
        # (filters of a channel, c, kernel rows, kernel columns and bias)
        self._weights = np.zeros((len(weights) // c, c, k, k + 1), np.float32)
        self._weights[..., :k] = weights.reshape(c, -1, k, k).swapaxes(0, 1)
        if epilogue.biases is not None:
            self._weights[:, :, 0, k] = epilogue.biases.reshape(c, -1).T

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, oh, ow)
        """

        def task(parts: list[Strip]) -> None:
            for part in parts:
                self._convolve(x, out, part)

        n, c = x.shape[:2]
        threads = sharers(0, measured.DEPTHWISE_FLOATS * out.size)
        workers().run(task, strips(n, c, c, threads))

    def _convolve(self, x: F32, out: F32, part: Strip) -> None:
        """Convolve some channels of one image; ``part.rows`` counts channels."""
        c = part.rows
        channels = slice(part.first, part.first + c)
        weights = self._weights[:, channels]
        multiplier, _, k, columns = weights.shape
        planes = self._planes(x[part.image, channels])
        moved = workers().scratch(c * columns * self._run, "depthwise columns")
        moved = moved.reshape(c, columns, self._run)
        moved[:, -1] = 1
        runs = workers().scratch(k * multiplier * c * self._run, "depthwise runs")
        runs = runs.reshape(k, multiplier, c, self._run)
        for residue, taps in self._y.groups():
            self._move(planes, residue, moved)
            some = slice(taps.start, None, taps.step)
            np.matmul(weights[:, :, some], moved, out=runs[some].transpose(1, 2, 0, 3))
        sums = self._add(runs.reshape(k, -1))
        if self._activation is not None:
            activate_tile(sums, self._activation)
        windows = runs[0, :, :, : self._rows * self._pitch]
        windows = windows.reshape(multiplier, c, self._rows, self._pitch)
        oh, ow = out.shape[2:]
        target = out[part.image].reshape(-1, multiplier, oh, ow)[channels]
        np.copyto(target, windows[:, :, :oh, :ow].swapaxes(0, 1))

    def _planes(self, x: F32) -> F32:
        """Lay out channels (c, h, w) with zeros around: (residue, residue, c*run), plus room."""
        c = len(x)
        down, across = self._y, self._x
        size = down.stride * across.stride * c * self._run
        buffer = workers().scratch(size + _LINE + across.reach, "depthwise planes")
        buffer.fill(0)
        planes = buffer[:size].reshape(down.stride, across.stride, c, self._run)
        rows = planes[..., : self._rows * self._pitch]
        rows = rows.reshape(down.stride, across.stride, c, self._rows, self._pitch)
        for ry in range(down.stride):
            y0, y1 = down.span(ry, self._rows)
            for rx in range(across.stride):
                x0, x1 = across.span(rx, self._pitch)
                if y0 < y1 and x0 < x1:
                    top = y0 * down.stride + ry - down.begin
                    left = x0 * across.stride + rx - across.begin
                    seen = x[:, top :: down.stride, left :: across.stride]
                    np.copyto(rows[ry, rx, :, y0:y1, x0:x1], seen[:, : y1 - y0, : x1 - x0])
        return buffer

    def _move(self, buffer: F32, residue: int, moved: F32) -> None:
        """Copy the planes of one row residue, moved by each tap of a kernel row."""
        c = len(moved)
        step = buffer.itemsize
        for other, taps in self._x.groups():
            target = moved[:, taps.start : -1 : taps.step]
            plane = (residue * self._x.stride + other) * c * self._run
            offset = plane + self._x.place(taps.start)
            apart = self._x.place(taps.start + taps.step) - self._x.place(taps.start)
            strides = (self._run * step, apart * step, step)
            source = np.ndarray(target.shape, np.float32, buffer, offset * step, strides)
            np.copyto(target, source)

    def _add(self, runs: F32) -> F32:
        """Add the runs of all kernel rows (k, floats), moved by rows, to the first run."""
        length = runs.shape[1] - self._y.reach * self._pitch
        sums = runs[0, :length]
        for tap in range(1, len(runs)):
            begin = self._y.place(tap) * self._pitch
            np.add(sums, runs[tap, begin : begin + length], out=sums)
        return sums
