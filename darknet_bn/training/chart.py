"""A picture of the course of the loss: SVG, without any library."""

from __future__ import annotations

import math
from collections.abc import Sequence

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 34, 46  # pixels around the curves
_MOST_POINTS = 1500
_STYLE = "font-family='sans-serif' font-size='12' fill='#444'"


def loss_chart(
    title: str, iterations: Sequence[int], losses: Sequence[float], averages: Sequence[float]
) -> str:
    """Draw the loss of every iteration, and its running average.

    Parameters
    ----------
    title : str
    iterations : sequence of int
    losses, averages : sequence of float
        One value for each iteration.

    Returns
    -------
    svg : str
        The loss axis is logarithmic if the losses span more than a factor of 20.
    """
    steps = max(1, -(-len(iterations) // _MOST_POINTS))
    rows = list(zip(iterations, losses, averages, strict=True))
    rows = rows[::steps] + (rows[-1:] if (len(rows) - 1) % steps else [])
    values = [value for _, *pair in rows for value in pair]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high > 20 * low
    first, last = rows[0][0], max(rows[-1][0], rows[0][0] + 1)
    ticks = _log_ticks(low, high) if logarithmic else _ticks(0.0 if low >= 0 else low, high)
    bottom, top = min(ticks[0], low), max(ticks[-1], high)

    def x_of(iteration: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (iteration - first) / (last - first)

    def y_of(value: float) -> float:
        span = (value - bottom) / (top - bottom or 1)
        if logarithmic:
            span = math.log(value / bottom) / (math.log(top / bottom) or 1)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * span

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{_HEIGHT}' "
        f"viewBox='0 0 {_WIDTH} {_HEIGHT}'>",
        "<rect width='100%' height='100%' fill='white'/>",
        f"<text x='{_LEFT}' y='20' {_STYLE}>{_escaped(title)}: loss</text>",
    ]
    for tick in ticks:
        y = y_of(tick)
        parts.append(
            f"<line x1='{_LEFT}' y1='{y:.1f}' x2='{_WIDTH - _RIGHT}' y2='{y:.1f}' stroke='#ddd'/>"
            f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end' {_STYLE}>{tick:g}</text>"
        )
    for tick in _ticks(first, last):
        if first <= tick <= last:
            x = x_of(tick)
            parts.append(
                f"<text x='{x:.1f}' y='{_HEIGHT - _BOTTOM + 18}' text-anchor='middle' "
                f"{_STYLE}>{tick:g}</text>"
            )
    parts.append(
        f"<text x='{(_LEFT + _WIDTH - _RIGHT) / 2}' y='{_HEIGHT - 8}' text-anchor='middle' "
        f"{_STYLE}>iteration</text>"
    )
    for column, colour, width in ((1, "#9ecae1", 1), (2, "#08519c", 2)):
        points = " ".join(f"{x_of(row[0]):.1f},{y_of(row[column]):.1f}" for row in rows)
        parts.append(
            f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='{width}'/>"
        )
    for number, (name, colour) in enumerate((("loss", "#9ecae1"), ("average", "#08519c"))):
        x = _WIDTH - 190 + 90 * number
        parts.append(
            f"<line x1='{x}' y1='16' x2='{x + 22}' y2='16' stroke='{colour}' stroke-width='2'/>"
            f"<text x='{x + 28}' y='20' {_STYLE}>{name}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ticks(low: float, high: float) -> list[float]:
    """Return some round numbers from ``low`` or below to ``high`` or above."""
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    start, end = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 12) for number in range(start, end + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten around, and if these are few, some values between them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    between = (1, 2, 5) if len(powers) < 4 else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in between]
    below = [tick for tick in ticks if tick <= low][-1:]
    return [
        *below,
        *(tick for tick in ticks if low < tick < high),
        *[t for t in ticks if t >= high][:1],
    ]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
