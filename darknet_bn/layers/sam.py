"""``[sam]``: the product of two layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.errors import Where
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, activate_training
from darknet_bn.layers.activation import activation_option
from darknet_bn.layers.layer import Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.scale_channels import multiply
from darknet_bn.layers.shape import Shape, Shapes, resolve
from darknet_bn.layers.shapes import UnequalImagesError, image


@dataclass(frozen=True, kw_only=True)
class Sam(Layer):
    """Multiply the previous layer by another one, value by value; then activate.

    C: AlexeyAB's ``src/sam_layer.c``: spatial attention.
    """

    names: ClassVar[tuple[str, ...]] = ("sam",)
    extended: ClassVar[bool] = True

    from_: int = option(None, reference=True, required=True)
    activation: str = activation_option("linear")

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the previous layer and the other one."""
        return index - 1, resolve(self.from_, index)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape, which must be the same for both."""
        x, other = image(xs[0]), image(xs[1], "the layer of from=")
        if x != other:
            raise UnequalImagesError(
                "the layer of from= and the layer before have different shapes",
                (0, 1),
                where=Where(key="from"),
                expected=f"{x}",
                found=f"{other}",
            )
        return x

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Multiply, and activate."""
        activation = ACTIVATIONS[self.activation]

        def product(xs: Sequence[F32], y: F32) -> None:
            multiply(xs[0], xs[1], activation, y)

        return product

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Mul``, and activation."""
        return activated(graph, graph.add("Mul", *values), self.activation)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Multiply, and activate.  C loses other readers' deltas for the layer in ``from``."""
        x, other = xs
        z = as_inferred(replace(self, activation="linear"), xs, p, context)
        y, activation_back = activate_training(z, self.activation, context.dialect)

        def back(delta: F32) -> Backward:
            delta = activation_back(delta)
            return Backward((delta * other, delta * x), delta=delta)

        return Trained(y, back)
