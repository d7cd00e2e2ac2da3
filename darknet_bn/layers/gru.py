"""``[gru]``: gated recurrent units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import activate_array
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.options import fact, option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shared.recurrent import (
    Part,
    Recurrent,
    by_time,
    joined_in_time,
    kept,
    remembered,
)


@dataclass(frozen=True, kw_only=True)
class Gru(Recurrent):
    """Six full matrices: w for the state, u for the input.  C: ``src/gru_layer.c``.

    z = σ(wz h + uz x), r = σ(wr h + ur x), n = a(wh (r h) + uh x), and the new state and output is
    z h + (1 - z) n.  The activation a is σ, the logistic function; it is tanh only in pjreddie's
    program with ``tanh=1``.
    """

    names: ClassVar[tuple[str, ...]] = ("gru",)

    output: int = option(1, at_least=1)
    tanh: bool = option(False, original=True)
    state_first: bool = fact(lambda dialect: dialect.gru_state_first)

    def parts(self) -> tuple[Part, ...]:
        """Return the matrices; their order in the file depends on the program."""
        matrix = Connected(
            output=self.output, activation="linear", batch_normalize=self.batch_normalize
        )
        of_state = tuple(Part(f"w{gate}", matrix, of_state=True) for gate in "zrh")
        of_input = tuple(Part(f"u{gate}", matrix) for gate in "zrh")
        return of_state + of_input if self.state_first else of_input + of_state

    def out_shape(self, xs: Shapes) -> Shape:
        """Return ``output`` values, without an image shape."""
        return Shape(self.output, flat=True)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Compute everything that does not depend on the state at once, then the states in turn."""
        parts = self.part_steps(xs, p, context)

        def gate(name: str, state: F32, of_input: F32, activation: str) -> F32:
            z = parts[name](state)
            z += of_input
            return activate_array(z, activation, out=z)

        def recur(xs: Sequence[F32], y: F32) -> None:
            zs, rs, hs = (
                by_time(parts[name](xs[0]), context.time_steps) for name in ("uz", "ur", "uh")
            )
            state = remembered(context, "state", zs[0])
            for z, r, h, out in zip(zs, rs, hs, by_time(y, context.time_steps), strict=True):
                keep = gate("wz", state, z, "logistic")
                reset = gate("wr", state, r, "logistic")
                reset *= state
                new = gate("wh", reset, h, "tanh" if self.tanh else "logistic")
                state = keep * state
                new *= np.float32(1) - keep
                state += new
                out[...] = state.reshape(out.shape)
            context.state["state"] = state

        return recur

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Add the gates, one time step after another, starting with a state of zeros."""
        parts = self.part_graphs(graph, values[0], xs, p)
        of_input = (parts.by_time(name, parts.x) for name in ("uz", "ur", "uh"))
        states: list[Value] = []

        def gate(name: str, state: Value, value: Value, activation: str) -> Value:
            return activated(graph, graph.add("Add", parts[name](state), value), activation)

        for z, r, h in zip(*of_input, strict=True):
            state = states[-1] if states else graph.zeros_like(z)
            keep = gate("wz", state, z, "logistic")
            reset = graph.add("Mul", gate("wr", state, r, "logistic"), state)
            new = gate("wh", reset, h, "tanh" if self.tanh else "logistic")
            rest = graph.add("Sub", graph.number("one", 1), keep)
            kept = graph.add("Mul", keep, state)
            states.append(graph.add("Add", kept, graph.add("Mul", new, rest)))
        return graph.reshape(joined_in_time(graph, states), self.output)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Compute the states in turn, starting where the last batch ended.

        The backward pass goes through the time steps of this batch; in C it is empty on the CPU.
        """
        parts = self.passes(xs, p, context)
        steps: list[_GruStep] = []
        state: F32 | None = None
        for x in by_time(xs[0], context.time_steps):
            of_input = [parts.train(name, x) for name in ("uz", "ur", "uh")]
            if state is None:
                state = kept(context, "state", of_input[0])
            z = _logistic(parts.train("wz", state) + of_input[0])
            r = _logistic(parts.train("wr", state) + of_input[1])
            inner = parts.train("wh", r * state) + of_input[2]
            new = activate_array(inner, "tanh" if self.tanh else "logistic")
            steps.append(_GruStep(state, z, r, new))
            state = z * state + (1 - z) * new
        y = np.concatenate([each.after for each in steps]).reshape(len(xs[0]), -1)
        context.state["state"] = steps[-1].after

        def back(delta_y: F32) -> Backward:
            deltas = np.empty_like(xs[0])
            by_step = by_time(deltas, len(steps))
            later = np.zeros_like(steps[0].state)
            for step, delta, given in zip(
                steps[::-1], by_time(delta_y, len(steps))[::-1], by_step[::-1], strict=True
            ):
                later = later + delta.reshape(later.shape)
                slope = 1 - step.new * step.new if self.tanh else step.new * (1 - step.new)
                of_new = later * (1 - step.z) * slope
                of_z = later * (step.state - step.new) * step.z * (1 - step.z)
                of_reset = parts.back("wh", of_new)
                of_r = of_reset * step.state * step.r * (1 - step.r)
                below = parts.back("uh", of_new) + parts.back("ur", of_r) + parts.back("uz", of_z)
                np.copyto(given, below.reshape(given.shape))
                later = later * step.z + of_reset * step.r
                later = later + parts.back("wr", of_r) + parts.back("wz", of_z)
            return Backward((deltas,), parts.updates)

        return Trained(y, back, changes=parts.changes)


@dataclass(frozen=True)
class _GruStep:
    """What a time step keeps for the backward pass: the previous state, gates and new values."""

    state: F32
    z: F32
    r: F32
    new: F32

    @property
    def after(self) -> F32:
        """The state after this step."""
        return self.z * self.state + (1 - self.z) * self.new


def _logistic(x: F32) -> F32:
    return activate_array(x, "logistic")
