"""``[batchnorm]``: batch norm as a separate layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.batchnorm.batchnorm_layer import forward_batchnorm_layer
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.norm import Norm
from darknet_bn.layers.parameters import Affine, Param, Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import NoImageError
from darknet_bn.layers.shared.normalised import (
    batch_norm_params,
    normalise_training,
    rolling_affine,
)
from darknet_bn.layers.shared.windows_graph import normalised


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Norm, Layer):
    """Normalise each channel over the batch and all pixels.  C: ``src/batchnorm_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("batchnorm",)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape, which must have channels."""
        if xs[0].flat:
            raise NoImageError(
                "the layer before has no channels", expected="w x h x c", found=f"{xs[0]} values"
            )
        return xs[0]

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Biases (in the file of some dialects only), scales and rolling statistics."""
        biases = Param("biases", (xs[0].c,), stored=dialect.batchnorm_stores_biases)
        return (biases, *batch_norm_params(xs[0].c, stored=not self.dontloadscales))

    @property
    def batch_norm(self) -> Literal["inside", "alone"] | None:
        """The layer does nothing else."""
        return "alone"

    def affines(self, p: Params, dialect: Dialect) -> Mapping[str, Affine]:
        """Return scale and shift in inference."""
        return {"": rolling_affine(p, dialect)}

    def why_not_foldable(self) -> str | None:
        """Say that statistics missing from the file cannot be folded."""
        if self.dontload:
            return "dontload: the file has no statistics"
        return "dontloadscales: the file has no statistics" if self.dontloadscales else None

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Normalise with the rolling statistics."""

        def normalise(xs: Sequence[F32], y: F32) -> None:
            np.copyto(y, xs[0])
            norm = context.before_norm(y, p)
            forward_batchnorm_layer(y, norm, train=False, dialect=context.dialect, out=y)

        return normalise

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``BatchNormalization``."""
        return normalised(graph, values[0], p)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Normalise with the statistics of the batch.  In C the backward pass overwrites."""
        y, normalised_back, changes = normalise_training(xs[0], p, context)

        def back(delta: F32) -> Backward:
            delta, updates = normalised_back(delta)
            overwrites = not context.dialect.exact_gradients
            return Backward((delta,), updates, delta, overwrites)

        return Trained(y, back, changes=changes)
