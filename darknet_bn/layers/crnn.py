"""``[crnn]``: an image as the state, which convolutions carry from one time step to the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.dialect import Dialect
from darknet_bn.layers.activation import activation_option
from darknet_bn.layers.convolutional import Convolutional, check_groups
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.options import fact, option
from darknet_bn.layers.rnn import Elman
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shared.recurrent import require_same_image


@dataclass(frozen=True, kw_only=True)
class Crnn(Elman):
    """Three convolutions.  C: ``src/crnn_layer.c``.

    pjreddie's program swaps the width and height of the image: it reads the same values as rows of
    a different length.  This is reproduced.
    """

    names: ClassVar[tuple[str, ...]] = ("crnn",)

    output: int | None = option(1, original_default=None, at_least=1, extended=True)
    hidden: int = option(1, at_least=1, extended=True)
    output_filters: int = option(1, at_least=1, original=True)
    hidden_filters: int = option(1, at_least=1, original=True)
    size: int = option(3, at_least=1, extended=True)
    stride: int = option(1, at_least=1, extended=True)
    dilation: int = option(1, at_least=1, extended=True)
    pad: bool = option(False, original_default=True, extended=True)
    padding: int = option(0, at_least=0, extended=True)
    groups: int = option(1, extended=True)
    xnor: bool = option(False, extended=True)
    activation: str = activation_option("logistic", "all")
    swaps_sides: bool = fact(lambda dialect: dialect.crnn_swaps_sides)

    def check(self, dialect: Dialect) -> Iterator[tuple[str, str]]:
        """Check ``groups``."""
        return check_groups(self.groups, dialect)

    def part(self, name: str, *, hidden: bool) -> Layer:
        """Return a convolution; each program has different keys for the number of filters."""
        if self.output is None:
            filters = self.hidden_filters if hidden else self.output_filters
        else:
            filters = self.hidden if hidden else self.output
        return Convolutional(
            filters=filters,
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

    def seen(self, x: Shape) -> Shape:
        """Return the shape of the image as the program reads it."""
        return Shape(x.c, x.w, x.h) if self.swaps_sides and not x.flat else x

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the size of the image as it is read."""
        state = self.state_shape(xs[0])
        require_same_image(self.seen(xs[0]), state)
        return self.parts()[-1].layer.out_shape((state,))
