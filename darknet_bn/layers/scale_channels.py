"""``[scale_channels]``: multiply every channel of a layer by a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import Where
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, Activation, activate_tile, activate_training
from darknet_bn.layers.activation import activation_option
from darknet_bn.layers.layer import Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes, resolve
from darknet_bn.layers.shapes import UnequalImagesError, image
from darknet_bn.work.cuts import Block, run_blocks


@dataclass(frozen=True, kw_only=True)
class ScaleChannels(Layer):
    """Multiply a layer by one value per channel, or one per pixel; then activate.

    C: AlexeyAB's ``src/scale_channels_layer.c``.
    """

    names: ClassVar[tuple[str, ...]] = ("scale_channels",)
    extended: ClassVar[bool] = True

    from_: int = option(None, reference=True, required=True)
    scale_wh: bool = option(False)
    activation: str = activation_option("linear")

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the previous layer, which has the factors, and the layer that they multiply."""
        return index - 1, resolve(self.from_, index)

    def out_shape(self, xs: Shapes) -> Shape:
        """Return the shape of the layer in ``from``."""
        factors, x = image(xs[0]), image(xs[1], "the layer of from=")
        expected = Shape(1, x.h, x.w) if self.scale_wh else Shape(x.c)
        if factors != expected:
            raise UnequalImagesError(
                f"the layer before does not have one value for each {self._what} of the layer of "
                "from=",
                (0, 1),
                where=Where(key="from"),
                expected=f"{expected}",
                found=f"{factors}",
            )
        return x

    @property
    def _what(self) -> str:
        return "pixel" if self.scale_wh else "channel"

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Multiply, and activate."""
        activation = ACTIVATIONS[self.activation]

        def scale(xs: Sequence[F32], y: F32) -> None:
            multiply(xs[0], xs[1], activation, y)

        return scale

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Mul``, and activation."""
        return activated(graph, graph.add("Mul", values[1], values[0]), self.activation)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Multiply, and activate."""
        factors, x = xs
        z = as_inferred(replace(self, activation="linear"), xs, p, context)
        y, activation_back = activate_training(z, self.activation, context.dialect)
        axes = (1,) if self.scale_wh else (2, 3)

        def back(delta: F32) -> Backward:
            delta = activation_back(delta)
            summed = (delta * x).sum(axis=axes, keepdims=True)
            return Backward((summed, delta * factors), delta=delta)

        return Trained(y, back)


def multiply(factors: F32, x: F32, activation: Activation, y: F32) -> None:
    """Multiply arrays of images, with broadcasting, and activate.

    Parameters
    ----------
    factors : float32 array (n, c, h, w), (n, c, 1, 1) or (n, 1, h, w)
    x : float32 array (n, c, h, w)
    activation : Activation
    y : float32 array (n, c, h, w)
        Receives the result.
    """
    n, c, h, w = x.shape

    def block(at: Block) -> None:
        part = factors[at[0]] if factors.shape[1] == 1 else factors[at]
        np.multiply(x[at], part, out=y[at])
        activate_tile(y[at], activation)

    run_blocks(block, n, c, h * w)
