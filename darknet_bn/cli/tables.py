"""Tables of text, no wider than the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from darknet_bn import columns
from darknet_bn.cli.terminal import width


def aligned(rows: Iterable[Sequence[str]], sides: str, *, spare: Iterable[int] = ()) -> list[str]:
    """Return the lines of a table, as `darknet_bn.columns.aligned` does for the terminal."""
    return columns.aligned(rows, sides, width=width(sys.stdout), spare=spare)
