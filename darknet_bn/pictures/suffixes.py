"""What the suffix of a file name says about a picture or a video that is to be written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from darknet_bn.errors import ImageError, Where

T = TypeVar("T")


def by_suffix(path: str | os.PathLike[str], known: Mapping[str, T], what: str) -> T:
    """Return what belongs to the suffix of a file name, in whatever letter case.

    Raises
    ------
    ImageError
        The suffix is unknown; the message names the known ones.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise ImageError(
            f"the file name does not say which {what} format to write",
            where=Where(file=os.fspath(path)),
            expected=", ".join(known),
            found=suffix or "no suffix",
        )
    return known[suffix]
