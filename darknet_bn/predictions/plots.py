"""Pictures of how well a detector does: SVG, without any library.

They are light or dark as the reader's system is, and readable without colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from darknet_bn.arrays import F64
from darknet_bn.predictions.confusion import Confusion
from darknet_bn.predictions.curves import RECALLS, Curve, Curves

_STYLE = """<style>
text { font: 12px sans-serif; fill: #333 }
.paper { fill: #fff }
.grid { stroke: #ddd; fill: none }
.cell { fill: #08519c }
.on { fill: #fff }
.small { font-size: 10px }
.line { fill: none; stroke-width: 1.5 }
.faint { fill: none; stroke: #888; stroke-width: 1; stroke-opacity: 0.35 }
.main { fill: none; stroke: #111; stroke-width: 3 }
.mark { stroke: #111; stroke-dasharray: 2 3 }
@media (prefers-color-scheme: dark) {
text { fill: #ddd }
.paper { fill: #16181c }
.grid { stroke: #3a3d42 }
.cell { fill: #7db8e8 }
.on { fill: #16181c }
.main, .mark { stroke: #fff }
}
</style>"""
_WIDTH, _SIDE = 760, 400  # pixels of a picture with curves, and of the square that they are in
_LEFT, _TOP, _BOTTOM = 60, 40, 50
_COLOURS = ("#2f85c7", "#d95f02", "#1b9e77", "#c51b7d", "#8c6d1f", "#7570b3", "#d62728", "#3a8a8a")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3", "14 4", "4 2", "1 2", "9 3 2 3 2 3")  # apart in grey
_MOST_CURVES = len(_COLOURS)  # that can be told apart
_MOST_CLASSES = 80  # of a matrix
_LONGEST = 22  # characters of a name
_LEAST_FOR_NUMBERS = 24  # pixels of a cell that has room for a count


def precision_recall_plot(curves: Curves, names: Sequence[str]) -> str:
    """Draw the precision of each class over its recall, and their mean.

    If there are more classes than can be told apart, those with the least average precision are
    named, and the rest are thin lines.

    Parameters
    ----------
    curves : Curves
    names : sequence of str
        Of all classes.

    Returns
    -------
    svg : str
    """
    named = sorted(curves.classes, key=lambda each: each.average_precision)
    rest: list[Curve] = []
    if len(named) > _MOST_CURVES:
        named, rest = named[:_MOST_CURVES], named[_MOST_CURVES:]
    named = named[::-1]
    parts = [_line(RECALLS, each.precision, "class='faint'") for each in rest]
    legend = []
    for number, each in enumerate(named):
        look = _look(number)
        parts.append(_line(RECALLS, each.precision, look))
        name = f"{_short(names[each.class_id])} {each.average_precision:.3f}"
        legend.append((look, name))
    parts.append(_line(RECALLS, curves.mean, "class='main'"))
    mean = np.mean([each.average_precision for each in curves.classes] or [0.0])
    legend.insert(0, ("class='main'", f"mean of {len(curves.classes)} {mean:.3f}"))
    if rest:
        legend.append(("class='faint'", f"{len(rest)} other{'s' * (len(rest) > 1)}, better"))
    return _curves("Precision over recall, and average precision", "recall", parts, legend)


def threshold_plot(curves: Curves, threshold: float) -> str:
    """Draw precision, recall and F1 of all classes together over the threshold.

    Parameters
    ----------
    curves : Curves
    threshold : float
        The one in force, which is marked; the best F1 is marked too.

    Returns
    -------
    svg : str
    """
    best = curves.best
    rows = (("precision", curves.precision), ("recall", curves.recall))
    parts, legend = [], []
    for number, (name, values) in enumerate(rows):
        end = int(np.flatnonzero(values)[-1:].sum()) + 1  # where nothing is found, there is nothing
        parts.append(_line(RECALLS[:end], values[:end], _look(number)))
        legend.append((_look(number), name))
    parts.append(_line(RECALLS, curves.f1, "class='main'"))
    legend.append(("class='main'", f"F1, best {curves.f1[best]:.3f} at {RECALLS[best]:.2f}"))
    x, y = _x(float(RECALLS[best])), _y(float(curves.f1[best]))
    parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='5' class='main'/>")
    x = _x(threshold)
    parts.append(f"<line x1='{x:.1f}' y1='{_y(0)}' x2='{x:.1f}' y2='{_y(1)}' class='mark'/>")
    legend.append(("class='mark'", f"threshold {threshold:g}"))
    return _curves("Precision, recall and F1 over the threshold", "threshold", parts, legend)


def confusion_plot(confusion: Confusion, names: Sequence[str]) -> str:
    """Draw which classes are found as which.

    How dark a cell is, is the part of the truths of its row; in the row of the background, where
    nothing is, the part of the boxes of its column.

    Parameters
    ----------
    confusion : Confusion
    names : sequence of str
        Of all classes; those that have neither truth nor box are left out.

    Returns
    -------
    svg : str
    """
    counts, background = confusion.counts, len(confusion.counts) - 1
    weights = counts.sum(axis=0)[:-1] + counts.sum(axis=1)[:-1]
    present = np.flatnonzero(weights)
    if len(present) > _MOST_CLASSES:
        present = np.sort(present[np.argsort(-weights[present], kind="stable")[:_MOST_CLASSES]])
    shown = [*present.tolist(), background]
    labels = [*(_short(names[each]) for each in shown[:-1]), "background"]
    cell = max(9, min(46, 560 // len(shown)))
    font = min(12, max(cell - 1, 7))
    room = round(0.62 * font * max(map(len, labels)))  # a letter is some 0.6 of its size wide
    angle = 45 if cell > 15 else 90  # of the names of columns
    left, top, side = room + 40, 62, cell * len(shown)
    width, height = max(left + side + 30, 460), top + side + room + 24
    title = f"Confusion over {confusion.threshold:g} at IoU {confusion.iou_threshold:g}"
    if len(present) < np.count_nonzero(weights):
        title += f"; {len(present)} of {np.count_nonzero(weights)} classes"
    parts = [f"<text x='16' y='24'>{title}</text>"]
    parts.append(f"<text x='{left}' y='{top - 10}' class='small'>found as &#8594;</text>")
    middle = top + side / 2
    parts.append(
        f"<text class='small' text-anchor='middle' "
        f"transform='translate(20 {middle:.0f}) rotate(-90)'>&#8592; true</text>"
    )
    for place, label in enumerate(labels):
        at = top + (place + 0.5) * cell
        size = f"style='font-size: {font}px'"
        parts.append(
            f"<text x='{left - 6}' y='{at + 0.35 * font:.1f}' text-anchor='end' {size}>"
            f"{escape(label)}</text>"
        )
        x = left + (place + 0.5) * cell
        parts.append(
            f"<text text-anchor='end' {size} transform='translate({x + 0.35 * font:.1f} "
            f"{top + side + 8 + 0.3 * font:.1f}) rotate(-{angle})'>{escape(label)}</text>"
        )
    steps = range(0, side + 1, cell)
    lines = [f"M{left} {top + each}h{side}M{left + each} {top}v{side}" for each in steps]
    parts.append(
        f"<path d='{''.join(lines)}' class='grid' stroke-width='{min(1, cell / 24):.2f}'/>"
    )
    for row, real in enumerate(shown):
        for column, found in enumerate(shown):
            count = int(counts[real, found])
            x, y = left + column * cell, top + row * cell
            if not count:
                continue
            whole = int(counts[:, found].sum() if real == background else counts[real].sum())
            part = count / whole
            parts.append(
                f"<rect x='{x}' y='{y}' width='{cell}' height='{cell}' class='cell' "
                f"fill-opacity='{part:.3f}'><title>true {escape(labels[row])}, found as "
                f"{escape(labels[column])}: {count} of {whole}</title></rect>"
            )
            if cell >= _LEAST_FOR_NUMBERS:
                over = " on" if part > 0.5 else ""
                parts.append(
                    f"<text x='{x + cell / 2:g}' y='{y + cell / 2 + 4:g}' text-anchor='middle' "
                    f"class='small{over}' pointer-events='none'>{count}</text>"
                )
    return _svg(width, height, parts)


def _curves(title: str, axis: str, parts: Sequence[str], legend: Iterable[tuple[str, str]]) -> str:
    """Return a square from 0 to 1 with lines in it, and what they are."""
    frame = [f"<text x='{_LEFT}' y='24'>{title}</text>"]
    for tenth in range(0, 11, 2):
        value = tenth / 10
        x, y = _x(value), _y(value)
        frame.append(f"<path d='M{_x(0)} {y:g}H{_x(1)}M{x:g} {_y(0)}V{_y(1)}' class='grid'/>")
        frame.append(f"<text x='{_LEFT - 8}' y='{y + 4:g}' text-anchor='end'>{value:g}</text>")
        frame.append(f"<text x='{x:g}' y='{_y(0) + 18}' text-anchor='middle'>{value:g}</text>")
    middle = _LEFT + _SIDE / 2
    frame.append(f"<text x='{middle:g}' y='{_y(0) + 38}' text-anchor='middle'>{axis}</text>")
    keys = []
    for number, (look, text) in enumerate(legend):
        y = _TOP + 14 + 20 * number
        x = _LEFT + _SIDE + 24
        keys.append(f"<line x1='{x}' y1='{y}' x2='{x + 30}' y2='{y}' {look}/>")
        keys.append(f"<text x='{x + 38}' y='{y + 4}'>{escape(text)}</text>")
    return _svg(_WIDTH, _TOP + _SIDE + _BOTTOM, [*frame, *parts, *keys])


def _svg(width: int, height: int, parts: Iterable[str]) -> str:
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}'>"
    )
    paper = "<rect width='100%' height='100%' class='paper'/>"
    return "\n".join([head, _STYLE, paper, *parts, "</svg>"]) + "\n"


def _line(xs: F64, ys: F64, look: str) -> str:
    points = zip(xs.tolist(), ys.tolist(), strict=True)
    return f"<polyline points='{' '.join(f'{_x(x):.1f},{_y(y):.1f}' for x, y in points)}' {look}/>"


def _look(number: int) -> str:
    """Return how one of several lines looks."""
    return f"class='line' stroke='{_COLOURS[number]}' stroke-dasharray='{_DASHES[number]}'"


def _x(value: float) -> float:
    return _LEFT + _SIDE * value


def _y(value: float) -> float:
    return _TOP + _SIDE * (1 - value)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
