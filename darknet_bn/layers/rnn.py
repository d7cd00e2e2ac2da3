"""``[rnn]``: a state that is added to the input at every time step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.activation import activation_option
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.options import fact, option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shared.recurrent import Part, Recurrent, by_time, remembered

_OF_STATE = {1: "logistic", 2: "loggy"}


@dataclass(frozen=True, kw_only=True)
class Elman(Recurrent):
    """What ``[rnn]`` and ``[crnn]`` share: three parts, each with its own activation.

    The state s of a time step is input(x) + self(previous s), plus the previous s itself with a
    shortcut; the output is output(s).
    """

    shortcut: bool = option(False)

    @abstractmethod
    def part(self, name: str, *, hidden: bool) -> Layer:
        """Return a part; it computes the state or the output."""

    def parts(self) -> tuple[Part, ...]:
        """Return the parts input, self and output."""
        return (
            Part("input", self.part("input", hidden=True)),
            Part("self", self.part("self", hidden=True), of_state=True),
            Part("output", self.part("output", hidden=False), of_state=True),
        )

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Compute everything that does not depend on the state at once, then the states in turn."""
        parts = self.part_steps(xs, p, context)

        def recur(xs: Sequence[F32], y: F32) -> None:
            states = parts["input"](xs[0])
            by_step = by_time(states, context.time_steps)
            before = remembered(context, "state", by_step[0])
            for state in by_step:
                own = parts["self"](before)
                if self.shortcut:
                    state += before
                state += own
                before = state
            context.state["state"] = before.copy()
            parts["output"](states, y)

        return recur

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Add the parts, one time step after another, starting with a state of zeros."""
        parts = self.part_graphs(graph, values[0], xs, p)
        states: list[Value] = []
        for state in parts.by_time("input", parts.x):
            before = states[-1] if states else graph.zeros_like(state)
            own = parts["self"](before)
            if self.shortcut:
                state = graph.add("Add", state, before)
            states.append(graph.add("Add", state, own))
        y = parts.joined("output", states)
        if self.flat_output or graph.fixed_size:
            y = graph.reshape(y, *self.out_shape(xs).dims)
        return y

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Compute the states in turn, starting with zeros; the backward pass goes through time.

        C: ``forward_rnn_layer`` and ``backward_rnn_layer``, and their counterparts for crnn.  On
        the CPU, these give the input part, and a shortcut, the delta that has already gone back
        through the activation and batch norm of the self part; and if convolutions overwrite
        deltas, nothing comes from later steps.  Other mistakes in them are not reproduced: with
        batch norm they go backward through every step with the statistics of the last one; with a
        shortcut they update the output part as if its input did not include the shortcut.
        """
        parts = self.passes(xs, p, context)
        outputs: list[F32] = []
        before: F32 | None = None
        for x in by_time(xs[0], context.time_steps):
            state = parts.train("input", x).copy()
            before = np.zeros_like(state) if before is None else before
            state += parts.train("self", before).reshape(state.shape)
            if self.shortcut:
                state += before
            outputs.append(parts.train("output", state))
            before = state
        y = np.concatenate(outputs)
        if self.flat_output:
            y = y.reshape(len(y), -1)

        def back(delta_y: F32) -> Backward:
            deltas = np.empty_like(xs[0])
            left: list[F32] = []
            later: F32 | None = None
            overwrites = False
            by_step = by_time(delta_y, context.time_steps)
            for delta, given in zip(
                by_step[::-1], by_time(deltas, len(by_step))[::-1], strict=True
            ):
                of_state, of_output, replaces = parts.give_back(
                    "output", delta.reshape(outputs[0].shape)
                )
                left.append(of_output)
                if later is not None and not replaces:
                    of_state += later
                later, of_self, _ = parts.give_back("self", of_state)
                passed = of_state if context.dialect.exact_gradients else of_self
                of_input, _, overwrites = parts.give_back("input", passed)
                np.copyto(given, of_input.reshape(given.shape))
                if self.shortcut:
                    later += passed.reshape(later.shape)
            own = np.concatenate(left[::-1]).reshape(delta_y.shape)
            return Backward((deltas,), parts.updates, own, overwrites)

        return Trained(y, back, changes=parts.changes)

    @property
    def flat_output(self) -> bool:
        """Whether the output has no image shape."""
        return False


@dataclass(frozen=True, kw_only=True)
class Rnn(Elman):
    """Three full matrices.  C: ``src/rnn_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("rnn",)

    output: int = option(1, at_least=1)
    hidden: int | None = option(1, original_default=None, at_least=1, extended=True, stray=True)
    activation: str = activation_option("logistic")
    logistic: int = option(0, extended=True)
    flat: bool = fact(lambda dialect: dialect.recurrent_is_flat)

    def part(self, name: str, *, hidden: bool) -> Layer:
        """Return a matrix; in pjreddie's program the state is as long as the output."""
        own = _OF_STATE.get(self.logistic) if name == "self" else None
        return Connected(
            output=self.hidden if hidden and self.hidden is not None else self.output,
            activation=own or self.activation,
            batch_normalize=self.batch_normalize,
        )

    @property
    def flat_output(self) -> bool:
        """Whether the output has no image shape."""
        return self.flat

    def out_shape(self, xs: Shapes) -> Shape:
        """Return ``output`` values."""
        return Shape(self.output, flat=self.flat)
