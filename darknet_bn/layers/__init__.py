"""Every kind of layer, declared once each, and the table of them by section name."""

from __future__ import annotations

from darknet_bn.layers.base import Layer

KINDS: tuple[type[Layer], ...] = ()

LAYERS: dict[str, type[Layer]] = {name: kind for kind in KINDS for name in kind.names}
