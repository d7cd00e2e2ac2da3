"""One style for all pictures: no background, grey letters that show on light and dark pages."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

GREY = "#7f858c"  # letters and axes
BLUE, ORANGE, GREEN, PURPLE = "#3f8fd2", "#e0762f", "#46a35e", "#a472cf"
WITH, WITHOUT = BLUE, ORANGE  # batch norm

LOOK = {
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.labelcolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": GREY,
    "axes.titlesize": 11,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.alpha": 0.3,
    "grid.color": GREY,
    "legend.frameon": False,
    "legend.labelcolor": GREY,
    "lines.linewidth": 2,
    "path.simplify_threshold": 0.5,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "batch norm",
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def panels(columns: int = 1, *, width: float = 4.2, height: float = 3.3) -> tuple[Figure, Any]:
    """Return a figure and its axes, side by side; a single axes object if there is only one."""
    figure = Figure(figsize=(width * columns + 0.4, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(True, axis="y")
        axis.set_axisbelow(True)
    return figure, axes if columns > 1 else axes[0]


@contextmanager
def look() -> Iterator[None]:
    """Draw and save in this style."""
    with mpl.rc_context(LOOK):
        yield


def save(figure: Figure, path: Path) -> None:
    """Save a figure as a small SVG; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    with look():
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"font-family: [^;]*sans-serif", "font-family: sans-serif", text.getvalue())
    svg = re.sub(r"(\.\d\d)\d+", r"\1", svg)  # hundredths of a point
    svg = re.sub(r"\s*\n\s*", " ", svg).strip() + "\n"
    path.write_text(svg, encoding="utf-8")
