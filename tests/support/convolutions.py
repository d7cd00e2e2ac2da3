"""A convolution written down plainly, in float64, for the tests of the fast ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.kernels.convolution.im2col import ConvGeometry


@dataclass(frozen=True)
class Case:
    """Arrays of one convolution of a batch ``(n, c, h, w)``."""

    x: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    geometry: ConvGeometry

    @property
    def in_shape(self) -> tuple[int, int, int]:
        return self.x.shape[1:]

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        return len(self.x), len(self.weights), *self.geometry.out_hw(*self.x.shape[2:])


def make_case(n: int, c: int, h: int, w: int, f: int, geometry: ConvGeometry) -> Case:
    """A case of random numbers; the batch is cut out of a wider one, as the plan does it."""
    rng = np.random.default_rng(n * h + w)
    wider = rng.standard_normal((n, c + 2, h, w), dtype=np.float32)
    k = geometry.size
    return Case(
        wider[:, 1:-1],
        rng.standard_normal((f, c // geometry.groups, k, k), dtype=np.float32),
        rng.standard_normal(f, dtype=np.float32),
        geometry,
    )


def convolve(case: Case) -> np.ndarray:
    """Sum tap by tap, window by window."""
    geometry = case.geometry
    n, f, oh, ow = case.out_shape
    c, h, w = case.in_shape
    g = geometry.groups
    x = case.x.astype(np.float64).reshape(n, g, c // g, h, w)
    weights = case.weights.astype(np.float64).reshape(g, f // g, c // g, *case.weights.shape[2:])
    y = np.zeros((n, g, f // g, oh, ow)) + case.biases.reshape(1, g, f // g, 1, 1)
    for row in range(oh):
        for column in range(ow):
            for ky in range(geometry.size):
                for kx in range(geometry.size):
                    iy = row * geometry.stride_y + (ky - geometry.pad) * geometry.dilation
                    ix = column * geometry.stride_x + (kx - geometry.pad) * geometry.dilation
                    if 0 <= iy < h and 0 <= ix < w:
                        tap = np.einsum("gfc,ngc->ngf", weights[..., ky, kx], x[..., iy, ix])
                        y[:, :, :, row, column] += tap
    return y.reshape(n, f, oh, ow)


def leaky(y: np.ndarray) -> np.ndarray:
    return np.where(y > 0, y, np.float64(np.float32(0.1)) * y)


def run_into_slice(convolution, case: Case) -> np.ndarray:
    """Convolve into some channels of a wider batch, whose other channels must stay untouched."""
    n, f, oh, ow = case.out_shape
    wider = np.full((n, f + 2, oh, ow), np.nan, np.float32)
    convolution(case.x, wider[:, 1:-1])
    assert np.isnan(wider[:, 0]).all()
    assert np.isnan(wider[:, -1]).all()
    return wider[:, 1:-1]


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Compare with a tolerance relative to the largest value."""
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
