"""What moves all statistics a little: inversion, and the order of channels.

A few pictures differ from the training set by as much as these faults do, so the distance from the
statistics alone says little.  But a trained network answers more strongly to what it was trained
for: in inference, what its layers compute varies more over right pictures than over the same ones
with dark and bright, or red and blue, exchanged.  Both kinds of evidence are added.  Nothing is
said unless the sum is clearer than chance, which shrinks with the root of the number of pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.checks.doctor.diagnosis import Diagnosis
from darknet_bn.checks.doctor.inputs import INVERTED, SWAPPED, Way, changed
from darknet_bn.checks.doctor.seen import Seen, look
from darknet_bn.model.model import Model

CLEAR = 0.24  # evidence for inversion that one picture would need; n need it over sqrt(n)
LIKELY = 0.12  # the same for the order of channels, which is mentioned, and is not said to be wrong
FITS = 1.15  # times closer that pictures must be that are fitted to the input in another way
_CLOSER = 0.2  # what being e times closer to the statistics counts, against e times the variance
_FARTHER = -0.6  # less close by this, over sqrt(n), nothing is named, however strong the answers
_NONSENSE = -0.3  # the same for any number of pictures
_FEWEST = 2  # pictures: a single one may be unlike all others
_MOST = 16  # pictures; more are not that much clearer, since they are of one kind
_LEAST = 1e-4  # nats: below, one way is as good as the other


@dataclass(frozen=True)
class Evidence:
    """What speaks for another way to prepare the pictures.

    Attributes
    ----------
    way : Way
    stronger : float
        Logarithm of how many times the variance is of what the layers compute, averaged over them.
    closer : float
        Logarithm of how many times closer batch norms are to their statistics, likewise.
    """

    way: Way
    stronger: float
    closer: float

    @property
    def total(self) -> float:
        """Both together; negative if it speaks for the pictures as they are."""
        return self.stronger + _CLOSER * self.closer

    def reaches(self, threshold: float, root: float) -> bool:
        """Whether it is clear enough; strong answers far from the statistics are nonsense."""
        least = max(_NONSENSE, _FARTHER / root)
        return self.total >= threshold / root and self.closer >= least

    def __str__(self) -> str:
        """Say it in words."""
        return (
            f"{self.way.name}, the layers answer {math.exp(self.stronger / 2):.2f} times as "
            f"strongly, at {math.exp(-self.closer):.2g} times the distance from their statistics"
        )


def preparation(model: Model, batches: Sequence[F32]) -> Iterator[Diagnosis]:
    """Yield what the pictures say about inversion and the order of channels."""
    as_it_is = _look(model, batches)
    inverted = evidence(model, batches, INVERTED, as_it_is)
    swapped = None
    if model.network.input.c == 3:
        swapped = evidence(model, batches, SWAPPED, as_it_is)
    yield from verdicts(sum(map(len, batches)), inverted, swapped)


def verdicts(count: int, inverted: Evidence, swapped: Evidence | None) -> Iterator[Diagnosis]:
    """Yield what follows from the evidence of some pictures; None if they have no colours."""
    enough, root = count >= _FEWEST, math.sqrt(min(count, _MOST))
    clear, likely = CLEAR / root, LIKELY / root
    other = swapped or Evidence(SWAPPED, 0.0, 0.0)
    if enough and inverted.reaches(CLEAR, root) and inverted.total >= other.total - clear:
        alone = other.total < inverted.total - likely / 2
        yield _wrong(inverted, None if alone else swapped)
        return
    if inverted.total > -clear:
        yield _unknown("inversion", inverted)
    if enough and other.reaches(LIKELY, root):
        yield Diagnosis(
            verdict="note",
            kind="order of channels",
            what=f"{SWAPPED.means}: {other}",
            do=SWAPPED.do,
            figure=math.exp(other.total),
        )
    elif swapped and swapped.total > -likely:
        yield _unknown("order of channels", swapped)


def evidence(
    model: Model, batches: Sequence[F32], way: Way, as_it_is: Mapping[int, Seen]
) -> Evidence:
    """Return what speaks for another way to prepare the pictures.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
    way : Way
    as_it_is : mapping from layer to Seen
        What batch norms see without it, if each normalises with the stored statistics.
    """
    seen = _look(model, [changed(way, x) for x in batches])
    stronger = [each.spread - as_it_is[layer].spread for layer, each in seen.items()]
    closer = _divergences(as_it_is, _LEAST) - _divergences(seen, _LEAST)
    return Evidence(way, float(np.mean(stronger)), float(np.mean(closer)))


def fits(
    model: Model, batches: Sequence[F32], others: Mapping[str, Sequence[F32]]
) -> Iterator[Diagnosis]:
    """Yield whether the same pictures, fitted to the input in another way, are closer.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
    others : mapping from str to sequence of arrays
        The other ways by name.
    """
    if not others:
        return
    as_it_is = _divergences(_look(model, batches), 10 * _LEAST)
    for name, inputs in others.items():
        closer = float(np.exp(np.mean(as_it_is - _divergences(_look(model, inputs), 10 * _LEAST))))
        if closer >= FITS:
            yield Diagnosis(
                verdict="note",
                kind="fit",
                what=f"pictures that are fitted to the input by --{name} are closer to what the "
                f"network learned from: batch norms are {closer:.2f} times closer to their "
                "statistics",
                do=f"try --{name}",
                figure=closer,
            )


def _look(model: Model, batches: Sequence[F32]) -> Mapping[int, Seen]:
    return look(model, batches, normalise_by_batch=False)


def _divergences(seen: Mapping[int, Seen], least: float) -> F64:
    logs: F64 = np.log([each.divergence + least for each in seen.values()])
    return logs


def _wrong(inverted: Evidence, swapped: Evidence | None) -> Diagnosis:
    """Say that pictures are inverted, or that another order of channels explains as much."""
    if swapped is None:
        means, kind, do, figures = INVERTED.means, "inversion", INVERTED.do, f"{inverted}"
    else:
        kind, do = "preparation", f"{INVERTED.do}, or {SWAPPED.do}"
        means = "dark and bright are exchanged in the input, or red and blue"
        figures = f"{inverted}; {swapped}"
    figure = math.exp(inverted.total)
    return Diagnosis(verdict="wrong", kind=kind, what=f"{means}: {figures}", do=do, figure=figure)


def _unknown(kind: str, found: Evidence) -> Diagnosis:
    return Diagnosis(
        verdict="unknown",
        kind=kind,
        what=f"{kind}: these pictures do not tell; {found}",
        do="give more pictures",
        figure=math.exp(found.total),
    )
