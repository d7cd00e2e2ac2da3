"""What moves all statistics a little: inversion, and the order of channels.

A few pictures differ from the training set by as much as these faults do.  But inversion shows in
the variances when every batch norm normalises with the stored statistics, as in inference, and the
order of channels in the means when each normalises with what it sees.  Averaged over all layers
these tell, from some pictures on; nothing is said unless one way is closer than chance explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.checks.doctor.diagnosis import Diagnosis
from darknet_bn.checks.doctor.inputs import INVERTED, SWAPPED, Way, changed
from darknet_bn.checks.doctor.seen import Seen, look
from darknet_bn.model.model import Model

_LEAST = 1e-4  # nats: below, one way is as good as the other


@dataclass(frozen=True)
class Trait:
    """Something about the pictures that all layers together can tell.

    Attributes
    ----------
    name : str
    way : Way
        The other way to prepare them.
    normalise_by_batch, of_variances : bool
        How batch norms normalise, and which part of what they see is compared.
    clear : float
        How many times closer the other way must be to be named.
    certain : bool
        Whether it is wrong then, or only likely.
    """

    name: str
    way: Way
    normalise_by_batch: bool
    of_variances: bool
    clear: float
    certain: bool


TRAITS = (
    Trait("inversion", INVERTED, False, True, 1.1, True),
    Trait("order of channels", SWAPPED, True, False, 1.05, False),
)


def preparation(model: Model, batches: Sequence[F32]) -> Iterator[Diagnosis]:
    """Yield what the pictures say about inversion and the order of channels."""
    for trait in TRAITS:
        if trait.way.colours and model.network.input.c != 3:
            continue
        found = list(_judged(trait, closer(model, batches, trait)))
        yield from found
        if any(each.verdict == "wrong" for each in found):
            return  # the rest is for an input that is right so far


def closer(model: Model, batches: Sequence[F32], trait: Trait) -> float:
    """Return how many times closer to the statistics the other way is, averaged over the layers."""
    as_it_is = _logs(model, batches, trait)
    other = _logs(model, [changed(trait.way, x) for x in batches], trait)
    return float(np.exp(np.mean(as_it_is - other)))


def _logs(model: Model, batches: Sequence[F32], trait: Trait) -> F64:
    seen = look(model, batches, normalise_by_batch=trait.normalise_by_batch)
    logs: F64 = np.log([_part(each, trait) + _LEAST for each in seen.values()])
    return logs


def _part(seen: Seen, trait: Trait) -> float:
    of_means, of_variances = seen.parts
    if not of_means.size:
        return 0.0
    return float(np.median(of_variances) if trait.of_variances else of_means.mean())


def _judged(trait: Trait, closer: float) -> Iterator[Diagnosis]:
    figure = f"{trait.way.name}, batch norms are {closer:.2f} times closer to their statistics"
    if closer >= trait.clear:
        yield Diagnosis(
            verdict="wrong" if trait.certain else "note",
            kind=trait.name,
            what=f"{trait.way.means}: {figure}",
            do=trait.way.do,
            figure=closer,
        )
    elif closer > 1 / trait.clear:
        yield Diagnosis(
            verdict="unknown",
            kind=trait.name,
            what=f"{trait.name}: these pictures do not tell; {figure}",
            do="give more pictures",
            figure=closer,
        )
