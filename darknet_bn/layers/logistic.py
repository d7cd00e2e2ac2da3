"""``[logistic]``: map every value to between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import activate_array
from darknet_bn.layers.layer import Layer, as_inferred
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shapes
from darknet_bn.layers.shapes import truth_like


@dataclass(frozen=True, kw_only=True)
class Logistic(Layer):
    """Apply a sigmoid; a loss in training.  C: pjreddie's ``src/logistic_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("logistic",)
    is_end: ClassVar[bool] = True
    original: ClassVar[bool] = True

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Apply a sigmoid."""

        def squash(xs: Sequence[F32], y: F32) -> None:
            activate_array(xs[0], "logistic", out=y)

        return squash

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Sigmoid``."""
        return graph.add("Sigmoid", values[0])

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Apply a sigmoid; with a truth, add the cross-entropy of each value.

        C: ``forward_logistic_layer`` and ``backward_logistic_layer``, which passes the delta from
        readers of the output unchanged.
        """
        x, y = xs[0], as_inferred(self, xs, p, context)
        truth = truth_like(y, context)
        loss, down = None, None
        if truth is not None:
            true = truth.reshape(x.shape)
            # -t*log(y) - (1 - t)*log(1 - y), which stays finite if y is 0 or 1
            errors = np.maximum(x, 0) - x * true + np.log1p(np.exp(-np.abs(x)))
            loss = float(np.sum(errors, dtype=np.float64))
            down = true - y

        def back(delta: F32) -> Backward:
            if context.dialect.exact_gradients:
                delta = delta * y * (1 - y)
            if down is not None:
                delta = delta + down
            return Backward((delta,), delta=delta)

        return Trained(y, back, loss)
