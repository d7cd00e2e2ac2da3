"""``[contrastive]``: compares embeddings with each other in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Inference, InferenceContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import flat

_FLT_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class Contrastive(Layer):
    """A loss, which passes its input on.  C: AlexeyAB's ``src/contrastive_layer.c``.

    This is what it does on the GPU; on the CPU its output stays zero.
    """

    names: ClassVar[tuple[str, ...]] = ("contrastive",)
    extended: ClassVar[bool] = True
    is_loss: ClassVar[bool] = True

    classes: int = option(1000, at_least=0)
    yolo_layer: int | None = option(None, reference=True)
    temperature: float = option(1.0)
    cls_normalizer: float = option(1.0)
    max_delta: float = option(_FLT_MAX)
    contrastive_neg_max: int = option(3)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the number of values, without an image shape."""
        return Shape(xs[0].size, flat=True)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Copy."""

        def copy(xs: Sequence[F32], y: F32) -> None:
            np.copyto(y, flat(xs[0]))

        return copy

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Flatten``."""
        return values[0] if xs[0].flat else graph.add("Flatten", values[0], axis=1)
