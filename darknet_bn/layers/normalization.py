"""``[normalization]``: the local response normalisation of AlexNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.normalization import (
    backward_normalization_layer,
    forward_normalization_layer,
)
from darknet_bn.layers.layer import Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image, planes


@dataclass(frozen=True, kw_only=True)
class Normalization(Layer):
    """Divide by neighbouring channels.  C: ``src/normalization_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("normalization", "lrn")

    size: int = option(5, at_least=1)
    alpha: float = option(1e-4)
    beta: float = option(0.75)
    kappa: float = option(1.0)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape."""
        return image(xs[0])

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Normalise."""

        def normalise(xs: Sequence[F32], y: F32) -> None:
            x, out = planes(xs[0]), planes(y)
            forward_normalization_layer(
                x,
                self.size,
                self.alpha,
                self.beta,
                self.kappa,
                out,
                misses_one=context.dialect.normalization_misses_one,
            )

        return normalise

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Conv`` to add the squares of neighbouring channels, ``Pow`` and ``Mul``."""
        c, ahead, behind = xs[0].c, self.size // 2, (self.size - 1) // 2
        apart = np.arange(c) - np.arange(c)[:, None]
        around = ((apart >= -behind) & (apart <= ahead)).astype(np.float64)
        if graph.dialect.normalization_misses_one and ahead < c:
            around[:, ahead] -= 1
        divisors = graph.add(
            "Conv",
            graph.add("Mul", values[0], values[0]),
            graph.constant("around", (self.alpha * around).reshape(c, c, 1, 1)),
            graph.constant("kappa", np.full(c, self.kappa)),
            kernel_shape=[1, 1],
        )
        power = graph.add("Pow", divisors, graph.number("beta", -self.beta))
        return graph.add("Mul", values[0], power)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Normalise.  C has only part of the gradient, and overwrites."""
        x, dialect = xs[0], context.dialect

        def back(delta: F32) -> Backward:
            given = backward_normalization_layer(
                planes(x),
                planes(delta),
                self.size,
                self.alpha,
                self.beta,
                self.kappa,
                misses_one=dialect.normalization_misses_one,
                exact=dialect.exact_gradients,
            )
            return Backward((given.reshape(x.shape),), overwrites=not dialect.exact_gradients)

        return Trained(as_inferred(self, xs, p, context), back)
