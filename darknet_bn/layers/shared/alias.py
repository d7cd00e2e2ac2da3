"""What is common to layers whose output is their input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.graph import Graph
from darknet_bn.layers.base import Backward, Forward, Layer, Params, Setting, Shapes, Step, Training


@dataclass(frozen=True, kw_only=True)
class Alias(Layer):
    """A layer that does nothing in inference; in C it shares the buffer of the layer before."""

    def is_alias(self, xs: Shapes) -> bool:
        """Say so, always."""
        return True

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Copy, for a caller that wants an array of its own."""

        def copy(xs: Sequence[F32], y: F32) -> None:
            np.copyto(y, xs[0])

        return copy

    def onnx(self, graph: Graph, values: Sequence[str], xs: Shapes, p: Params) -> str:
        """Nothing."""
        return values[0]

    def forward(self, xs: Sequence[F32], p: Params, training: Training) -> Forward:
        """Pass on what comes, both ways."""
        return Forward(xs[0], lambda delta: Backward((delta,)))
