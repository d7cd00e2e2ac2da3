"""What layers have in common whose output is their input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shapes


@dataclass(frozen=True, kw_only=True)
class Alias(Layer):
    """A layer that does nothing in inference; in C it shares the buffer of the layer before."""

    def is_alias(self, xs: Shapes) -> bool:
        """Return True for all inputs."""
        return True

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Copy, for a caller that needs a separate array."""

        def copy(xs: Sequence[F32], y: F32) -> None:
            np.copyto(y, xs[0])

        return copy

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Nothing."""
        return values[0]

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Pass the input and the delta on."""
        return Trained(xs[0], lambda delta: Backward((delta,)))
