"""Which channels of a network belong together, so that they can only be removed together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darknet_bn.model.network import Network, Node

Groups = npt.NDArray[np.intp]

# Options with which the channels of a layer depend on each other, or its weights on others'.
_MIXING = ("xnor", "binary", "antialiasing", "assisted_excitation", "maxpool_depth", "coordconv")


@dataclass(frozen=True)
class Tied:
    """Groups of channels of all layers that can only be removed together.

    Attributes
    ----------
    of : mapping from layer number to int array (c,)
        The group of each channel of its output; -1 is the input of the network.
    makers : tuple of int
        The layers with batch norm that compute channels, which can be removed there.
    by_channel : frozenset of int
        Those whose convolution has a group for each channel.
    fixed : mapping from int to str
        The groups that may not be removed, and why.
    """

    of: Mapping[int, Groups]
    makers: tuple[int, ...]
    by_channel: frozenset[int]
    fixed: Mapping[int, str]


def readers_of(network: Network) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield each layer that has a weight for each channel of what it reads, and what that is."""
    for index, node in enumerate(network.nodes):
        if node.layer.channels == "weighted" and len(node.sources) == 1:
            yield index, node.sources


def padded_border(node: Node) -> tuple[int, int]:
    """Return how many rows and columns at an edge of an output have windows that leave the image.

    These windows read zeros outside it.  Without padding there are some too, if dilation or a small
    image makes a window end outside.

    Parameters
    ----------
    node : Node
        With weights for each channel.

    Returns
    -------
    rows, columns : int
        At the edge that has more of them.
    """
    value, x, y = node.layer.value, node.xs[0], node.y
    size = value("size", 0)
    if not size or x.flat:
        return 0, 0
    blur = 1 if value("antialiasing") else 0  # how far it spreads what a window has read
    dilation = value("dilation", 1) if size > 1 else 1
    padding = (size // 2 if value("pad") else value("padding", 0)) * dilation
    first, last = padding + blur, (size - 1) * dilation - padding + blur
    stride = value("stride", 1)
    down, across = (value(f"stride_{each}") or stride for each in "yx")
    return (
        _windows_outside(x.h, y.h, down, first, last),
        _windows_outside(x.w, y.w, across, first, last),
    )


def _windows_outside(length: int, count: int, stride: int, first: int, last: int) -> int:
    """Return at how many places windows from ``-first`` to ``last`` leave an image at one edge."""
    places = np.arange(count) * stride
    before, after = places < first, places + last >= length
    return int(max(before.sum(), after.sum()))


def tied_channels(network: Network) -> Tied:
    """Find which channels belong together.

    Parameters
    ----------
    network : Network

    Returns
    -------
    tied : Tied
    """
    walk = _Walk(network)
    for index in range(len(network.nodes)):
        walk.add(index)
    for index in network.outputs:
        walk.fix(index, f"layer {index} is an output")
    fixed: dict[int, str] = {}
    for atom, reason in walk.fixed.items():
        fixed.setdefault(walk.root(atom), reason)
    roots = {
        layer: np.array([walk.root(atom) for atom in atoms.tolist()], np.intp)
        for layer, atoms in walk.of.items()
    }
    return Tied(roots, tuple(walk.makers), frozenset(walk.by_channel), fixed)


class _Walk:
    """Gives each channel a number, and joins numbers that belong together."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.of: dict[int, Groups] = {}
        self.makers: list[int] = []
        self.by_channel: set[int] = set()
        self.fixed: dict[int, str] = {}
        self._parent: list[int] = []
        self.of[-1] = self._new(network.input.c)
        self.fix(-1, "it is the input")
        owners = [node.owner for node in network.nodes]
        self._shared = {owner for owner in owners if owners.count(owner) > 1}

    def root(self, atom: int) -> int:
        while self._parent[atom] != atom:
            self._parent[atom] = self._parent[self._parent[atom]]
            atom = self._parent[atom]
        return atom

    def fix(self, layer: int, reason: str) -> None:
        for atom in self.of[layer].tolist():
            self.fixed.setdefault(atom, reason)

    def _new(self, count: int) -> Groups:
        start = len(self._parent)
        self._parent += range(start, start + count)
        return np.arange(start, start + count, dtype=np.intp)

    def _join(self, one: Groups, other: Groups) -> None:
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self._parent[self.root(a)] = self.root(b)

    def add(self, index: int) -> None:
        """Give the channels of a layer their numbers."""
        node = self.network.nodes[index]
        kind = node.layer.channels
        given = [self.of[source] for source in node.sources]
        mixing = [key for key in _MIXING if node.layer.value(key)]
        if node.layer.recurrent or mixing or node.owner in self._shared:
            self._fix_all(index, mixing[0] if mixing else "shared weights")
        elif kind == "kept" and len(given) == 1 and node.y.c == len(given[0]):
            self.of[index] = given[0]
        elif kind == "joined" and node.layer.value("groups") == 1:
            self.of[index] = np.concatenate(given)
        elif kind == "added" and self._adds(node, given):
            for other in given[1:]:
                self._join(given[0], other)
            self.of[index] = given[0]
        elif kind == "weighted" and len(given) == 1:
            self._add_weights(index, node, given[0])
        else:
            self._fix_all(index, "")

    def _adds(self, node: Node, given: list[Groups]) -> bool:
        """Whether a shortcut adds images of one size channel by channel, without weights."""
        sizes = {(x.c, x.h, x.w) for x in node.xs}
        return len(sizes) == 1 == len({len(each) for each in given}) and not node.params

    def _add_weights(self, index: int, node: Node, given: Groups) -> None:
        groups = node.layer.value("groups", 1)
        whole = all(param.stored_size == param.size for param in node.params)
        self.of[index] = self._new(node.y.c)
        if groups > 1 and groups == len(given) == node.y.c:
            self._join(self.of[index], given)
            self.by_channel.add(index)
        elif groups > 1:
            for source in node.sources:
                self.fix(source, f"layer {index} reads it in {groups} groups")
            self.fix(index, f"layer {index} has {groups} groups")
        named = {param.name for param in node.params}
        if "scales" in named and whole and not node.layer.value("normalize_channels"):
            self.makers.append(index)
        else:
            self.fix(index, f"layer {index} has no batch norm" if whole else "half of a layer")

    def _fix_all(self, index: int, why: str) -> None:
        """Keep all that a layer reads and computes."""
        node = self.network.nodes[index]
        reason = f"layer {index} [{node.layer.names[0]}] reads it" + (f": {why}" if why else "")
        for source in node.sources:
            self.fix(source, reason)
        self.of[index] = self._new(node.y.c)
        self.fix(index, reason.replace(" reads it", " computes it"))
