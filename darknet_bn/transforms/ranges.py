"""In which range the outputs of layers lie: what programs need to know that compute in integers.

An int8 value stands for a number from a range that is chosen beforehand.  What lies outside is
moved to its ends; what lies inside is rounded to one of 255 steps.  A wide range rounds coarsely,
a narrow one clips: which is better depends on how often each value occurs.  So the outputs of all
layers are counted on pictures like those that will come, and the range follows from the counts.

Nothing here knows what the numbers are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import DarknetError, Where
from darknet_bn.model.model import Model
from darknet_bn.run.run import as_input, forward
from darknet_bn.transforms.calibrate import Inputs, Tell
from darknet_bn.values import brief, counted

Clip = Literal["minmax", "percentile", "entropy", "error"]
CLIPS: tuple[Clip, ...] = ("minmax", "percentile", "entropy", "error")

I64: TypeAlias = "npt.NDArray[np.int64]"

_BINS = 2048  # on either side of 0
_SHARE = 0.9999  # of the values that a percentile keeps
_STEPS = 127  # on either side of 0
_FEWEST = 128  # bins of the narrowest range that entropy looks at: one for each step, and 0
_TRIED = 256  # ranges that it looks at, at most
_AT_ONCE = 1 << 20  # values that are counted together
_KEPT = 1 << 28  # bytes of outputs that are there together, if one image has not more


@dataclass(frozen=True)
class TensorRange:
    """How often the values of one layer occur.

    Attributes
    ----------
    low, high : float
        The smallest and the largest.
    zeros : int
        How many are 0, which every range has.
    counts : int64 array (bins,)
        How many others lie in each of as many equal parts of -limit to limit.
    limit : float
        No value lies farther from 0.
    """

    low: float
    high: float
    zeros: int
    counts: I64
    limit: float

    def __repr__(self) -> str:
        """Return one line about it."""
        total = self.zeros + int(self.counts.sum())
        return brief(self, f"{self.low:.4g} to {self.high:.4g}, {counted(total, 'value')}")

    def clip(self, method: Clip) -> tuple[float, float]:
        """Return the range that is kept.

        Parameters
        ----------
        method : "minmax", "percentile", "entropy" or "error"
            ``minmax``: all of it.  The others keep what lies near enough to 0, by how often values
            of each size occur.  ``percentile``: all but one in 10 000.  ``entropy``: where the
            values with 255 steps tell most of what they told before, by the divergence of Kullback
            and Leibler.  ``error``: where the mean squared error of clipping and rounding is least.

        Returns
        -------
        low, high : float
        """
        most = self.threshold(method)
        return min(max(self.low, -most), most), max(min(self.high, most), -most)

    def threshold(self, method: Clip) -> float:
        """Return how far from 0 values are kept, for ranges that have 0 in the middle."""
        largest = max(-self.low, self.high, 0.0)
        if method == "minmax" or not self.counts.any():
            return largest
        sizes = self._by_size()
        width = self.limit / len(sizes)
        if method == "percentile":
            missing = (1 - _SHARE) * (self.zeros + sizes.sum())
            kept = len(sizes) - int(np.searchsorted(np.cumsum(sizes[::-1]), missing, side="right"))
        else:
            last = int(np.flatnonzero(sizes)[-1]) + 1
            choose = _least_divergence if method == "entropy" else _least_error
            kept = choose(sizes[:last].astype(np.float64))
        return min(kept * width, largest)

    def _by_size(self) -> I64:
        """Return the counts by distance from 0, nearest first."""
        half = len(self.counts) // 2
        return self.counts[half:] + self.counts[:half][::-1]


@dataclass(frozen=True)
class ActivationRanges:
    """In which range the input of a model and the outputs of its layers lie.

    Attributes
    ----------
    images : int
        Of how many images.
    input : TensorRange
    layers : mapping from layer number to TensorRange
    """

    images: int
    input: TensorRange
    layers: Mapping[int, TensorRange]

    def __repr__(self) -> str:
        """Return one line about it."""
        layers, images = counted(len(self.layers), "layer"), counted(self.images, "image")
        return brief(self, f"{layers}, {images}")


def activation_ranges(
    model: Model, batches: Inputs, *, tell: Tell = lambda done, of: None
) -> ActivationRanges:
    """Count the outputs of every layer on given images.

    The images pass once, and memory does not grow with their number: a histogram for each layer,
    whose parts become twice as wide where a value lies beyond them.

    Parameters
    ----------
    model : Model
    batches : sequence of float32 arrays (n, c, h, w)
        Inputs as `forward` takes them, like those that will come: a list, or `Batches`.
    tell : function, optional
        ``tell(done, of)``, called after every batch; to show progress.

    Returns
    -------
    ranges : ActivationRanges

    Raises
    ------
    ShapeError
        A batch does not fit.
    DarknetError
        There is no batch, or an output is NaN or infinite.
    """
    network, steps = model.network, model.network.time_steps
    of_input, of_layers = _Counter(), {n: _Counter() for n in range(len(network.nodes))}
    size = 4 * sum(node.y.size for node in network.nodes)
    together = steps if steps > 1 else max(1, _KEPT // size)
    images = 0
    for number in range(len(batches)):
        x = as_input(network, batches[number])
        images += len(x)
        of_input.add(x, Where(key=f"batch {number}"))
        for part in _parts(x, steps, together):
            for layer, y in forward(model, part, "all", exact=False).items():
                of_layers[layer].add(y, model.cfg.where(layer + 1))
        tell(number + 1, len(batches))
    if not images:
        raise DarknetError("there is no image to tell the ranges from", expected="one or more")
    return ActivationRanges(
        images, of_input.range(), {layer: each.range() for layer, each in of_layers.items()}
    )


def range_of(values: F32, where: Where) -> TensorRange:
    """Count the values of one array.

    Raises
    ------
    DarknetError
        A value is NaN or infinite; ``where`` is the place that it names.
    """
    counter = _Counter()
    counter.add(values, where)
    return counter.range()


def _parts(x: F32, steps: int, together: int) -> list[F32]:
    """Return images in parts; sequences, whose steps a batch has apart, one by one."""
    if steps == 1:
        return [x[start : start + together] for start in range(0, len(x), together)]
    count = len(x) // steps
    return [x[number::count] for number in range(count)]


class _Counter:
    """A histogram that grows with its values."""

    def __init__(self) -> None:
        self._counts = np.zeros(2 * _BINS, np.int64)
        self._zeros, self._limit = 0, 0.0
        self._low, self._high = np.inf, -np.inf

    def add(self, values: F32, where: Where) -> None:
        """Count values."""
        flat = values.reshape(-1)
        low, high = float(flat.min()), float(flat.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise DarknetError("an output is not finite: it has no range", where=where)
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._grow(max(-low, high))
        for start in range(0, flat.size, _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            others = part[part != 0]
            self._zeros += part.size - others.size
            if others.size:
                place = np.floor(others * (_BINS / self._limit)).astype(np.int64) + _BINS
                np.clip(place, 0, 2 * _BINS - 1, out=place)
                self._counts += np.bincount(place, minlength=2 * _BINS)

    def _grow(self, largest: float) -> None:
        """See to it that a value lies within the limit."""
        self._limit = self._limit or largest
        while self._limit < largest:
            quarter, half = _BINS // 2, self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.pad(half, quarter)
            self._limit *= 2

    def range(self) -> TensorRange:
        """Return what was counted."""
        return TensorRange(self._low, self._high, self._zeros, self._counts, self._limit)


def _least_divergence(sizes: F64) -> int:
    """Return how many bins to keep, so that the values with steps are most like those before.

    What is cut off counts as lying in the last bin; each step is spread again over the bins that
    it stands for, as far as these are not empty.
    """
    best, kept = np.inf, len(sizes)
    behind = sizes[::-1].cumsum()[::-1]
    for count in range(len(sizes), _FEWEST - 1, -max(1, len(sizes) // _TRIED)):
        part = sizes[:count]
        before = part.copy()
        before[-1] = behind[count - 1]
        starts = np.linspace(0, count, _FEWEST, endpoint=False).astype(np.int64)
        filled = part > 0
        sums, bins = np.add.reduceat(part, starts), np.add.reduceat(filled.astype(float), starts)
        lengths = np.diff(starts, append=count)
        after = np.where(filled, np.repeat(sums / np.maximum(bins, 1), lengths), 0)
        divergence = _divergence(before / before.sum(), after / max(after.sum(), 1))
        if divergence < best:
            best, kept = divergence, count
    return kept


def _divergence(before: F64, after: F64) -> float:
    """Return that of Kullback and Leibler; what became impossible counts as very rare."""
    there = before > 0
    return float(np.sum(before[there] * np.log(before[there] / np.maximum(after[there], 1e-9))))


def _least_error(sizes: F64) -> int:
    """Return how many bins to keep, so that clipping and rounding change the values least."""
    middles = np.arange(len(sizes)) + 0.5
    # The sum of squares beyond each bin's end, from the sums of powers behind it.
    count, first, second = ((sizes * middles**power)[::-1].cumsum()[::-1] for power in (0, 1, 2))
    ends = np.arange(1, len(sizes))
    clipped = second[1:] - 2 * ends * first[1:] + ends**2 * count[1:]
    inside = sizes.sum() - count[1:]
    rounded = inside * (ends / _STEPS) ** 2 / 12
    whole = sizes.sum() * (len(sizes) / _STEPS) ** 2 / 12
    errors = np.append(clipped + rounded, whole)
    return int(np.argmin(errors)) + 1
