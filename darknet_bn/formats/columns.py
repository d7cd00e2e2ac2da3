"""Text in columns, at its natural width or cut to a terminal's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

_GAP = "  "


def aligned(
    rows: Iterable[Sequence[str]],
    sides: str,
    *,
    width: int | None = None,
    spare: Iterable[int] = (),
) -> list[str]:
    """Return the lines of a table.

    Parameters
    ----------
    rows : iterable of sequences of str
        The cells; the first row holds the headings.
    sides : str
        For each column ``<`` or ``>``: whether its cells are flush left or right.
    width : int, optional
        The longest line allowed, in characters.
    spare : iterable of int
        The columns to leave out until the lines fit, the first one first.
    """
    cells = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    kept = list(range(len(widths)))
    for column in spare:
        if width is None or _length(widths[each] for each in kept) <= width:
            break
        kept.remove(column)
    return [
        _GAP.join(f"{row[each]:{sides[each]}{widths[each]}}" for each in kept).rstrip()
        for row in cells
    ]


def _length(widths: Iterable[int]) -> int:
    """Return the length of a line of columns."""
    each = list(widths)
    return sum(each) + len(_GAP) * (len(each) - 1)
