"""``[avgpool]``: the mean of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.pooling.average import forward_avgpool_layer
from darknet_bn.layers.layer import Channels, Layer
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image
from darknet_bn.layers.shared.reach import Reach


@dataclass(frozen=True, kw_only=True)
class AvgPool(Layer):
    """Average over all pixels.  C: ``src/avgpool_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("avgpool", "avg")
    channels: ClassVar[Channels] = "kept"

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the channels, with one pixel each."""
        return Shape(image(xs[0]).c)

    def reach(self, xs: Shapes) -> Reach | None:
        """Return None: each value depends on all pixels."""
        return None

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Average."""

        def average(xs: Sequence[F32], y: F32) -> None:
            forward_avgpool_layer(xs[0], y)

        return average

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``GlobalAveragePool``."""
        return graph.add("GlobalAveragePool", values[0])

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Average; each pixel gets its share of the delta."""
        n, c, h, w = xs[0].shape
        y = np.empty((n, c, 1, 1), xs[0].dtype)
        forward_avgpool_layer(xs[0], y)

        def back(delta: F32) -> Backward:
            share = delta / delta.dtype.type(h * w)
            return Backward((np.broadcast_to(share, (n, c, h, w)).copy(),))

        return Trained(y, back)
