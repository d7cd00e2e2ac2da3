"""3x3 convolutions of few channels, compiled: sums of products as they are, without a matrix.

Four filters go over some rows at a time.  Their sums stay in the first-level cache, and each
pixel that is loaded is multiplied by a weight of each of them; matrices of so few channels are
mostly copied.
"""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import Epilogue, activate_tile
from darknet_bn.kernels.activations.bends import LEAKY
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.work import measured
from darknet_bn.work.cuts import Strip, fitting, sharers, strips
from darknet_bn.work.threads import workers

_FILTERS = 4  # in one loop: with three weights each, all stay in registers
_WIDTH = 432  # pixels at a time; no power of two, so that they do not meet in cache
_WHOLE = 16  # pixels: what is computed is a multiple of a vector, what is kept is not
_SLOPES = {"linear": np.float32(1), "leaky": LEAKY}  # below zero, of what the loop can apply


def pays(
    weights: F32,
    epilogue: Epilogue,
    geometry: ConvGeometry,
    in_shape: tuple[int, int, int],
    exact: bool,
) -> bool:
    """Return whether `Direct` is for such a convolution, and faster."""
    if exact or weights.dtype != np.float32 or (geometry.size, geometry.dilation) != (3, 1):
        return False
    if geometry.groups > 1 or geometry.stride_x > 2:
        return False
    return in_shape[0] <= measured.DIRECT_CHANNELS


