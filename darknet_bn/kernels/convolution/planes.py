"""Where the pixels of a depthwise convolution lie, so that windows are neighbours in one run.

A channel is stored as one run of floats with zeros between its rows, so that moving by a tap means
moving along the run, even at the ends of rows.  With a stride, the rows and columns of each residue
modulo the stride form a separate plane, in which the windows are neighbours again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.work import measured

_LINE = measured.LINE // 4  # floats: each run begins on a cache line


@dataclass(frozen=True)
class Axis:
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


@dataclass(frozen=True, eq=False)
class Planes:
    """The planes of one channel, one for each pair of residues.

    Attributes
    ----------
    down, across : Axis
    pitch : int
        Floats from row to row.
    rows : int
        Rows of a plane.
    run : int
        Floats of a plane.
    room : int
        Floats after the last plane that taps may read.
    taps : int array (k*k,)
        Where each tap of the first window is, from the first plane on.
    """

    down: Axis
    across: Axis
    pitch: int
    rows: int
    run: int
    room: int
    taps: npt.NDArray[np.int64]

    @classmethod
    def of(cls, geometry: ConvGeometry, h: int, w: int) -> Planes:
        """Lay out channels of ``h`` times ``w`` pixels."""
        k, d = geometry.size, geometry.dilation
        oh, ow = geometry.out_hw(h, w)
        begin = geometry.pad * d
        down = Axis(geometry.stride_y, d, k, oh, h, begin)
        across = Axis(geometry.stride_x, d, k, ow, w, begin)
        pitch, rows = across.pitch(), oh + down.reach
        run = -(-(rows * pitch + across.reach) // _LINE) * _LINE
        taps = [
            (y * d % down.stride * across.stride + x * d % across.stride) * run
            + down.place(y) * pitch
            + across.place(x)
            for y in range(k)
            for x in range(k)
        ]
        return cls(down, across, pitch, rows, run, _LINE + across.reach, np.array(taps))

    @property
    def count(self) -> int:
        """How many planes there are."""
        return self.down.stride * self.across.stride

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """With strides of 1: where pixels begin and end in the plane, and which is first, twice."""
        found = []
        for axis, room in ((self.down, self.rows), (self.across, self.pitch)):
            begin, end = axis.span(0, room)
            found += [begin, end, begin - axis.begin]
        return np.array(found)


@dataclass(frozen=True, eq=False)
class Channels:
    """A depthwise convolution for images of one shape.

    Attributes
    ----------
    weights : float32 array (f, 1, k, k)
    epilogue : Epilogue
    geometry : ConvGeometry
    in_shape : (c, h, w)
        f is a multiple of c.
    exact : bool
    """

    weights: F32
    epilogue: Epilogue
    geometry: ConvGeometry
    in_shape: tuple[int, int, int]
    exact: bool

    @cached_property
    def planes(self) -> Planes:
        """Where the pixels lie."""
        return Planes.of(self.geometry, *self.in_shape[1:])

    @cached_property
    def stacked(self) -> F32:
        """The weights as (filters of a channel, c, kernel rows, kernel columns and bias)."""
        f, _, k, _ = self.weights.shape
        c = self.in_shape[0]
        stacked = np.zeros((f // c, c, k, k + 1), np.float32)
        stacked[..., :k] = self.weights.reshape(c, -1, k, k).swapaxes(0, 1)
        if self.epilogue.biases is not None:
            stacked[:, :, 0, k] = self.epilogue.biases.reshape(c, -1).T
        return stacked

    @cached_property
    def flat(self) -> F32:
        """The weights as (f, k*k)."""
        return np.ascontiguousarray(self.weights.reshape(len(self.weights), -1))

    @cached_property
    def biases(self) -> F32:
        """The biases (f,); zeros if there are none."""
        given = self.epilogue.biases
        return np.zeros(len(self.weights), np.float32) if given is None else given

    @cached_property
    def nothing(self) -> F32:
        """A row of zeros, as wide as the image."""
        return np.zeros(self.in_shape[2], np.float32)
