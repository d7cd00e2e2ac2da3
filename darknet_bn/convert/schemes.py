"""How programs name the arrays of a Darknet model.

=============== ============================================ ===============================
scheme          weights and biases of a convolution          its batch norm
=============== ============================================ ===============================
darknet         layer_000.weights, layer_000.biases          layer_000.scales, …rolling_mean
ultralytics     module_list.0.Conv2d.weight                  module_list.0.BatchNorm2d.weight
eriklindernoren module_list.0.conv_0.weight                  module_list.0.batch_norm_0.weight
tianxiaomo      models.0.conv1.weight                        models.0.bn1.weight
=============== ============================================ ===============================

The last three are ports of Darknet to PyTorch; WongKinYiu's port uses the names of ultralytics.
The number after ``conv`` and ``bn`` of tianxiaomo counts the convolutional sections from 1.  With
batch norm the biases are the ``bias`` of the batch norm, because Darknet adds them after it.
Arrays that a port has no name for keep the name of the scheme ``darknet``, so that nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from darknet_bn.model.network import Network, Node

_BATCH_NORM = {
    "biases": "bias",
    "scales": "weight",
    "rolling_mean": "running_mean",
    "rolling_variance": "running_var",
}


class ArrayPlace(NamedTuple):
    """The place of an array: the number of the layer, and Darknet's name of the parameter."""

    layer: int
    name: str


@dataclass(frozen=True)
class NamingScheme:
    """How one program names the arrays of a model.

    Attributes
    ----------
    name : str
    convolution, batch_norm : str or None
        The part of a key before ``.weight`` and the like, with ``{layer}`` for the number of the
        layer and ``{nth}`` for its number among the convolutional ones, from 1.  None in Darknet's
        own scheme.
    passed_over : str
        A pattern of keys whose arrays a ``.weights`` file does not hold.
    """

    name: str
    convolution: str | None = None
    batch_norm: str | None = None
    passed_over: str = r"(?!)"

    def places(self, network: Network) -> Mapping[str, ArrayPlace]:
        """Return the place of every array of a network, by its key, in the file's order."""
        places: dict[str, ArrayPlace] = {}
        nth = 0
        for layer, node in enumerate(network.nodes):
            nth += _is_convolution(node)
            if node.owner == layer:
                for param in node.params:
                    places[self._key(node, layer, nth, param.name)] = ArrayPlace(layer, param.name)
        return places

    def counters(self, network: Network) -> tuple[str, ...]:
        """Return the keys of the counters that PyTorch's batch norm has besides its arrays."""
        if self.batch_norm is None:
            return ()
        return tuple(
            f"{key.rpartition('.')[0]}.num_batches_tracked"
            for key, place in self.places(network).items()
            if place.name == "rolling_mean" and key.endswith(".running_mean")
        )

    def passes_over(self, key: str) -> bool:
        """Whether the array of a key does not belong to the model."""
        return re.fullmatch(self.passed_over, key) is not None

    def _key(self, node: Node, layer: int, nth: int, name: str) -> str:
        if self.convolution is None or self.batch_norm is None or not _is_convolution(node):
            return f"layer_{layer:03d}.{name}"
        convolution = self.convolution.format(layer=layer, nth=nth)
        if name == "weights":
            return f"{convolution}.weight"
        if any(param.name == "scales" for param in node.params):
            return f"{self.batch_norm.format(layer=layer, nth=nth)}.{_BATCH_NORM[name]}"
        return f"{convolution}.bias"


def _is_convolution(node: Node) -> bool:
    return node.layer.names[0] == "convolutional"


_COUNTER = r".*\.num_batches_tracked"

SCHEMES: Mapping[str, NamingScheme] = {
    scheme.name: scheme
    for scheme in (
        NamingScheme("darknet"),
        NamingScheme(
            "ultralytics",
            "module_list.{layer}.Conv2d",
            "module_list.{layer}.BatchNorm2d",
            _COUNTER,
        ),
        NamingScheme(
            "eriklindernoren",
            "module_list.{layer}.conv_{layer}",
            "module_list.{layer}.batch_norm_{layer}",
            rf"{_COUNTER}|module_list\.\d+\.yolo_\d+\.(anchors|anchor_grid)",
        ),
        NamingScheme("tianxiaomo", "models.{layer}.conv{nth}", "models.{layer}.bn{nth}", _COUNTER),
    )
}


def detect_scheme(keys: Collection[str], network: Network) -> NamingScheme | None:
    """Return the scheme that most of the keys follow, or None if they follow none."""
    found = set(keys)
    counts = {
        name: len(found.intersection(scheme.places(network))) for name, scheme in SCHEMES.items()
    }
    best = max(counts, key=counts.__getitem__)  # the first, if several are equal
    return SCHEMES[best] if counts[best] else None
