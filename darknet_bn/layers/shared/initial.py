"""The values of parameters before training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32


@dataclass(frozen=True)
class Uniform:
    """A uniform distribution of values between -bound and bound."""

    bound: float

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> F32:
        """Draw an array."""
        return (rng.random(shape, np.float32) * 2 - 1) * np.float32(self.bound)


@dataclass(frozen=True)
class Normal:
    """A normal distribution of values around 0."""

    deviation: float

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> F32:
        """Draw an array."""
        return rng.standard_normal(shape, np.float32) * np.float32(self.deviation)
