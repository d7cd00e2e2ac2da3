"""Depthwise convolutions: every filter reads one channel.

A channel is laid out as `planes` says.  Copies of the run, each moved by one tap of a kernel row,
are stacked; one product with the weights gives a run for each kernel row, and these runs, moved by
whole rows, are added up.  This way, nearly all work is done on long contiguous runs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue, activate_tile
from darknet_bn.kernels.choice import twin
from darknet_bn.kernels.convolution import compiled_depthwise
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.kernels.convolution.planes import Channels, Planes
from darknet_bn.work import measured
from darknet_bn.work.cuts import Strip, sharers, strips
from darknet_bn.work.threads import workers


class Depthwise:
    """A convolution with as many groups as channels.

    Parameters
    ----------
    weights : float32 array (f, 1, k, k)
        f is a multiple of c.
    epilogue : Epilogue
    geometry : ConvGeometry
    in_shape : (c, h, w)
    exact : bool
        Whether the result must be the same with and without compiled kernels.
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
        self._channels = Channels(weights, epilogue, geometry, in_shape, exact)

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, oh, ow)
        """
        self.bind(x, out)()

    def bind(self, x: F32, out: F32) -> Callable[[], None]:
        """Prepare a call with arrays that are used again; see `Convolution.bind`."""
        return _bind(self._channels, x, out)


@twin(compiled_depthwise.bind, when=compiled_depthwise.pays)
def _bind(channels: Channels, x: F32, out: F32) -> Callable[[], None]:
    def task(parts: list[Strip]) -> None:
        for part in parts:
            _convolve(channels, x, out, part)

    n, c = x.shape[:2]
    tasks = strips(n, c, c, sharers(0, measured.DEPTHWISE_FLOATS * out.size))
    return lambda: workers().run(task, tasks)


def _convolve(channels: Channels, x: F32, out: F32, part: Strip) -> None:
    """Convolve some channels of one image; ``part.rows`` counts channels."""
    planes, c = channels.planes, part.rows
    some = slice(part.first, part.first + c)
    weights = channels.stacked[:, some]
    multiplier, _, k, columns = weights.shape
    laid_out = _lay_out(planes, x[part.image, some])
    moved = workers().scratch(c * columns * planes.run, "depthwise columns")
    moved = moved.reshape(c, columns, planes.run)
    moved[:, -1] = 1
    runs = workers().scratch(k * multiplier * c * planes.run, "depthwise runs")
    runs = runs.reshape(k, multiplier, c, planes.run)
    for residue, taps in planes.down.groups():
        _move(planes, laid_out, residue, moved)
        rows = slice(taps.start, None, taps.step)
        np.matmul(weights[:, :, rows], moved, out=runs[rows].transpose(1, 2, 0, 3))
    sums = _add(planes, runs.reshape(k, -1))
    if channels.epilogue.activation is not None:
        activate_tile(sums, channels.epilogue.activation)
    windows = runs[0, :, :, : planes.rows * planes.pitch]
    windows = windows.reshape(multiplier, c, planes.rows, planes.pitch)
    oh, ow = out.shape[2:]
    target = out[part.image].reshape(-1, multiplier, oh, ow)[some]
    np.copyto(target, windows[:, :, :oh, :ow].swapaxes(0, 1))


def _lay_out(planes: Planes, x: F32) -> F32:
    """Lay out channels (c, h, w) with zeros around: (residue, residue, c*run), plus room."""
    c = len(x)
    down, across = planes.down, planes.across
    size = planes.count * c * planes.run
    buffer = workers().scratch(size + planes.room, "depthwise planes")
    buffer.fill(0)
    runs = buffer[:size].reshape(down.stride, across.stride, c, planes.run)
    rows = runs[..., : planes.rows * planes.pitch]
    rows = rows.reshape(down.stride, across.stride, c, planes.rows, planes.pitch)
    for ry in range(down.stride):
        y0, y1 = down.span(ry, planes.rows)
        for rx in range(across.stride):
            x0, x1 = across.span(rx, planes.pitch)
            if y0 < y1 and x0 < x1:
                top = y0 * down.stride + ry - down.begin
                left = x0 * across.stride + rx - across.begin
                seen = x[:, top :: down.stride, left :: across.stride]
                np.copyto(rows[ry, rx, :, y0:y1, x0:x1], seen[:, : y1 - y0, : x1 - x0])
    return buffer


def _move(planes: Planes, buffer: F32, residue: int, moved: F32) -> None:
    """Copy the planes of one row residue, moved by each tap of a kernel row."""
    c = len(moved)
    step, across = buffer.itemsize, planes.across
    for other, taps in across.groups():
        target = moved[:, taps.start : -1 : taps.step]
        plane = (residue * across.stride + other) * c * planes.run
        offset = plane + across.place(taps.start)
        apart = across.place(taps.start + taps.step) - across.place(taps.start)
        strides = (planes.run * step, apart * step, step)
        source = np.ndarray(target.shape, np.float32, buffer, offset * step, strides)
        np.copyto(target, source)


def _add(planes: Planes, runs: F32) -> F32:
    """Add the runs of all kernel rows (k, floats), moved by rows, to the first run."""
    length = runs.shape[1] - planes.down.reach * planes.pitch
    sums = runs[0, :length]
    for tap in range(1, len(runs)):
        begin = planes.down.place(tap) * planes.pitch
        np.add(sums, runs[tap, begin : begin + length], out=sums)
    return sums
