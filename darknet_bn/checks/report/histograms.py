"""How the values of all arrays are spread: a row of small pictures for each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from darknet_bn.checks.report.arrays import BINS, Spread
from darknet_bn.checks.report.markup import escaped, link, number

_ORDER = ("weights", "biases", "scales", "rolling_mean", "rolling_variance")
_BAR, _HIGH = 4, 36  # pixels


def histograms(spreads: Sequence[Spread]) -> str:
    """Return the small multiples, or a sentence if there are no arrays."""
    if not spreads:
        return "<p>No layer has weights.</p>"
    lines = [
        '<p class="hint">Each picture goes from the value at its left to the one at its right; the '
        "outermost bars also count the half percent beyond. A line marks zero.</p>"
    ]
    for layer, group in groupby(spreads, key=lambda each: each.layer):
        rows = sorted(group, key=_place)
        section = escaped(rows[0].section)
        lines.append(f'<div class="row"><h3>{link(layer)} {section}</h3><div class="small">')
        lines += map(_figure, rows)
        lines.append("</div></div>")
    return "\n".join(lines)


def _place(each: Spread) -> int:
    return _ORDER.index(each.name) if each.name in _ORDER else len(_ORDER)


def _figure(each: Spread) -> str:
    name = escaped(each.name.replace("_", " "))
    words = (
        f"{name} of layer {each.layer}: {each.values} values from {number(each.lowest)} to "
        f"{number(each.highest)}, mean {number(each.mean)}, deviation {number(each.deviation)}"
    )
    wide = _BAR * BINS
    return (
        f'<figure><svg viewBox="0 0 {wide} {_HIGH}" width="{wide}" height="{_HIGH}" role="img" '
        f'aria-label="{words}"><title>{words}</title>{"".join(_drawing(each))}</svg>'
        f"<figcaption><b>{name}</b><span>{number(each.first)}</span><span>{number(each.last)}</span>"
        "</figcaption></figure>"
    )


def _drawing(each: Spread) -> Iterator[str]:
    most = max(each.bars)
    if not most:
        return
    if each.first < 0 < each.last:
        x = _BAR * BINS * -each.first / (each.last - each.first)
        yield f'<path class="zero" d="M{x:.0f} 0V{_HIGH}"/>'
    path, before = [f"M0 {_HIGH}"], _HIGH
    for bar in each.bars:
        top = _HIGH - (max(1, round(bar * _HIGH / most)) if bar else 0)
        path.append((f"V{top}" if top != before else "") + f"h{_BAR}")
        before = top
    yield f'<path class="bars" d="{"".join(path)}V{_HIGH}z"/>'
