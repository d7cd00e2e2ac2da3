"""``[lstm]``: long short-term memory."""

from __future__ import annotations

from abc import abstractmethod
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
from darknet_bn.layers.layer import Layer
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
class LongShortTerm(Recurrent):
    """What ``[lstm]`` and ``[conv_lstm]`` share: w for the state h, u for the input x.

    f, i and o are σ(w h + u x), g is tanh(w h + u x), each with its own w and u.  The cell becomes
    f c + i g; the state and output is o tanh(c).  With a peephole, v times the cell is added as
    well: the old cell for f and i, the new cell for o.
    """

    order: str = fact(lambda dialect: dialect.lstm_order)

    @abstractmethod
    def part(self) -> Layer:
        """Return one part; all parts have the same form."""

    def parts(self) -> tuple[Part, ...]:
        """Return w and u of every gate; their order in the file depends on the program."""
        of_state = tuple(Part(f"w{gate}", self.part(), of_state=True) for gate in self.order)
        return (*of_state, *(Part(f"u{gate}", self.part()) for gate in self.order))

    def largest_cell(self, context: InferenceContext) -> float | None:
        """Return the limit for cells between time steps; None if they are not limited."""
        return None

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Compute everything that does not depend on the state at once, then the states in turn."""
        parts = self.part_steps(xs, p, context)
        state_dims = self.state_shape(xs[0]).dims
        largest = self.largest_cell(context)

        def gate(name: str, of_input: F32, state: F32, cell: F32) -> F32:
            z = parts[f"w{name}"](state)
            z += of_input
            if f"v{name}" in parts:
                z += parts[f"v{name}"](cell)
            return activate_array(z, "tanh" if name == "g" else "logistic", out=z)

        def recur(xs: Sequence[F32], y: F32) -> None:
            of_input = {
                name: by_time(parts[f"u{name}"](xs[0]), context.time_steps) for name in self.order
            }
            out = by_time(y.reshape(len(y), *state_dims), context.time_steps)
            state, cell = (remembered(context, name, out[0]) for name in ("state", "cell"))
            for time in range(context.time_steps):
                f, i, g = (gate(name, of_input[name][time], state, cell) for name in "fig")
                cell = f * cell
                cell += np.multiply(i, g, out=g)
                o = gate("o", of_input["o"][time], state, cell)
                state = activate_array(cell, "tanh")
                state *= o
                out[time] = state
                if largest is not None:
                    np.clip(cell, -largest, largest, out=cell)
            context.state.update(state=state, cell=cell)

        return recur

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Add the gates, one time step after another, starting with a state and cell of zeros."""
        parts = self.part_graphs(graph, values[0], xs, p)
        of_input = {name: parts.by_time(f"u{name}", parts.x) for name in self.order}
        largest = self.largest_cell(InferenceContext(graph.dialect, time_steps=graph.time_steps))
        state = cell = graph.zeros_like(of_input["f"][0])
        states: list[Value] = []

        def gate(name: str, time: int) -> Value:
            z = graph.add("Add", parts[f"w{name}"](state), of_input[name][time])
            if f"v{name}" in parts:
                z = graph.add("Add", z, parts[f"v{name}"](cell))
            return activated(graph, z, "tanh" if name == "g" else "logistic")

        for time in range(graph.time_steps):
            f, i, g = (gate(name, time) for name in "fig")
            cell = graph.add("Add", graph.add("Mul", f, cell), graph.add("Mul", i, g))
            state = graph.add("Mul", gate("o", time), graph.add("Tanh", cell))
            states.append(state)
            if largest is not None:
                cell = graph.clip(cell, -largest, largest)
        y = joined_in_time(graph, states)
        if self.flat_output or graph.fixed_size:
            y = graph.reshape(y, *self.out_shape(xs).dims)
        return y

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Compute the cells in turn, starting where the last batch ended.

        C: ``forward_lstm_layer`` and ``backward_lstm_layer``; pjreddie's CPU has no backward pass.
        """
        parts = self.passes(xs, p, context)
        peeps = any(part.name == "vf" for part in self.parts())
        inference = InferenceContext(context.dialect, time_steps=context.time_steps)
        largest = self.largest_cell(inference)
        steps: list[_CellStep] = []
        state: F32 | None = None
        for x in by_time(xs[0], context.time_steps):
            sums = {name: parts.train(f"u{name}", x) for name in "fiog"}
            if state is None:
                state, cell = (kept(context, name, sums["f"]) for name in ("state", "cell"))
            for name in "fiog":
                sums[name] = sums[name] + parts.train(f"w{name}", state)
            if peeps:
                sums["f"] += parts.train("vf", cell)
                sums["i"] += parts.train("vi", cell)
            f, i = (activate_array(sums[name], "logistic") for name in "fi")
            g = activate_array(sums["g"], "tanh")
            new = f * cell + i * g
            if peeps:
                sums["o"] += parts.train("vo", new)
            o, squashed = activate_array(sums["o"], "logistic"), np.tanh(new)
            steps.append(_CellStep(cell, f, i, g, o, new, squashed))
            state = o * squashed
            cell = new if largest is None else np.clip(new, -largest, largest)
        context.state.update(state=steps[-1].o * steps[-1].squashed, cell=cell)
        y = np.concatenate([each.o * each.squashed for each in steps])

        def back(delta_y: F32) -> Backward:
            deltas = np.empty_like(xs[0])
            by_step = by_time(deltas, len(steps))
            of_state, of_cell = np.zeros_like(steps[0].cell), np.zeros_like(steps[0].cell)
            for step, delta, given in zip(
                steps[::-1], by_time(delta_y, len(steps))[::-1], by_step[::-1], strict=True
            ):
                of_state = of_state + delta.reshape(of_state.shape)
                if largest is not None:
                    of_cell = of_cell * (np.abs(step.new) < largest)
                sums = {"o": of_state * step.squashed * step.o * (1 - step.o)}
                of_cell = of_cell + of_state * step.o * (1 - step.squashed * step.squashed)
                if peeps:
                    of_cell = of_cell + parts.back("vo", sums["o"])
                sums["f"] = of_cell * step.cell * step.f * (1 - step.f)
                sums["i"] = of_cell * step.g * step.i * (1 - step.i)
                sums["g"] = of_cell * step.i * (1 - step.g * step.g)
                of_cell = of_cell * step.f
                if peeps:
                    of_cell = of_cell + parts.back("vf", sums["f"]) + parts.back("vi", sums["i"])
                below = np.add.reduce([parts.back(f"u{name}", sums[name]) for name in "fiog"])
                np.copyto(given, below.reshape(given.shape))
                of_state = np.add.reduce([parts.back(f"w{name}", sums[name]) for name in "fiog"])
            return Backward((deltas,), parts.updates)

        shaped = y.reshape(len(y), -1) if self.flat_output else y
        return Trained(shaped, back, changes=parts.changes)

    @property
    def flat_output(self) -> bool:
        """Whether the output has no image shape."""
        return False


@dataclass(frozen=True)
class _CellStep:
    """What a time step keeps for the backward pass: the previous cell, gates and new cell."""

    cell: F32
    f: F32
    i: F32
    g: F32
    o: F32
    new: F32
    squashed: F32


@dataclass(frozen=True, kw_only=True)
class Lstm(LongShortTerm):
    """Eight full matrices.  C: ``src/lstm_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("lstm",)

    output: int = option(1, at_least=1)
    flat: bool = fact(lambda dialect: dialect.recurrent_is_flat)

    def part(self) -> Layer:
        """Return a matrix."""
        return Connected(
            output=self.output, activation="linear", batch_normalize=self.batch_normalize
        )

    @property
    def flat_output(self) -> bool:
        """Whether the output has no image shape."""
        return self.flat

    def out_shape(self, xs: Shapes) -> Shape:
        """Return ``output`` values."""
        return Shape(self.output, flat=self.flat)
