"""``[activation]``: apply a function to every value; and which functions each section supports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, activate_array, activate_training
from darknet_bn.layers.layer import Channels, Layer
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shapes

# If a section does not know a function, the programs give 0 for it, which no model can intend.
_OF_CONVOLUTIONS = frozenset(
    name for name, each in ACTIVATIONS.items() if each.over_channels or name == "hard_mish"
)
_UNKNOWN = {"few": _OF_CONVOLUTIONS | {"swish", "mish"}, "most": _OF_CONVOLUTIONS, "all": ()}


def activation_option(
    default: str | Callable[[Dialect], str], knows: Literal["few", "most", "all"] = "few"
) -> Any:
    """Declare an option that names an activation.

    Parameters
    ----------
    default : str, or a function of the dialect
    knows : str
        Which functions the section supports: ``most`` includes ``swish`` and ``mish``; only
        ``[convolutional]`` supports ``all``.
    """
    names = frozenset(ACTIVATIONS).difference(_UNKNOWN[knows])
    extended = frozenset(name for name in names if ACTIVATIONS[name].extended)
    return option(default, choices=names, extended_choices=extended, fallback="relu")


def of_weights(dialect: Dialect) -> str:
    """Return the default activation of a layer with weights."""
    return "linear" if dialect.opencv else "logistic"


@dataclass(frozen=True, kw_only=True)
class ActivationLayer(Layer):
    """Apply a function to every value.  C: ``src/activation_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("activation",)
    channels: ClassVar[Channels] = "kept"

    activation: str = activation_option("linear")

    def is_alias(self, xs: Shapes) -> bool:
        """Return True for the function that changes nothing."""
        return self.activation == "linear"

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Activate."""

        def activate(xs: Sequence[F32], y: F32) -> None:
            activate_array(xs[0], self.activation, out=y)

        return activate

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Add the function."""
        return activated(graph, values[0], self.activation)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Activate.  In C the backward pass overwrites."""
        y, activation_back = activate_training(xs[0].copy(), self.activation, context.dialect)
        overwrites = not context.dialect.exact_gradients

        def back(delta: F32) -> Backward:
            delta = activation_back(delta)
            return Backward((delta,), delta=delta, overwrites=overwrites)

        return Trained(y, back)
