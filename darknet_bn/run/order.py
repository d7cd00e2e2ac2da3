"""The order in which layers are computed, and which arrays are held meanwhile.

All code that goes through a network layer by layer uses this module, so that it agrees on which
outputs share an array, which layers share parameters, and when an output is no longer needed.  The
caller decides what a layer computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from darknet_bn.model.network import Network

Array = TypeVar("Array", bound=npt.NDArray[np.floating[Any]])


@dataclass(frozen=True)
class Order:
    """The layers that some outputs need, and how long each output is held.

    Attributes
    ----------
    network : Network
    wanted : tuple of int
        The layers whose outputs are requested.
    keeps_all : bool
        Whether every layer has its own array, kept to the end, as the backward pass of training
        needs.  If not, a layer that passes its input on shares its array, and an array is released
        after its last reader.
    """

    network: Network
    wanted: tuple[int, ...]
    keeps_all: bool = False

    @classmethod
    def of_all(cls, network: Network) -> Order:
        """Return the order of all layers, each of which keeps its output."""
        return cls(network, tuple(range(len(network.nodes))), keeps_all=True)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The layers that run, in order: the requested ones, and all layers that they need."""
        return self.network.ancestors(self.wanted)

    @cached_property
    def roots(self) -> Mapping[int, int]:
        """For each layer that runs, the layer whose array holds its output.

        This is the layer itself, or the source that it passes on unchanged; -1 is the input.
        """
        roots = {-1: -1}
        for index in self.layers:
            node = self.network.nodes[index]
            passes_on = not self.keeps_all and node.layer.is_alias(node.xs)
            roots[index] = roots[node.sources[0]] if passes_on else index
        return roots

    @cached_property
    def last_use(self) -> Mapping[int, int]:
        """For each root, the last layer that reads its array; the root itself if no layer does."""
        if self.keeps_all:
            return dict.fromkeys(self.roots, len(self.network.nodes))
        last_use = {root: root for root in self.roots.values()}
        for index in self.layers:
            for source in self.network.nodes[index].sources:
                last_use[self.roots[source]] = index
        return last_use

    @cached_property
    def spent(self) -> Mapping[int, tuple[int, ...]]:
        """For each layer, the roots whose arrays no later layer reads."""
        spent: dict[int, tuple[int, ...]] = {}
        for root, use in self.last_use.items():
            spent[use] = (*spent.get(use, ()), root)
        return spent

    def live(self, layer: int) -> int:
        """Return how many values per image are held before a layer runs."""
        return sum(
            self.network.input.size if root < 0 else self.network.nodes[root].y.size
            for root, use in self.last_use.items()
            if root < layer <= use
        )

    def sharing(self, layer: int) -> tuple[int, ...]:
        """Return the layers that share the parameters of a layer, itself included."""
        return self._users[self.network.nodes[layer].owner]

    @cached_property
    def _users(self) -> Mapping[int, tuple[int, ...]]:
        users: dict[int, tuple[int, ...]] = {}
        for index in self.layers:
            owner = self.network.nodes[index].owner
            users[owner] = (*users.get(owner, ()), index)
        return users

    def walk(
        self,
        arrays: dict[int, Array],
        compute: Callable[[int, list[Array]], Array],
        part: range | None = None,
    ) -> Iterator[int]:
        """Compute layers one after the other.

        Parameters
        ----------
        arrays : dict from root to array (n, *shape)
            The arrays present before the first of these layers.  Outputs are added, and removed
            when their last reader has run.
        compute : function
            ``compute(layer, xs)`` returns the output of a layer from the outputs of its sources;
            not called for a layer that passes its input on.
        part : range, optional
            Which of the layers to compute; by default all of them.

        Yields
        ------
        layer : int
            Its output is in ``arrays`` under its root, and so are all arrays that it has read.
        """
        visits = self._visits if part is None else [v for v in self._visits if v[0] in part]
        for index, sources, spent in visits:
            if sources is not None:
                arrays[index] = compute(index, [arrays[root] for root in sources])
            yield index
            for root in spent:
                arrays.pop(root, None)

    @cached_property
    def _visits(self) -> tuple[tuple[int, tuple[int, ...] | None, tuple[int, ...]], ...]:
        """Each layer, the roots that it reads if it computes anything, and the roots then spent."""
        return tuple(
            (
                index,
                tuple(self.roots[source] for source in self.network.nodes[index].sources)
                if self.roots[index] == index
                else None,
                self.spent.get(index, ()),
            )
            for index in self.layers
        )
