"""``[dropout]``: zeros at random places in training; nothing in inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.layer import Channels
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Trained, TrainingContext
from darknet_bn.layers.shape import Shapes
from darknet_bn.layers.shared.alias import Alias


@dataclass(frozen=True, kw_only=True)
class Dropout(Alias):
    """Leave the input as it is: training scales up what it keeps.  C: ``src/dropout_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("dropout",)
    channels: ClassVar[Channels] = "kept"

    probability: float = option(lambda dialect: dialect.dropout_probability)
    dropblock: bool = option(False, extended=True)
    dropblock_size_rel: float = option(0.0, extended=True)
    dropblock_size_abs: int = option(0, extended=True)

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Nothing, unless it is for training."""
        if graph.trains:
            return graph.add("Dropout", values[0], ratio=self.probability)
        return values[0]

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Drop some values at random, and scale up the others.

        C: ``forward_dropout_layer``, which drops values in the output of the layer before, so that
        other readers of that output also see the zeros; here they do not.  ``dropblock`` works only
        on the GPU in C, so here it is plain dropout, as on its CPU.
        """
        dtype = xs[0].dtype
        drops = context.rng.random(xs[0].shape, np.float32) < self.probability
        factor = 1 / (1 - self.probability) if self.probability < 1 else 0.0
        mask = np.where(drops, dtype.type(0), dtype.type(factor))
        return Trained(xs[0] * mask, lambda delta: Backward((delta * mask,)))

    def size_text(self) -> str:
        """``p = probability``."""
        return f"p = {self.probability:.2f}"
