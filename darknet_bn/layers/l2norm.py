"""``[l2norm]``: scale each pixel to a vector of length one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.normalization import l2normalize_cpu
from darknet_bn.layers.layer import Layer, as_inferred
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image, planes


@dataclass(frozen=True, kw_only=True)
class L2Norm(Layer):
    """Divide the channels of each pixel by their length.  C: pjreddie's ``src/l2norm_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("l2norm",)
    original: ClassVar[bool] = True

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape."""
        return image(xs[0])

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Normalise."""

        def normalise(xs: Sequence[F32], y: F32) -> None:
            l2normalize_cpu(planes(xs[0]), planes(y))

        return normalise

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``ReduceL2`` over the channels, and ``Div``."""
        return graph.add("Div", values[0], graph.reduce("ReduceL2", values[0], 1))

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Normalise.  C passes the delta unchanged."""
        x, y = xs[0], as_inferred(self, xs, p, context)

        def back(delta: F32) -> Backward:
            if context.dialect.exact_gradients:
                length = np.sqrt(np.sum(x * x, axis=1, keepdims=True))
                delta = (delta - y * np.sum(delta * y, axis=1, keepdims=True)) / length
            return Backward((delta,))

        return Trained(y, back)
