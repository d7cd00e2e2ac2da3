"""``[conv_lstm]``: long short-term memory of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.dialect import Dialect
from darknet_bn.errors import ShapeError, Where
from darknet_bn.layers.activation import activation_option
from darknet_bn.layers.convolutional import Convolutional, check_groups
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.lstm import LongShortTerm
from darknet_bn.layers.options import option
from darknet_bn.layers.passes import InferenceContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shared.recurrent import Part, require_same_image


@dataclass(frozen=True, kw_only=True)
class ConvLstm(LongShortTerm):
    """Eight convolutions, eleven with a peephole.  C: ``src/conv_lstm_layer.c``.

    Options that work only on the GPU are read but have no effect: ``shortcut``,
    ``lstm_activation``.  C replaces NaN and infinity by other numbers; this layer keeps them.
    """

    names: ClassVar[tuple[str, ...]] = ("conv_lstm",)
    extended: ClassVar[bool] = True

    output: int = option(1, at_least=1)
    size: int = option(3, at_least=1)
    stride: int = option(1, at_least=1)
    dilation: int = option(1, at_least=1)
    pad: bool = option(False)
    padding: int = option(0, at_least=0)
    groups: int = option(1)
    activation: str = activation_option("linear", "all")
    xnor: bool = option(False)
    peephole: bool = option(False)
    bottleneck: bool = option(False)
    state_constrain: int | None = option(None)
    shortcut: bool = option(False)
    lstm_activation: str = activation_option("tanh")
    time_normalizer: float = option(1.0)

    def check(self, dialect: Dialect) -> Iterator[tuple[str, str]]:
        """Check ``groups``."""
        return check_groups(self.groups, dialect)

    def part(self) -> Layer:
        """Return a convolution."""
        return Convolutional(
            filters=self.output,
            size=self.size,
            stride=self.stride,
            dilation=self.dilation,
            pad=self.pad,
            padding=self.padding,
            groups=self.groups,
            xnor=self.xnor,
            activation=self.activation,
            batch_normalize=self.batch_normalize,
        )

    def parts(self) -> tuple[Part, ...]:
        """Return the parts of the peephole, then w, then u."""
        through = "fio" if self.peephole else ""
        return (
            *(Part(f"v{gate}", self.part(), of_state=True) for gate in through),
            *super().parts(),
        )

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the size of the image."""
        if self.bottleneck:
            raise ShapeError(
                "a bottleneck, which Darknet supports on the GPU only, is not supported yet",
                where=Where(key="bottleneck"),
            )
        state = self.state_shape(xs[0])
        require_same_image(xs[0], state)
        return state

    def largest_cell(self, context: InferenceContext) -> float | None:
        """Return ``state_constrain``: 32 per time step if it is not set; 0 means no limit."""
        largest = self.state_constrain
        return float(context.time_steps * 32 if largest is None else largest) or None
