"""``[iseg]``: a head for instance segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import activate_array
from darknet_bn.kernels.losses.iseg import compare_instances
from darknet_bn.layers.layer import as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import check_filters, image
from darknet_bn.layers.shared.per_class import PerClass


@dataclass(frozen=True, kw_only=True)
class Iseg(PerClass):
    """Sigmoid of the classes, but not of the embeddings.  C: pjreddie's ``src/iseg_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("iseg",)
    original: ClassVar[bool] = True

    ids: int = option(32, at_least=0)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape; it must have one channel for each class and each embedding component."""
        x = image(xs[0])
        check_filters(x, self.classes + self.ids, f"{self.classes} classes + {self.ids} ids")
        return x

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Apply a sigmoid to the classes, and copy the rest."""

        def squash(xs: Sequence[F32], y: F32) -> None:
            activate_array(xs[0][:, : self.classes], "logistic", out=y[:, : self.classes])
            np.copyto(y[:, self.classes :], xs[0][:, self.classes :])

        return squash

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Sigmoid`` of the classes."""
        if not self.classes or not self.ids:
            return graph.add("Sigmoid", values[0]) if self.classes else values[0]
        kinds, ids = graph.split(values[0], 1, [self.classes, self.ids])
        return graph.add("Concat", graph.add("Sigmoid", kinds), ids, axis=1)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Apply a sigmoid to the classes; if the truth has instance masks, compare with them.

        C: ``forward_iseg_layer`` and ``backward_iseg_layer``, which passes the delta from readers
        of the output unchanged.  The delta of the classes belongs to their cross-entropy; the delta
        of the embeddings, steps of constant size, does not belong to any loss.
        """
        y = as_inferred(self, xs, p, context)
        truth = self._instances(y, context)
        compared = None if truth is None else compare_instances(y, truth, self.classes)

        def back(delta: F32) -> Backward:
            if context.dialect.exact_gradients:
                squashed = y[:, : self.classes]
                delta[:, : self.classes] *= squashed * (1 - squashed)
            if compared is not None:
                delta = delta + compared[0]
            return Backward((delta,), delta=delta)

        return Trained(y, back, None if compared is None else compared[1])

    def _instances(self, y: F32, context: TrainingContext) -> F32 | None:
        """Return the truth as instances (n, instances, 1 + pixels); None if there is no truth."""
        truth = context.truth
        if truth is None:
            return None
        n, _, h, w = y.shape
        row = 1 + h * w
        if truth.size % (n * row):
            raise ShapeError(
                "the truth does not describe instances",
                expected=f"({n}, instances, 1 + {h * w}): class, and mask",
                found=f"{truth.shape}",
            )
        instances = truth.reshape(n, -1, row)
        kinds = instances[..., 0]
        largest = kinds[~np.logical_or.accumulate(kinds < 0, axis=1)].max(initial=-1)
        if not largest < self.classes:
            raise ShapeError(
                "an instance has a class that does not exist",
                expected=f"0 to {self.classes - 1}, or -1 after the last",
                found=f"{largest:g}",
            )
        return instances

    def filters_per_class(self) -> int:
        """Return one filter."""
        return 1
