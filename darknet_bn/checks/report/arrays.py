"""What the arrays of each layer look like: their spread, and the state of its batch norm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.checks.doctor.statistics import ODD_LAYER
from darknet_bn.checks.doctor.values import FORMULAS
from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.layers.parameters import Params
from darknet_bn.model.model import Model
from darknet_bn.model.weights import release
from darknet_bn.values import brief_fields, counted

BINS = 32
_MOST = 1 << 17  # values of an array that are looked at: the bars are a few pixels high
_BEYOND = 0.5  # percent of the values on each side that go into the outermost bars
_UNUSUAL = 1.0  # nats of one layer: healthy ones stay below
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Spread:
    """How the values of an array are spread.

    Attributes
    ----------
    layer, section, name : int, str, str
    values : int
    lowest, highest, mean, deviation : float
        Of the finite values.
    first, last : float
        Where the bars begin and end; the outermost also count what is beyond.
    bars : tuple of int
    """

    layer: int
    section: str
    name: str
    values: int
    lowest: float
    highest: float
    mean: float
    deviation: float
    first: float
    last: float
    bars: tuple[int, ...]

    __repr__ = brief_fields


@dataclass(frozen=True)
class NormState:
    """The stored state of one batch norm.

    Attributes
    ----------
    layer, section, part : int, str, str
        ``part`` is empty, or the part of a layer with several.
    channels : int
    dead : int
        Channels whose scale is 0.
    negative, subnormal : int
        Variances that are so, or not a number.
    smallest, largest : float
        Of the variances.
    formulas : float
        How far both formulas of Darknet are apart, as a share of the largest scale.
    untrained : bool
        Whether the statistics never moved.
    """

    layer: int
    section: str
    part: str
    channels: int
    dead: int
    negative: int
    subnormal: int
    smallest: float
    largest: float
    formulas: float
    untrained: bool

    __repr__ = brief_fields


def look_at_arrays(model: Model) -> tuple[tuple[Spread, ...], tuple[NormState, ...]]:
    """Look at all arrays once, layer by layer."""
    spreads: list[Spread] = []
    norms: list[NormState] = []
    for index, node in enumerate(model.network.nodes):
        if node.owner != index or not node.params:
            continue
        p, section = model.params[index], node.layer.names[0]
        spreads += [_spread(index, section, name, array) for name, array in p.items()]
        norms += _norms(index, section, p)
        release(model.params)
    return tuple(spreads), tuple(norms)


def _spread(layer: int, section: str, name: str, array: F32) -> Spread:
    flat = array.reshape(-1)
    sample = flat[:: max(1, -(-flat.size // _MOST))].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        nan = math.nan
        return Spread(layer, section, name, flat.size, nan, nan, nan, nan, nan, nan, (0,) * BINS)
    first, last = (float(each) for each in np.percentile(sample, (_BEYOND, 100 - _BEYOND)))
    if not first < last:
        first, last = float(sample.min()), float(sample.max())
    width = (last - first) or 1.0
    places = np.clip((sample - first) / width * BINS, 0, BINS - 1).astype(np.intp)
    bars = tuple(int(each) for each in np.bincount(places, minlength=BINS))
    low, high, mean, deviation = (
        float(each) for each in (sample.min(), sample.max(), sample.mean(), sample.std())
    )
    return Spread(layer, section, name, flat.size, low, high, mean, deviation, first, last, bars)


def _norms(layer: int, section: str, p: Params) -> Iterator[NormState]:
    for name, variance in p.items():
        if not name.endswith("rolling_variance"):
            continue
        part = name.removesuffix("rolling_variance")
        mean = p[f"{part}rolling_mean"]
        scales = p.get(f"{part}scales", np.ones_like(variance))
        v, s = variance.astype(np.float64), np.abs(scales.astype(np.float64))
        with np.errstate(all="ignore"):
            apart = np.abs(1 / PJREDDIE.sigma(v) - 1 / ALEXEYAB.sigma(v)) * np.sqrt(v) * s
            apart = np.nan_to_num(apart / s.max(initial=0))
            finite = v[np.isfinite(v)]
        moved = mean.any() or not ((variance == 0).all() or (variance == 1).all())
        yield NormState(
            layer=layer,
            section=section,
            part=part.removesuffix("."),
            channels=variance.size,
            dead=int(np.count_nonzero(s <= 1e-6 * s.max(initial=0))),
            negative=int(np.count_nonzero(~(v >= 0))),
            subnormal=int(np.count_nonzero((v > 0) & (v < _TINY))),
            smallest=float(finite.min(initial=math.inf)) if finite.size else math.nan,
            largest=float(finite.max(initial=-math.inf)) if finite.size else math.nan,
            formulas=float(apart.max(initial=0)),
            untrained=not moved,
        )


def state_in_words(norm: NormState, nats: float | None) -> tuple[str, str]:
    """Return the traffic light of a batch norm, ``good``, ``look`` or ``wrong``, and why.

    Parameters
    ----------
    norm : NormState
    nats : float or None
        How far the pictures are from the statistics, if there are any.
    """
    wrong, look = [], []
    if norm.negative:
        wrong.append(f"{counted(norm.negative, 'variance')} negative or NaN")
    if norm.untrained:
        wrong.append("never trained")
    if nats is not None and nats > ODD_LAYER:
        wrong.append(f"pictures are {nats:.2g} nats off")
    elif nats is not None and nats > _UNUSUAL:
        look.append(f"pictures are {nats:.2g} nats off")
    if norm.dead:
        look.append(f"{counted(norm.dead, 'constant channel')}")
    if norm.subnormal:
        look.append(f"{counted(norm.subnormal, 'subnormal variance')}")
    if norm.formulas > FORMULAS and not norm.untrained:
        look.append("the dialect matters")
    if wrong:
        return "wrong", "; ".join(wrong + look)
    return ("look", "; ".join(look)) if look else ("good", "")