class Direct:
    """A 3x3 convolution, of stride 1 or 2 across.

    Parameters
    ----------
    weights : float32 array (f, c, 3, 3)
    epilogue : Epilogue
    geometry : ConvGeometry
    in_shape : (c, h, w)

    Notes
    -----
    Products are added to sums without being rounded first, where the processor can.
    """

    def __init__(
        self,
        weights: F32,
        epilogue: Epilogue,
        geometry: ConvGeometry,
        in_shape: tuple[int, int, int],
    ) -> None:
        (f, c), blocks = weights.shape[:2], -(-len(weights) // _FILTERS)
        self._f, self._geometry = f, geometry
        self._rows, self._width = geometry.out_hw(*in_shape[1:])
        padded = np.zeros((blocks * _FILTERS, c, 3, 3), np.float32)
        padded[:f] = weights
        # (blocks, c, 3 rows of taps, 4 filters, 3 taps)
        self._weights = np.ascontiguousarray(
            padded.reshape(blocks, _FILTERS, c, 3, 3).transpose(0, 2, 3, 1, 4)
        )
        self._biases = np.zeros(f, np.float32)
        if epilogue.biases is not None:
            self._biases[:] = epilogue.biases
        name = "linear" if epilogue.activation is None else epilogue.activation.name
        self._slope = _SLOPES.get(name, np.float32(1))
        self._afterwards = None if name in _SLOPES else epilogue.activation
        down, across = geometry.stride_y, geometry.stride_x
        self._pitch = self._width + 2 // across
        self._at_once = fitting(measured.DIRECT_PADDED, c * down * across * self._pitch)

    def __call__(self, x: F32, out: F32) -> None:
        """Convolve.

        Parameters
        ----------
        x : float32 array (n, c, h, w)
        out : float32 array (n, f, oh, ow)
        """
        n = len(x)
        y = out.reshape(n, self._f, self._rows, self._width)
        pixels = self._rows * self._width
        threads = sharers(n * self._weights.size * pixels, y.size)

        def task(parts: list[Strip]) -> None:
            for part in parts:
                self._convolve(x[part.image], part, y[part.image])

        workers().run(task, strips(n, self._rows, self._at_once, threads))

    def _convolve(self, x: F32, part: Strip, y: F32) -> None:
        """Convolve some rows of an image (c, h, w) in this thread."""
        geometry, c, pitch = self._geometry, len(x), self._pitch
        down, across = geometry.stride_y, geometry.stride_x
        scratch = workers().scratch
        plane = (part.rows + 2 // down) * pitch
        size = c * down * across * plane
        # What is added up in whole vectors also reads some floats after the last plane.
        flat = scratch(size + _WHOLE + 2, "padded")
        padded = flat[:size].reshape(c, down, across, -1, pitch)
        line, sums = scratch(across * pitch, "line"), scratch(_FILTERS * _WIDTH, "sums")
        _copy_with_border(x, part.first * down - geometry.pad, geometry.pad, line, padded)
        _convolve(
            flat, plane, pitch, down, across, self._weights, self._biases, self._slope, sums, y,
            part.first, part.rows,
        )  # fmt: skip
        if self._afterwards is not None:
            activate_tile(y[:, part.first : part.first + part.rows], self._afterwards)


# -- the loops -------------------------------------------------------------------------------------


@loop()
def _copy_with_border(x: F32, top: int, left: int, line: F32, padded: F32) -> None:
    """Copy rows from ``top`` on, after ``left`` zeros, to (c, down, across, rows, pitch).

    If the stride is 2, every second row, or pixel, is apart.  Outside the image all is zero.
    """
    c, h, w = x.shape
    _, down, across, high, _ = padded.shape
    end = min(left + w, len(line))
    for k in range(c):
        for i in range(high * down):
            row, to = top + i, padded[k, i % down, :, i // down]
            if row < 0 or row >= h:
                to[:] = 0
                continue
            whole = to[0] if across == 1 else line
            whole[:left] = 0
            _copy(x[k, row], whole[left:end])
            whole[end:] = 0
            if across == 2:
                _split(line, to[0], to[1])


@loop()
def _copy(x: F32, y: F32) -> None:
    for p in range(len(y)):
        y[p] = x[p]


@loop()
def _split(x: F32, even: F32, odd: F32) -> None:
    for p in range(len(even)):
        even[p] = x[2 * p]
        odd[p] = x[2 * p + 1]


@loop()
def _convolve(
    padded: F32,
    plane: int,
    pitch: int,
    down: int,
    across: int,
    weights: F32,
    biases: F32,
    slope: np.float32,
    sums: F32,
    y: F32,
    first: int,
    rows: int,
) -> None:
    """Compute some rows of all filters (f, oh, ow), and finish each part while it is in cache.

    Rows follow each other; what is computed between them is dropped.
    """
    f, _, ow = y.shape
    blocks, c = weights.shape[:2]
    for begin in range(0, rows * pitch, _WIDTH):
        count = min(_WIDTH, rows * pitch - begin)
        whole = (count + _WHOLE - 1) // _WHOLE * _WHOLE
        for block in range(blocks):
            here = range(block * _FILTERS, min(f, (block + 1) * _FILTERS))
            for i in here:
                _fill(sums[(i % _FILTERS) * _WIDTH :], biases[i], whole)
            for k in range(c):
                for i in range(3):
                    at = (k * down + i % down) * across * plane + i // down * pitch + begin
                    zero = padded[at:]
                    one = padded[at + 1 % across * plane + 1 // across :]
                    two = padded[at + 2 % across * plane + 2 // across :]
                    _add_taps(sums, zero, one, two, weights[block, k, i], whole)
            for row in range(begin // pitch, (begin + count + pitch - 1) // pitch):
                left = max(0, begin - row * pitch)
                right = min(ow, begin + count - row * pitch)
                if left < right:
                    at = row * pitch + left - begin
                    for i in here:
                        done = y[i, first + row, left:right]
                        _finish(sums[(i % _FILTERS) * _WIDTH + at :], slope, done)


@loop(fuses=True)
def _add_taps(sums: F32, zero: F32, one: F32, two: F32, w: F32, count: int) -> None:
    """Add three taps in a row to the sums of four filters."""
    a0, a1, a2 = w[0, 0], w[0, 1], w[0, 2]
    b0, b1, b2 = w[1, 0], w[1, 1], w[1, 2]
    c0, c1, c2 = w[2, 0], w[2, 1], w[2, 2]
    d0, d1, d2 = w[3, 0], w[3, 1], w[3, 2]
    for p in range(count):
        x0, x1, x2 = zero[p], one[p], two[p]
        a, b, c, d = p, p + _WIDTH, p + 2 * _WIDTH, p + 3 * _WIDTH
        sums[a] = sums[a] + a0 * x0 + a1 * x1 + a2 * x2
        sums[b] = sums[b] + b0 * x0 + b1 * x1 + b2 * x2
        sums[c] = sums[c] + c0 * x0 + c1 * x1 + c2 * x2
        sums[d] = sums[d] + d0 * x0 + d1 * x1 + d2 * x2


@loop()
def _fill(sums: F32, bias: np.float32, count: int) -> None:
    for p in range(count):
        sums[p] = bias


@loop()
def _finish(sums: F32, slope: np.float32, y: F32) -> None:
    """Activate and keep: 1 is the slope of what is linear, for both signs."""
    for p in range(len(y)):
        y[p] = sums[p] if sums[p] > 0 else sums[p] * slope
