"""Which pixels of its input a value of a layer depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shapes


@dataclass(frozen=True)
class Reach:
    """Which pixels of its input a value of a layer depends on, vertically and horizontally.

    Attributes
    ----------
    more : (float, float)
        How many pixels beyond one.
    step : (float, float)
        How many pixels further those of the next value begin.
    """

    more: tuple[float, float]
    step: tuple[float, float]


@runtime_checkable
class Reaching(Protocol):
    """A layer that does not only look at the pixel in the same place."""

    def reach(self, xs: Shapes) -> Reach | None: ...  # noqa: D102


def reach_of(layer: Layer, xs: Shapes) -> Reach | None:
    """Return which pixels of the inputs a value depends on; None if it is all of them.

    Without a method ``reach`` a layer looks at the same place only, whatever its size is then.
    """
    if layer.recurrent:
        return None
    if isinstance(layer, Reaching):
        return layer.reach(xs)
    x, y = xs[0], layer.out_shape(xs)
    if x.flat or y.flat:
        return None
    return Reach((0.0, 0.0), (x.h / y.h, x.w / y.w))
