"""How text, numbers and tables become HTML; whatever comes from a file is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darknet_bn.errors import printable


def escaped(value: object) -> str:
    """Return text that may stand anywhere in a page, in an attribute too."""
    return html.escape(printable(str(value)), quote=True)


def number(value: float) -> str:
    """Return a number with three digits, or what it is in a word."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "−∞" if value < 0 else "∞"
    return f"{value:.3g}".replace("-", "−")


def whole(value: int) -> str:
    """Return a whole number, in groups of three digits."""
    return f"{value:,}".replace(",", "\u202f").replace("-", "−")


def percent(value: float) -> str:
    """Return a share as a whole percentage."""
    return f"{value:.0%}" if math.isfinite(value) else number(value)


def size(count: int) -> str:
    """Return a number of bytes in the usual unit."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"


def link(layer: int) -> str:
    """Return a link to the row of a layer."""
    return f'<a href="#layer-{layer}">{layer}</a>'


def light(word: str) -> str:
    """Return a traffic light: its colour, its shape and its word say the same."""
    return f'<span class="light {word}">{word}</span>'


def part(name: str, heading: str, *body: str) -> str:
    """Return a part of the page under its heading."""
    start = f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{heading}</h2>'
    return "\n".join([start, *body, "</section>"])


@dataclass(frozen=True)
class Cell:
    """A cell: its HTML, and the number that it is sorted by, if it is a number."""

    html: str
    value: float | None = None


def figure(value: float | None, shown: str | None = None) -> Cell:
    """Return a cell with a number; None leaves it empty, and it sorts as the smallest."""
    if value is None:
        return Cell("", -math.inf)
    return Cell(number(value) if shown is None else shown, value)


def count(value: int | None) -> Cell:
    """Return a cell with a whole number; None leaves it empty."""
    return figure(value, None if value is None else whole(value))


def table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[tuple[str, Sequence[Cell]]],
) -> str:
    """Return a table that can be sorted by each column.

    Parameters
    ----------
    caption : str
    headings : sequence of str
    rows : iterable of (str, sequence of Cell)
        The id of each row, which may be empty, and its cells; the first is its heading.
    """
    rows = list(rows)
    heads = "".join(
        f'<th scope="col"{_side(each)}><button type="button">{escaped(heading)}</button></th>'
        for heading, each in zip(headings, rows[0][1] if rows else (), strict=True)
    )
    lines = [
        f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(caption)}">'
        f'<table class="sortable"><caption>{escaped(caption)}</caption>',
        f"<thead><tr>{heads}</tr></thead><tbody>",
    ]
    for name, (first, *rest) in rows:
        attributes = f' id="{escaped(name)}"' if name else ""
        lines.append(
            f'<tr{attributes}><th scope="row"{_sorted_by(first)}>{first.html}</th>'
            + "".join(f"<td{_sorted_by(each)}>{each.html}</td>" for each in rest)
            + "</tr>"
        )
    return "\n".join([*lines, "</tbody></table></div>"])


def _side(cell: Cell) -> str:
    return "" if cell.value is None else ' class="n"'


def _sorted_by(cell: Cell) -> str:
    if cell.value is None:
        return ""
    value = "" if not math.isfinite(cell.value) else f"{cell.value:.6g}"
    return f' class="n" data-v="{value}"'
