"""What the layers have in common that read some filters for each class."""

from __future__ import annotations

from dataclasses import dataclass

from darknet_bn.layers.layer import Layer
from darknet_bn.layers.options import option


@dataclass(frozen=True, kw_only=True)
class PerClass(Layer):
    """A layer of classes, whose number decides how many filters the layer before has."""

    classes: int = option(20, at_least=0)

    def filters_per_class(self) -> int:
        """Return how many filters of the layer before one class more would need; 0: none."""
        return 0


def per_class(layer: Layer) -> PerClass | None:
    """Return a layer itself, if it is one of classes."""
    return layer if isinstance(layer, PerClass) else None
