"""Tables of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest


def aligned(rows: Iterable[Sequence[str]], sides: str) -> Iterator[str]:
    """Yield the lines of a table.

    Parameters
    ----------
    rows : iterable of sequences of str
        The cells; those of the first row are the headings.
    sides : str
        For each column ``<`` or ``>``: whether its cells are flush left or right.
    """
    whole = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*whole, fillvalue="")]
    for row in whole:
        cells = zip(row, sides, widths, strict=True)
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in cells).rstrip()
