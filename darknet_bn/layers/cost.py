"""``[cost]``: compares the output with the truth in training."""

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
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import flat, truth_like

_MASKED = -1234  # in a truth: this value is unknown


@dataclass(frozen=True, kw_only=True)
class CostLayer(Layer):
    """The loss.  C: ``src/cost_layer.c``.

    Without a truth, its output stays zero.
    """

    names: ClassVar[tuple[str, ...]] = ("cost",)
    is_loss: ClassVar[bool] = True

    type: str = option("sse", choices=("sse", "masked", "smooth", "seg", "L1", "wgan"))
    scale: float = option(1.0)
    ratio: float = option(0.0)
    noobj: float = option(1.0, original=True)
    thresh: float = option(0.0, original=True)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the number of values, without an image shape."""
        return Shape(xs[0].size, flat=True)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Fill with zeros."""

        def clear(xs: Sequence[F32], y: F32) -> None:
            y.fill(0)

        return clear

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Zeros."""
        flat_x = values[0] if xs[0].flat else graph.add("Flatten", values[0], axis=1)
        return graph.zeros_like(flat_x)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Compare with the truth: the output is the error of each value.

        The delta is half of the gradient of the squared error, and the loss does not include
        ``scale``, as in C: ``forward_cost_layer``, ``l2_cpu``, ``l1_cpu``, ``smooth_l1_cpu``.
        There, what ``seg`` and ``wgan`` do beyond ``sse``, and ``ratio``, ``noobj`` and ``thresh``,
        work only on the GPU.  With ``masked``, C also writes the mask into the output of the layer
        before.
        """
        x = flat(xs[0])
        truth = truth_like(x, context)
        if truth is None:
            return Trained(np.zeros_like(x), lambda delta: Backward((np.zeros_like(xs[0]),)))
        apart = truth - x
        if self.type == "masked":
            apart[truth == _MASKED] = 0
        size, down = np.abs(apart), apart
        if self.type == "L1":
            y, down = size, _sign(apart)
        elif self.type == "smooth":
            y = np.where(size < 1, apart * apart, 2 * size - 1)
            direction = 1 if context.dialect.smooth_descends else -1
            down = np.where(size < 1, apart, direction * _sign(apart))
        else:
            y = apart * apart

        def back(delta: F32) -> Backward:
            delta = delta + down
            given = delta * delta.dtype.type(self.scale)
            return Backward((given.reshape(xs[0].shape),), delta=delta)

        return Trained(y, back, float(np.sum(y, dtype=np.float64)))


def _sign(x: F32) -> F32:
    """Return 1 if x is above 0, else -1."""
    return np.where(x > 0, x.dtype.type(1), x.dtype.type(-1))
