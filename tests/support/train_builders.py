"""Small nets and data to train with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import darknet_bn as dn
from darknet_bn.layers.shape import Shape

NET = """
[net]
batch=6
subdivisions=2
width=8
height=8
channels=2
learning_rate=0.05
momentum=0.9
decay=0.001
max_batches=20
{more}
[convolutional]
batch_normalize=1
filters=6
size=3
stride=2
pad=1
activation=leaky
[dropout]
probability=0.2
[convolutional]
filters=4
size=1
activation=linear
[connected]
output=4
activation=linear
[softmax]
"""


def small_model(more: str = "", dialect: str = "pjreddie", seed: int = 0) -> dn.Model:
    """A classifier of 4 classes."""
    return dn.load(NET.format(more=more).encode(), None, dialect=dialect, seed=seed)


class Squares:
    """Pictures with one bright quarter, whose number is the class."""

    def __init__(self, count: int = 20) -> None:
        rng = np.random.default_rng(1)
        self.kinds = rng.integers(0, 4, count)
        self.x = rng.random((count, 2, 8, 8), np.float32) * np.float32(0.3)
        for x, kind in zip(self.x, self.kinds, strict=True):
            x[:, 4 * (kind // 2) :, 4 * (kind % 2) :][:, :4, :4] += np.float32(0.7)
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.x)

    def batch(
        self, indices: Sequence[int], rng: np.random.Generator, *, shape: Shape
    ) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(list(indices))
        noise = rng.random((len(indices), 2, 8, 8), np.float32) * np.float32(0.1)
        return self.x[indices] + noise, np.eye(4, dtype=np.float32)[self.kinds[indices]]
