"""The matrices of Winograd's convolutions; `winograd` says what they are for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64


@dataclass(frozen=True)
class Scheme:
    """The matrices of F(m×m, 3×3).

    Attributes
    ----------
    input : float32 array (a, a)
    filter : float64 array (a, 3)
    output : float32 array (m, a)
    """

    input: F32
    filter: F64
    output: F32

    @property
    def m(self) -> int:
        """Rows and columns of outputs in a tile."""
        return len(self.output)

    @property
    def a(self) -> int:
        """Rows and columns of inputs in a tile."""
        return len(self.input)


def _scheme(*points: float) -> Scheme:
    """Interpolate through these points and infinity; row and column 1 belong to the point 1."""
    a = len(points) + 1
    m = a - 2
    powers = np.vander(np.array(points, np.float64), a, increasing=True)
    nodes = np.empty((a, a))
    scale = np.empty(a - 1)
    for i, point in enumerate(points):
        others = [other for other in points if other != point]
        nodes[i] = np.append(np.poly(others)[::-1], 0)
        scale[i] = np.prod([point - other for other in others])
    nodes[-1] = np.poly(points)[::-1]
    filters = np.vstack((powers[:, :3] / scale[:, None], (0, 0, 1)))
    output = np.vstack((powers[:, :m], np.eye(m)[-1])).T
    return Scheme(nodes.astype(np.float32), filters, output.astype(np.float32))


F2 = _scheme(0, 1, -1)
F4 = _scheme(0, 1, -1, 0.5, -2)  # a third of the error of 0, ±1, ±2
