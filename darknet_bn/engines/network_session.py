"""What all sessions do before and after their program runs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError
from darknet_bn.model.network import Network
from darknet_bn.run.run import as_input, layer_numbers
from darknet_bn.run.session import Session
from darknet_bn.values import brief, counted


class NetworkSession(Session):
    """A session that knows the network: a subclass only has to run it.

    Attributes
    ----------
    network : Network
    """

    network: Network

    def __repr__(self) -> str:
        """Return one line about it."""
        shown = f"{len(self.layers)} of {counted(len(self.network.nodes), 'layer')}"
        return brief(self, f"in {self.engine}: {shown}, input {self.network.input}")

    @abstractmethod
    def run(self, x: F32, layers: Sequence[int]) -> Mapping[int, npt.ArrayLike]:
        """Compute the outputs of layers that it shows, for an input (n, *shape) that fits."""

    def forward(
        self, x: npt.ArrayLike, layers: Literal["outputs", "all"] | Iterable[int] = "outputs"
    ) -> dict[int, F32]:
        """Compute the outputs of layers."""
        array = as_input(self.network, x)
        everything = isinstance(layers, str) and layers == "all"
        wanted = self.layers if everything else layer_numbers(self.network, layers)
        for layer in wanted:
            if layer not in self.layers:
                raise DarknetError(f"{self.engine} does not show the output of layer {layer}")
        found = self.run(array, wanted)
        nodes = self.network.nodes
        return {
            layer: _shaped(found[layer], (len(array), *nodes[layer].y.dims)) for layer in wanted
        }


def _shaped(found: npt.ArrayLike, shape: tuple[int, ...]) -> F32:
    """Return an engine's output as the caller's own, in this shape if the number of values fits."""
    array = np.require(found, np.float32, ("C", "W"))
    return array.reshape(shape) if array.size == math.prod(shape) else array
