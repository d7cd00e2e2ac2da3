"""Every kind of layer, declared once each, and the table of them by section name."""

from __future__ import annotations

from darknet_bn.layers.base import Layer
from darknet_bn.layers.batchnorm import BatchNorm
from darknet_bn.layers.connected import Connected
from darknet_bn.layers.convolutional import Convolutional

KINDS: tuple[type[Layer], ...] = (
    BatchNorm,
    Connected,
    Convolutional,
)

LAYERS: dict[str, type[Layer]] = {name: kind for kind in KINDS for name in kind.names}
