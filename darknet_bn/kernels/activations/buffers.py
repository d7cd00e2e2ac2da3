"""Buffers for computing a block of an activation in this thread."""

from __future__ import annotations

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.work.threads import workers


def scratch(y: F32, slot: str = "0") -> F32:
    """Return a buffer with the shape of ``y``."""
    return workers().scratch(y.size, f"activations {slot}", y.dtype).reshape(y.shape)


def wide_copy(y: F32, slot: str = "0") -> F64:
    """Return the values of ``y`` in a float64 buffer."""
    name = f"activations wide {slot}"
    wide = workers().scratch(2 * y.size, name).view(np.float64).reshape(y.shape)
    np.copyto(wide, y)
    return wide


def clamp(y: F32, low: float, high: float, out: F32) -> F32:
    """Clamp y; two bounds are faster than ``maximum`` or ``minimum`` with a single number."""
    np.clip(y, low, high, out=out)
    return out
