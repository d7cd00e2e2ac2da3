"""What moves all statistics a little: inversion, and the order of channels.

A few pictures differ from the training set by as much as these faults do.  But inversion shows in
the variances when every batch norm normalises with the stored statistics, as in inference, and the
order of channels in the means when each normalises with what it sees.  Averaged over all layers
these tell, from some pictures on; nothing is said unless one way is closer than chance explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.checks.doctor.diagnosis import Diagnosis
from darknet_bn.checks.doctor.inputs import INVERTED, SWAPPED, Way, changed
from darknet_bn.checks.doctor.seen import Seen, look
from darknet_bn.model.model import Model

CLEAR = 1.12  # times closer that inverted pictures must be
BOTH = 1.25  # times closer from which the other order of channels explains the same
LIKELY = 1.05  # times closer that the other order of channels must be, to be mentioned
FITS = 1.15  # times closer that pictures must be that are fitted to the input in another way
_FEWEST = 3  # pictures: two may both be unlike all others
_LEAST = 1e-4  # nats: below, one way is as good as the other


def preparation(model: Model, batches: Sequence[F32]) -> Iterator[Diagnosis]:
    """Yield what the pictures say about inversion and the order of channels."""
    colours = model.network.input.c == 3
    few = sum(map(len, batches)) < _FEWEST
    inverted = closer(model, batches, INVERTED, of_variances=True)
    if inverted > 1 / CLEAR and (few or inverted < CLEAR):
        yield _unknown("inversion", INVERTED, inverted)
    elif inverted >= CLEAR:
        swapped = closer(model, batches, SWAPPED, of_variances=True) if colours else 0.0
        yield _wrong(inverted, swapped)
        return
    if not colours:
        return
    swapped = closer(model, batches, SWAPPED, of_variances=False)
    if swapped > 1 / LIKELY and (few or swapped < LIKELY):
        yield _unknown("order of channels", SWAPPED, swapped)
    elif swapped >= LIKELY:
        yield Diagnosis(
            verdict="note",
            kind="order of channels",
            what=f"{SWAPPED.means}: {_figure(SWAPPED, swapped)}",
            do=SWAPPED.do,
            figure=swapped,
        )


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
    as_it_is = _divergences(model, batches)
    for name, inputs in others.items():
        closer = float(np.exp(np.mean(as_it_is - _divergences(model, inputs))))
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


def closer(model: Model, batches: Sequence[F32], way: Way, *, of_variances: bool) -> float:
    """Return how many times closer to the statistics another way is, averaged over the layers.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
    way : Way
    of_variances : bool
        Whether the variances in inference are compared, or the means while every batch norm
        normalises with what it sees.
    """
    as_it_is = _logs(model, batches, of_variances)
    other = _logs(model, [changed(way, x) for x in batches], of_variances)
    return float(np.exp(np.mean(as_it_is - other)))


def _logs(model: Model, batches: Sequence[F32], of_variances: bool) -> F64:
    seen = look(model, batches, normalise_by_batch=not of_variances)
    logs: F64 = np.log([_part(each, of_variances) + _LEAST for each in seen.values()])
    return logs


def _divergences(model: Model, batches: Sequence[F32]) -> F64:
    seen = look(model, batches, normalise_by_batch=False)
    logs: F64 = np.log([each.divergence + 10 * _LEAST for each in seen.values()])
    return logs


def _part(seen: Seen, of_variances: bool) -> float:
    means, variances = seen.parts
    if not means.size:
        return 0.0
    return float(np.median(variances) if of_variances else means.mean())


def _wrong(inverted: float, swapped: float) -> Diagnosis:
    if swapped < BOTH:
        means, kind, do = INVERTED.means, "inversion", INVERTED.do
        figures = _figure(INVERTED, inverted)
    else:
        kind, do = "preparation", f"{INVERTED.do}, or {SWAPPED.do}"
        means = "dark and bright are exchanged in the input, or red and blue"
        figures = f"{_figure(INVERTED, inverted)}; {SWAPPED.name}, {swapped:.2f} times"
    return Diagnosis(verdict="wrong", kind=kind, what=f"{means}: {figures}", do=do, figure=inverted)


def _unknown(kind: str, way: Way, closer: float) -> Diagnosis:
    return Diagnosis(
        verdict="unknown",
        kind=kind,
        what=f"{kind}: these pictures do not tell; {_figure(way, closer)}",
        do="give more pictures",
        figure=closer,
    )


def _figure(way: Way, closer: float) -> str:
    return f"{way.name}, batch norms are {closer:.2f} times closer to their statistics"
