"""``[gru]``: gated recurrent units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.kernels.activations import activate_array
from darknet_bn.layers.base import Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.options import fact, option
from darknet_bn.layers.recurrent import Part, Recurrent, by_time, remembered


@dataclass(frozen=True, kw_only=True)
class Gru(Recurrent):
    """Six full matrices: w on the state, u on the input.  C: ``src/gru_layer.c``.

    z = σ(wz h + uz x), r = σ(wr h + ur x), n = a(wh (r h) + uh x), and the new state and output is
    z h + (1 - z) n.  The activation a is σ, the logistic function; tanh only in pjreddie's with
    ``tanh=1``.
    """

    names: ClassVar[tuple[str, ...]] = ("gru",)

    output: int = option(1, at_least=1)
    tanh: bool = option(False, original=True)
    state_first: bool = fact(lambda dialect: dialect.gru_state_first)

    def parts(self) -> tuple[Part, ...]:
        """Return the matrices; their order in the file is another in each program."""
        matrix = Connected(
            output=self.output, activation="linear", batch_normalize=self.batch_normalize
        )
        of_state = tuple(Part(f"w{gate}", matrix, of_state=True) for gate in "zrh")
        of_input = tuple(Part(f"u{gate}", matrix) for gate in "zrh")
        return of_state + of_input if self.state_first else of_input + of_state

    def out_shape(self, xs: Shapes) -> Shape:
        """Give ``output`` values, without image shape."""
        return Shape(self.output, flat=True)

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Make all that does not depend on the state at once, the states one by one."""
        parts = self.part_steps(xs, p, setting)

        def gate(name: str, state: F32, of_input: F32, activation: str) -> F32:
            z = parts[name](state)
            z += of_input
            return activate_array(z, activation, out=z)

        def recur(xs: Sequence[F32], y: F32) -> None:
            zs, rs, hs = (
                by_time(parts[name](xs[0]), setting.time_steps) for name in ("uz", "ur", "uh")
            )
            state = remembered(setting, "state", zs[0])
            for z, r, h, out in zip(zs, rs, hs, by_time(y, setting.time_steps), strict=True):
                keep = gate("wz", state, z, "logistic")
                reset = gate("wr", state, r, "logistic")
                reset *= state
                new = gate("wh", reset, h, "tanh" if self.tanh else "logistic")
                state = keep * state
                new *= np.float32(1) - keep
                state += new
                out[...] = state.reshape(out.shape)
            setting.state["state"] = state

        return recur
