"""``[empty]``: does nothing, but shifts the numbers of the layers after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.layers.shared.alias import Alias


@dataclass(frozen=True, kw_only=True)
class Empty(Alias):
    """Leave the input as it is.  C: ``parse_network_cfg_custom`` in AlexeyAB's ``src/parser.c``."""

    names: ClassVar[tuple[str, ...]] = ("empty", "silence")
    extended: ClassVar[bool] = True
