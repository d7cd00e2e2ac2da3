"""A picture of a set of labels: how often each class occurs, and how large boxes are, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

import numpy as np

from darknet_bn.data.layouts.check import ClassCount, LabelReport
from darknet_bn.errors import printable

_ROW = 18  # pixels a class takes
_BARS, _NAME = 300, 150  # pixels of the longest bar, and of names
_SIDE, _CELLS = 320, 32  # of the square of sizes
_TOP, _MARGIN, _GAP = 56, 20, 110
_MOST_ROWS = 40
_MOST_NAME = 22  # letters
_STYLE = "font-family='sans-serif' font-size='12' fill='#444'"
_TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def label_chart(report: LabelReport) -> str:
    """Draw the classes of a set by their number of boxes, and the sizes of its boxes.

    Parameters
    ----------
    report : LabelReport

    Returns
    -------
    svg : str
        To the left a bar for each of the 40 most frequent classes, in the order of their numbers;
        to the right a square in which each cell is darker the more boxes have its width and height,
        both on a logarithmic scale, as shares of the picture.
    """
    shown = sorted(report.classes, key=lambda each: -each.boxes)[:_MOST_ROWS]
    shown.sort(key=lambda each: each.number)
    rest = len(report.classes) - len(shown)
    rows = len(shown) + (rest > 0)
    height = _TOP + max(rows * _ROW, _SIDE + 36) + _MARGIN
    width = _MARGIN + _NAME + _BARS + _GAP + _SIDE + _MARGIN
    title = f"{printable(report.place)}: {report.pictures} pictures, {report.boxes} boxes"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}'>",
        "<rect width='100%' height='100%' fill='white'/>",
        _text(_MARGIN, 22, title),
        _text(_MARGIN + _NAME, _TOP - 12, "boxes of each class"),
        *_bars(shown),
    ]
    if rest:
        more = f"and {rest} classes with fewer boxes"
        parts.append(_text(_MARGIN + _NAME, _TOP + len(shown) * _ROW + 13, more))
    parts += _sizes(report, _MARGIN + _NAME + _BARS + _GAP)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {_STYLE}>{escape(text)}</text>"


def _bars(classes: list[ClassCount]) -> Iterator[str]:
    most = max([each.boxes for each in classes], default=0) or 1
    for row, each in enumerate(classes):
        y = _TOP + row * _ROW
        name = printable(each.name)
        name = name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"
        long = _BARS * each.boxes / most
        colour = "#4292c6" if each.boxes else "#cb181d"
        yield _text(_MARGIN + _NAME - 8, y + 13, name, "end")
        yield (
            f"<rect x='{_MARGIN + _NAME}' y='{y + 2}' width='{long:.1f}' height='{_ROW - 5}' "
            f"fill='{colour}'/>"
        )
        yield (
            f"<text x='{_MARGIN + _NAME + long + 6:.1f}' y='{y + 13}' {_STYLE}>"
            f"<tspan fill='{'#444' if each.boxes else '#cb181d'}'>{each.boxes}</tspan></text>"
        )


def _sizes(report: LabelReport, left: float) -> Iterator[str]:
    yield _text(left, _TOP - 12, "sizes of boxes, as shares of the picture")
    yield (
        f"<rect x='{left}' y='{_TOP}' width='{_SIDE}' height='{_SIDE}' fill='#f7fbff' "
        "stroke='#999'/>"
    )
    low = math.log10(_TICKS[0])
    places = np.clip(1 - np.log10(np.clip(report.sizes, 1e-9, 1)) / low, 0, 1)
    cells = np.minimum((places * _CELLS).astype(int), _CELLS - 1)
    counts = np.zeros((_CELLS, _CELLS), np.int64)
    np.add.at(counts, (cells[:, 0], cells[:, 1]), 1)
    side = _SIDE / _CELLS
    most = math.log1p(counts.max(initial=0)) or 1
    for across, down in np.argwhere(counts).tolist():
        share = math.log1p(int(counts[across, down])) / most
        yield (
            f"<rect x='{left + across * side:.1f}' y='{_TOP + _SIDE - (down + 1) * side:.1f}' "
            f"width='{side:.1f}' height='{side:.1f}' fill='#08519c' "
            f"fill-opacity='{0.15 + 0.85 * share:.2f}'/>"
        )
    for tick in _TICKS:
        at = _SIDE * (1 - math.log10(tick) / low)
        yield _text(left + at, _TOP + _SIDE + 16, f"{tick:g}", "middle")
        yield _text(left - 6, _TOP + _SIDE - at + 4, f"{tick:g}", "end")
    yield _text(left + _SIDE / 2, _TOP + _SIDE + 34, "width", "middle")
    x, y = left - 46, _TOP + _SIDE / 2
    turned = f"transform='rotate(-90 {x:.1f} {y:.1f})'"
    yield f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='middle' {turned} {_STYLE}>height</text>"
