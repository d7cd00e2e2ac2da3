"""What layers have in common that read some filters for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.layers.layer import Layer
from darknet_bn.layers.options import option


@dataclass(frozen=True, kw_only=True)
class PerClass(Layer):
    """A layer for classes, whose number decides how many filters the previous layer needs."""

    is_end: ClassVar[bool] = True

    classes: int = option(20, at_least=0)

    def filters_per_class(self) -> int:
        """Return how many more filters the previous layer needs for one more class; 0 for none."""
        return 0


def per_class(layer: Layer) -> PerClass | None:
    """Return the layer itself if it is a layer for classes, otherwise None."""
    return layer if isinstance(layer, PerClass) else None
