"""``[connected]``: every output is a weighted sum of all inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import activate_array, activate_training
from darknet_bn.kernels.batchnorm.batchnorm_layer import forward_batchnorm_layer
from darknet_bn.layers.activation import activation_option, of_weights
from darknet_bn.layers.layer import Channels, Cost, Layer
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Param, Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shared.initial import Uniform
from darknet_bn.layers.shared.normalised import Normalised, batch_norm_params, normalise_training
from darknet_bn.layers.shared.windows_graph import normalised
from darknet_bn.work import measured
from darknet_bn.work.cuts import fitting, pieces
from darknet_bn.work.threads import workers


@dataclass(frozen=True, kw_only=True)
class Connected(Normalised, Layer):
    """A full matrix.  C: ``src/connected_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("connected", "conn")
    channels: ClassVar[Channels] = "weighted"

    output: int = option(1, at_least=1)
    activation: str = activation_option(of_weights)
    batch_normalize: int = option(0)

    def out_shape(self, xs: Shapes) -> Shape:
        """Return ``output`` channels of one pixel."""
        return Shape(self.output)

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Biases, weights, then batch norm's parameters: not the order of a convolution."""
        norm = batch_norm_params(self.output, stored=not self.dontloadscales)
        return (
            Param("biases", (self.output,)),
            Param(
                "weights",
                (self.output, xs[0].size),
                init=Uniform(math.sqrt(2.0 / xs[0].size)),
                transposed_in_legacy=True,
                by_channel=True,
            ),
            *(norm if self.batch_normalize else ()),
        )

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Multiply, add, activate."""
        affines = self.affines(p, context.dialect)
        folded = self.absorb(p, affines) if affines and not context.exact else None
        weights, biases = (folded or p)["weights"], (folded or p)["biases"]
        normalised = bool(affines) and folded is None
        parts = pieces(len(weights), fitting(measured.CONNECTED_WEIGHTS, weights.shape[1]))

        def connect(xs: Sequence[F32], y: F32) -> None:
            x = xs[0].reshape(len(xs[0]), -1)
            out = y[:, :, 0, 0]

            def rows(part: slice) -> None:
                tile = x @ weights[part].T
                out[:, part] = tile if normalised else np.add(tile, biases[part], out=tile)

            workers().run(rows, parts)
            if normalised:
                norm = context.before_norm(out, p)
                forward_batchnorm_layer(out, norm, train=False, dialect=context.dialect, out=out)
            activate_array(y, self.activation, out=y)

        return connect

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Gemm`` over all values of an image."""
        if xs[0].h * xs[0].w != 1:
            graph.require_fixed_size("a full matrix")
        biases = [] if self.batch_normalize else [graph.parameter("biases")]
        weights = graph.parameter("weights")
        x = values[0] if xs[0].flat else graph.add("Flatten", values[0], axis=1)
        y = graph.add("Gemm", x, weights, *biases, transB=1)
        if self.batch_normalize:
            y = normalised(graph, y, p, graph.dialect.rolling_keep_connected)
        return graph.reshape(activated(graph, y, self.activation), self.output, 1, 1)

    def learns(self, dialect: Dialect) -> bool:
        """Return False for AlexeyAB's CPU code, which never updates it."""
        return dialect.connected_learns

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Multiply, normalise or add the biases, activate.

        C: ``forward_connected_layer`` and ``backward_connected_layer``.
        """
        dialect = context.dialect
        x = xs[0].reshape(len(xs[0]), -1)
        z = x @ p["weights"].T
        changes: dict[str, F32] = {}
        if self.batch_normalize:
            keep = dialect.rolling_keep_connected
            z, normalised_back, changes = normalise_training(z, p, context, keep)
        else:
            z += p["biases"]
        y, activation_back = activate_training(z, self.activation, dialect)

        def back(delta_y: F32) -> Backward:
            delta = activation_back(delta_y.reshape(z.shape))
            biases = delta.sum(axis=0)
            updates = {"biases": biases}
            if self.batch_normalize:
                delta, updates = normalised_back(delta)
                updates["biases"] = biases  # in every program, unlike the biases of convolutions
            updates["weights"] = delta.T @ x
            delta_x = delta @ p["weights"] if context.wants_delta else None
            given = None if delta_x is None else delta_x.reshape(xs[0].shape)
            return Backward((given,), updates, delta.reshape(delta_y.shape))

        return Trained(y.reshape(*y.shape, 1, 1), back, changes=changes)

    def cost(self, xs: Shapes) -> Cost:
        """Count two operations per weight."""
        return Cost(2 * xs[0].size * self.output)
