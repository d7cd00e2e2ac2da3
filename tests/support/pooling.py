"""Pooling by plain loops: which pixels each window sees."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from darknet_bn.kernels.pooling.windows import Window

Place = tuple[int, ...]


def windows(x: np.ndarray, window: Window) -> Iterator[tuple[Place, list[Place]]]:
    """Yield the place of each output value, and the places of its window in the image."""
    oh, ow = window.out_hw(*x.shape[2:])
    begin = window.padding // 2
    for image, channel, i, j in itertools.product(*map(range, (*x.shape[:2], oh, ow))):
        rows = [i * window.stride_y - begin + k for k in range(window.size)]
        columns = [j * window.stride_x - begin + k for k in range(window.size)]
        inside = [
            (image, channel, row, column)
            for row in rows
            if 0 <= row < x.shape[2]
            for column in columns
            if 0 <= column < x.shape[3]
        ]
        yield (image, channel, i, j), inside


def deltas(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers, of which all sums are exact."""
    return rng.integers(-9, 10, shape).astype(np.float32)
