"""Whether the input has the range that the network learned from.

The first batch norms see sums of the input, so a wrong range or mean moves what they see by a known
amount.  Each usual way to prepare pictures is tried, and the one that agrees with the stored
statistics is named, if it does so far better than the input as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.checks.doctor.diagnosis import Diagnosis
from darknet_bn.checks.doctor.seen import Seen, look, readers_of
from darknet_bn.model.model import Model

FAR = 1.0  # nats of the first batch norms above which the input is not what was learned from
CLEARER = 4.0  # times closer that another way to prepare the input must be to be named
_MEAN = np.array((0.485, 0.456, 0.406), np.float32).reshape(3, 1, 1)  # of ImageNet, as
_SIGMA = np.array((0.229, 0.224, 0.225), np.float32).reshape(3, 1, 1)  # PyTorch's models have it


@dataclass(frozen=True)
class Way:
    """Another way to prepare an input.

    Attributes
    ----------
    name : str
        What is done to the input that is given, in plain words.
    means : str
        What it says about the input.
    do : str
    change : function
        Takes and returns an array (n, c, h, w).
    colours : bool
        Whether it needs three channels.
    kind : str
        Of the finding.
    """

    name: str
    means: str
    do: str
    change: Callable[[F32], npt.NDArray[np.floating[Any]]]
    colours: bool = False
    kind: str = "input"


INVERTED = Way(
    "inverted",
    "dark and bright are exchanged in the input",
    "give 1 - x to the network",
    lambda x: 1 - x,
    kind="inversion",
)
RANGES = (
    Way(
        "divided by 255",
        "the input has 255 times the range that the network learned from",
        "give values from 0 to 1: divide the input by 255",
        lambda x: x / 255,
    ),
    Way(
        "times 255",
        "the network learned from values from 0 to 255",
        "multiply the weights of the first layer by 255 once, or the input each time",
        lambda x: x * 255,
    ),
    Way(
        "from -1 to 1",
        "the network learned from values from -1 to 1",
        "give 2 * x - 1 to the network",
        lambda x: 2 * x - 1,
    ),
    Way(
        "back from -1 to 1",
        "the input goes from -1 to 1, and the network learned from values from 0 to 1",
        "give values from 0 to 1: (x + 1) / 2",
        lambda x: (x + 1) / 2,
    ),
    Way(
        "normalised as for ImageNet",
        "the network learned from pictures with ImageNet's mean and deviation taken out",
        "give (x - mean) / deviation, mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225",
        lambda x: (x - _MEAN) / _SIGMA,
        colours=True,
    ),
    Way(
        "without ImageNet's normalisation",
        "ImageNet's mean and deviation were taken out of the input, and the network learned from "
        "values from 0 to 1",
        "leave the normalisation out: Darknet's networks take values from 0 to 1",
        lambda x: x * _SIGMA + _MEAN,
        colours=True,
    ),
    INVERTED,
)
SWAPPED = Way(
    "in the other order of channels",
    "the input is more likely BGR than the RGB that the network learned from",
    "give the channels in the other order: x[:, ::-1]",
    lambda x: x[:, ::-1],
    colours=True,
)


def right_range(model: Model, batches: Sequence[F32], seen: Mapping[int, Seen]) -> Way | None:
    """Return how the input has to be changed to what the network learned from; None if it is right.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
    seen : mapping from layer to Seen
        What each batch norm sees as it is.
    """
    first = _first(model, seen)
    if not first or _far(seen, first) <= FAR:
        return None
    fits = {
        way: _far(_look(model, batches, first, way), first)
        for way in RANGES
        if model.network.input.c == 3 or not way.colours
    }
    best = min(fits, key=lambda way: fits[way])
    return best if fits[best] * CLEARER <= _far(seen, first) else None


def wrong_range(
    model: Model, way: Way, seen: Mapping[int, Seen], changed: Mapping[int, Seen]
) -> Diagnosis:
    """Say that the input has another range, with what is seen before and after the change."""
    first = _first(model, seen)
    found = _far(seen, first)
    return Diagnosis(
        verdict="wrong",
        kind=way.kind,
        what=f"{way.means}: {way.name}, the first batch norm is {_far(changed, first):.2g} nats "
        f"from what it learned; as it is, {found:.2g}",
        do=way.do,
        layer=first[0],
        section=model.network.nodes[first[0]].layer.names[0],
        figure=found,
    )


def unexplained(model: Model, seen: Mapping[int, Seen]) -> Iterator[Diagnosis]:
    """Yield whether the first batch norms see something that nothing explains."""
    first = _first(model, seen)
    if not first:
        yield Diagnosis(
            verdict="unknown",
            kind="input",
            what="no batch norm reads the input: its range cannot be told from statistics",
        )
        return
    found = _far(seen, first)
    if found > FAR:
        yield Diagnosis(
            verdict="wrong",
            kind="input",
            what="the first batch norm sees an input that it did not learn from: "
            f"{found:.2g} nats from its statistics, healthy is below {FAR:g}, and none of the "
            "usual ranges explains it",
            do="check how the pictures are prepared, and that cfg and weights belong together",
            layer=first[0],
            section=model.network.nodes[first[0]].layer.names[0],
            figure=found,
        )


def _first(model: Model, seen: Mapping[int, Seen]) -> list[int]:
    """Return the batch norms that see the input, with no other one in between."""
    return [layer for layer in readers_of(model.network)[-1] if layer in seen]


def _look(
    model: Model, batches: Sequence[F32], layers: Sequence[int], way: Way
) -> Mapping[int, Seen]:
    return look(model, [changed(way, x) for x in batches], layers=layers)


def changed(way: Way, x: F32) -> F32:
    """Return an input prepared in another way."""
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(way.change(x), np.float32)


def _far(seen: Mapping[int, Seen], layers: Sequence[int]) -> float:
    return float(np.mean([seen[layer].divergence for layer in layers]))
