"""Refuse sizes that no memory can hold, before any is taken."""

from __future__ import annotations

import os

from darknet_bn.errors import ShapeError


def require_memory(size: int, what: str) -> None:
    """Check that ``size`` bytes could be had on this machine at all.

    Raises
    ------
    ShapeError
        They are more than the machine has.
    """
    try:
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return
    if size > limit:
        raise ShapeError(
            f"there is not enough memory for {what}",
            expected=f"at most {limit / 2**30:.1f} GiB",
            found=f"{size / 2**30:.1f} GiB",
        )
