"""Tables of text, no wider than the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from darknet_bn.cli.terminal import width
from darknet_bn.formats import columns


def aligned(rows: Iterable[Sequence[str]], sides: str, *, spare: Iterable[int] = ()) -> list[str]:
    """Return the lines of a table, as wide as the terminal."""
    return columns.aligned(rows, sides, width=width(sys.stdout), spare=spare)
