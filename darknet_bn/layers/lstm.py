"""``[lstm]``: long short-term memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import activate_array
from darknet_bn.layers.base import Layer, Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.options import fact, option
from darknet_bn.layers.recurrent import Part, Recurrent, by_time, remembered


@dataclass(frozen=True, kw_only=True)
class LongShortTerm(Recurrent):
    """What ``[lstm]`` and ``[conv_lstm]`` have in common: w on the state h, u on the input x.

    f, i and o are σ(w h + u x), g is tanh(w h + u x), each with its own w and u.  The cell becomes
    f c + i g; the state and output is o tanh(c).  With a peephole, v on the cell is added too: on
    the old one to f and i, on the new one to o.
    """

    order: str = fact(lambda dialect: dialect.lstm_order)

    @abstractmethod
    def part(self) -> Layer:
        """Return a part; all are alike."""

    def parts(self) -> tuple[Part, ...]:
        """Return w and u of every gate; their order in the file is another in each program."""
        of_state = tuple(Part(f"w{gate}", self.part(), of_state=True) for gate in self.order)
        return (*of_state, *(Part(f"u{gate}", self.part()) for gate in self.order))

    def largest_cell(self, setting: Setting) -> float | None:
        """Return what cells are held to from one time step to the next; None where they are not."""
        return None

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Make all that does not depend on the state at once, the states one by one."""
        parts = self.part_steps(xs, p, setting)
        state_dims = self.state_shape(xs[0]).dims
        largest = self.largest_cell(setting)

        def gate(name: str, of_input: F32, state: F32, cell: F32) -> F32:
            z = parts[f"w{name}"](state)
            z += of_input
            if f"v{name}" in parts:
                z += parts[f"v{name}"](cell)
            return activate_array(z, "tanh" if name == "g" else "logistic", out=z)

        def recur(xs: Sequence[F32], y: F32) -> None:
            of_input = {
                name: by_time(parts[f"u{name}"](xs[0]), setting.time_steps) for name in self.order
            }
            out = by_time(y.reshape(len(y), *state_dims), setting.time_steps)
            state, cell = (remembered(setting, name, out[0]) for name in ("state", "cell"))
            for time in range(setting.time_steps):
                f, i, g = (gate(name, of_input[name][time], state, cell) for name in "fig")
                cell = f * cell
                cell += np.multiply(i, g, out=g)
                o = gate("o", of_input["o"][time], state, cell)
                state = activate_array(cell, "tanh")
                state *= o
                out[time] = state
                if largest is not None:
                    np.clip(cell, -largest, largest, out=cell)
            setting.state.update(state=state, cell=cell)

        return recur


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

    def out_shape(self, xs: Shapes) -> Shape:
        """Give ``output`` values."""
        return Shape(self.output, flat=self.flat)
