"""Whether each activation function is the one that the network was trained with.

A batch norm sees what the activation before it lets through.  With another function in its place,
what it sees is closer to the stored statistics or farther from them.  All layers with one function
are changed together, which needs one pass for each other function; since every batch norm
normalises with what it sees, each answers for the layers right before it alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.doctor.diagnosis import Diagnosis
from darknet_bn.checks.doctor.seen import STRANGE, Seen, look, readers_of
from darknet_bn.model.model import Model

OTHERS = ("leaky", "relu", "linear", "mish", "swish", "relu6", "elu", "logistic")
EVERYWHERE = 1.1  # times closer, on the geometric average of all layers with the function
MOSTLY = 0.6  # share of these layers that must be closer
ALIKE = frozenset(("relu", "relu6"))  # the same below 6: these need as much as a single layer
ALONE = 1.5  # times closer that a single layer must be, with a function that others have
ODD_ALONE = 4.5  # with one that no other layer has; healthy ones reach 3.1 with two pictures
_MOST = 8  # wrong functions that are looked for
_FLOOR = 1e-3  # nats: differences between layers that agree as well as this are chance


@dataclass(frozen=True)
class Trial:
    """What another function in place of one gives, layer by layer.

    Attributes
    ----------
    used, other : str
        The function of the cfg, and the one that was tried.
    closer : dict from layer to float
        For each layer with the function: how many times closer the batch norms that read it are to
        their statistics.
    left : dict from layer to float
        How far these batch norms still are.
    """

    used: str
    other: str
    closer: dict[int, float]
    left: dict[int, float]

    @property
    def everywhere(self) -> float:
        """How many times closer, on the geometric average over the layers."""
        return math.exp(float(np.mean([math.log(each) for each in self.closer.values()])))

    @property
    def explains(self) -> bool:
        """Whether the function is wrong in all layers, and this is the right one."""
        mostly = float(np.mean([each > 1 for each in self.closer.values()]))
        near = float(np.median(list(self.left.values()))) < STRANGE
        many = len(self.closer) > 1
        least = ALONE if {self.used, self.other} == ALIKE else EVERYWHERE
        return many and near and mostly >= MOSTLY and self.everywhere >= least


@dataclass(frozen=True)
class Wrong:
    """A wrong function: which trial shows it, in which layers, and how much closer they come."""

    trial: Trial
    layers: tuple[int, ...]
    closer: float

    def diagnosis(self, model: Model) -> Diagnosis:
        """Say it in words."""
        used, other, first = self.trial.used, self.trial.other, self.layers[0]
        if len(self.layers) > 1:
            whose, do = "the network", f"replace activation={used} by activation={other} in the cfg"
            there = f"in the {len(self.layers)} layers that batch norms read, these"
        else:
            whose, do = "this layer", f"set activation={other} there"
            there = "here, the batch norms that read it"
        return Diagnosis(
            verdict="wrong",
            kind="activation",
            what=f"activation={used} is not what {whose} was trained with: with {other} {there} "
            f"are {self.closer:.2g} times closer to their statistics",
            do=do,
            layer=first,
            section=model.network.nodes[first].layer.names[0],
            figure=self.closer,
        )


def wrong_functions(
    model: Model, batches: Sequence[F32], seen: Mapping[int, Seen]
) -> tuple[list[Wrong], Mapping[int, Seen]]:
    """Return which functions are wrong, and what batch norms see with the right ones.

    The clearest is mended before the next is looked for: what follows a wrong function sees
    something wrong too.
    """
    found: list[Wrong] = []
    common = _common(model)
    mended: dict[int, str] = {}
    while len(found) < _MOST:
        wrong = _clearest(_trials(model, batches, seen, mended), common)
        if wrong is None:
            break
        found.append(wrong)
        mended |= dict.fromkeys(wrong.layers, wrong.trial.other)
        seen = look(model, batches, activations=mended)
    return sorted(found, key=lambda each: each.layers), seen


def _trials(
    model: Model, batches: Sequence[F32], seen: Mapping[int, Seen], mended: Mapping[int, str]
) -> Iterator[Trial]:
    """Try every other function in place of each that the network has before a batch norm."""
    readers = readers_of(model.network)
    groups: dict[str, list[int]] = {}
    for index, node in enumerate(model.network.nodes):
        used = node.layer.value("activation")
        if used in OTHERS and index not in mended and node.params and readers[index]:
            groups.setdefault(used, []).append(index)
    for used, layers in groups.items():
        for other in OTHERS:
            if other == used:
                continue
            now = look(model, batches, activations={**mended, **dict.fromkeys(layers, other)})
            closer = {layer: _closer(seen, now, readers[layer]) for layer in layers}
            left = {layer: _distance(now, readers[layer]) for layer in layers}
            yield Trial(used, other, closer, left)


def _clearest(trials: Iterable[Trial], common: Collection[str]) -> Wrong | None:
    """Return the function that is wrong in all layers that have it, or else in a single one."""
    everywhere: list[Wrong] = []
    alone: list[Wrong] = []
    for trial in trials:
        if trial.explains:
            everywhere.append(Wrong(trial, tuple(sorted(trial.closer)), trial.everywhere))
        least = ALONE if trial.other in common else ODD_ALONE
        alone += [
            Wrong(trial, (layer,), closer)
            for layer, closer in trial.closer.items()
            if closer >= least and trial.left[layer] < STRANGE
        ]
    return max(everywhere or alone, key=lambda each: each.closer, default=None)


def _common(model: Model) -> frozenset[str]:
    """Return the functions that several layers with weights have."""
    used = Counter(node.layer.value("activation") for node in model.network.nodes if node.params)
    return frozenset(name for name, count in used.items() if count > 1)


def _closer(seen: Mapping[int, Seen], now: Mapping[int, Seen], layers: Sequence[int]) -> float:
    ratios = [
        math.log((seen[layer].divergence + _FLOOR) / (now[layer].divergence + _FLOOR))
        for layer in layers
    ]
    return math.exp(float(np.mean(ratios)))


def _distance(seen: Mapping[int, Seen], layers: Sequence[int]) -> float:
    return float(np.mean([seen[layer].divergence for layer in layers]))
