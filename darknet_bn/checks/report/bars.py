"""Bars on a logarithmic axis, one for each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from darknet_bn.checks.report.markup import escaped, number

_LEFT, _WIDE, _STEP, _TOP = 130, 460, 14, 24  # pixels


@dataclass(frozen=True)
class Bar:
    """A layer with an error, and what is marked within its bar.

    Attributes
    ----------
    layer, section : int, str
    value : float
    mark : float or None
        A second value of the layer.
    pale : bool
        Whether the bar is drawn as one that is not in question.
    """

    layer: int
    section: str
    value: float
    mark: float | None = None
    pale: bool = False


@dataclass(frozen=True)
class Axis:
    """The powers of ten of an axis: its ends, and the step between two that are labelled."""

    low: int
    high: int
    step: int = 1

    def x(self, value: float) -> float:
        """Return the place of a value, in pixels; what is beyond an end is put there."""
        power = math.log10(value) if value > 0 else self.low
        power = self.high if math.isnan(value) else min(max(power, self.low), self.high)
        return _LEFT + _WIDE * (power - self.low) / (self.high - self.low)


def bars(rows: Sequence[Bar], axis: Axis, what: str, limit: float | None = None) -> str:
    """Return the picture as SVG.

    Parameters
    ----------
    rows : sequence of Bar
        Not empty.
    axis : Axis
    what : str
        What is drawn, for who cannot see it.
    limit : float, optional
        A dashed line; bars beyond it have another colour.
    """
    wide, tall = _LEFT + _WIDE + 70, _TOP + _STEP * len(rows) + 6
    worst = max(rows, key=lambda row: math.inf if math.isnan(row.value) else row.value)
    words = (
        f"{what}: bars on a logarithmic axis, one for each of {len(rows)} layers; the largest is "
        f"{number(worst.value)}, in layer {worst.layer}"
    )
    parts = [
        f'<svg class="errors" viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}" '
        f'role="img" aria-label="{words}"><title>{words}</title>'
    ]
    for power in range(axis.low, axis.high + 1, axis.step):
        x = axis.x(10.0**power)
        label = f"10<tspan dy='-4' font-size='8'>{str(power).replace('-', '−')}</tspan>"
        parts.append(f'<path class="grid" d="M{x:.0f} 18V{tall}"/>')
        parts.append(f'<text class="mid" x="{x:.0f}" y="13">{label if power else "1"}</text>')
    if limit is not None:
        parts.append(f'<path class="limit" d="M{axis.x(limit):.1f} 18V{tall}"/>')
    for at, row in enumerate(rows):
        y, end = _TOP + _STEP * at, axis.x(row.value)
        over = limit is not None and not row.value <= limit
        kind = "bars over" if over else "bars pale" if row.pale else "bars"
        parts.append(
            f'<text class="end" x="{_LEFT - 6}" y="{y + 9}">{escaped(row.section)} {row.layer}'
            f'</text><rect class="{kind}" x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" '
            'height="10"/>'
        )
        if row.mark is not None:
            parts.append(f'<path class="mark" d="M{axis.x(row.mark):.1f} {y - 1}v12"/>')
        right = end if row.mark is None else max(end, axis.x(row.mark))
        parts.append(f'<text x="{right + 5:.1f}" y="{y + 9}">{number(row.value)}</text>')
    return "\n".join([*parts, "</svg>"])
