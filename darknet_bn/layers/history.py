"""``[history]``: earlier images as additional channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.options import fact, option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import image
from darknet_bn.layers.shared.recurrent import by_time, joined_in_time, kept, remembered


@dataclass(frozen=True, kw_only=True)
class History(Layer):
    """An image and the images before it in the sequence, newest first; zeros before the first.

    C: ``src/history_layer.c``.  With ``time_steps=1`` the layer remembers nothing, which is
    reproduced; with several images C copies the channels into each other, which is not.
    """

    names: ClassVar[tuple[str, ...]] = ("history",)
    extended: ClassVar[bool] = True
    recurrent: ClassVar[bool] = True

    history_size: int = option(4, at_least=1)
    needs_steps: bool = fact(lambda dialect: dialect.history_needs_steps)

    def out_shape(self, xs: Shapes) -> Shape:
        """Multiply the channels by ``history_size``."""
        x = image(xs[0])
        return Shape(x.c * self.history_size, x.h, x.w)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Put each image before the images remembered from the previous time step."""
        new, old = xs[0].c, xs[0].c * (self.history_size - 1)
        forgets = self.needs_steps and context.time_steps == 1

        def shift(xs: Sequence[F32], y: F32) -> None:
            out = by_time(y, context.time_steps)
            before = remembered(context, "output", out[0])
            for now, x in zip(out, by_time(xs[0], context.time_steps), strict=True):
                now[:, :new] = x
                now[:, new:] = before[:, :old]
                before = now
            if not forgets:
                context.state["output"] = before.copy()

        return shift

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Concat`` with what is kept from the previous time step."""
        old = xs[0].c * (self.history_size - 1)
        shown: list[Value] = []
        if not old:
            return values[0]
        for x in graph.by_time(values[0]):
            if shown:
                before = graph.slice(shown[-1], 1, 0, old)
            else:
                zeros = graph.zeros_like(x)
                before = graph.add("Concat", *[zeros] * (self.history_size - 1), axis=1)
            shown.append(graph.add("Concat", x, before, axis=1))
        return joined_in_time(graph, shown)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Put each image before the earlier images; images older than the batch are constant."""
        x, steps = xs[0], context.time_steps
        new = x.shape[1]
        y = np.empty((len(x), new * self.history_size, *x.shape[2:]), x.dtype)
        memory = {"output": kept(context, "output", by_time(y, steps)[0])}
        inference = InferenceContext(context.dialect, time_steps=steps, state=memory)
        self.infer((Shape.of(x),), p, inference)([x], y)
        context.state.update(memory)

        def back(delta: F32) -> Backward:
            by_step = by_time(delta, steps)
            for before, now in zip(by_step[-2::-1], by_step[:0:-1], strict=True):
                before[:, : delta.shape[1] - new] += now[:, new:]
            return Backward((np.ascontiguousarray(delta[:, :new]),))

        return Trained(y, back)
