"""``[dropout]``: in training, zeros at random places; in inference, nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darknet_bn.layers.alias import Alias
from darknet_bn.layers.options import option


@dataclass(frozen=True, kw_only=True)
class Dropout(Alias):
    """Leave the input as it is: training scales up what it keeps.  C: ``src/dropout_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("dropout",)

    probability: float = option(lambda dialect: dialect.dropout_probability)
    dropblock: bool = option(False, extended=True)
    dropblock_size_rel: float = option(0.0, extended=True)
    dropblock_size_abs: int = option(0, extended=True)

    def size_text(self) -> str:
        """``p = probability``."""
        return f"p = {self.probability:.2f}"
