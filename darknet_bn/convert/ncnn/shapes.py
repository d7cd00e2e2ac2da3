"""The shapes of ncnn's blobs, which have one to four axes and none for the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from darknet_bn.graph.dims import Size

MOST_AXES = 4
# In the order of ncnn's numbers: where the axes come from, the innermost first.
_ORDERS = {
    2: "wh hw",
    3: "whc hwc wch cwh hcw chw",
    4: "whdc hwdc wdhc dwhc hdwc dhwc whcd hwcd wchd cwhd hcwd chwd "
    "wdch dwch wcdh cwdh dcwh cdwh hdcw dhcw hcdw chdw dchw cdhw",
}
_AXES = {2: "hw", 3: "chw", 4: "cdhw"}


def blob_shape(dims: Size) -> Size:
    """Return the shape in which a blob has a value of one image: that without the batch."""
    rest = dims[1:] if len(dims) > 1 and dims[0] == 1 else dims
    return rest or (1,)


def aligned(shapes: Sequence[Size]) -> list[Size]:
    """Return shapes of one length for values whose axes are aligned at the last, as numpy has it.

    The axes in front, which all of them lack or have as 1, are left out.
    """
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(each)) + each for each in shapes]
    while rank > 1 and all(each[0] == 1 for each in padded):
        padded, rank = [each[1:] for each in padded], rank - 1
    return padded


def permuted(dims: Size, perm: Sequence[int]) -> tuple[Size, tuple[int, ...]]:
    """Return a shape and an order of its axes that turn a value as another order does its own.

    Axes of one are left out, and those that stay beside each other are joined.
    """
    kept = [axis for axis in perm if dims[axis] != 1]
    groups: list[list[int]] = []
    before = sorted(kept)
    places = {axis: place for place, axis in enumerate(before)}
    for axis in kept:
        if groups and places[axis] == places[groups[-1][-1]] + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    ordered = sorted(groups)
    shape = tuple(math.prod(dims[axis] for axis in group) for group in ordered)
    return shape, tuple(ordered.index(group) for group in groups)


def permute_order(perm: Sequence[int]) -> int:
    """Return ncnn's number of an order of two to four axes."""
    axes = _AXES[len(perm)]
    word = "".join(axes[axis] for axis in reversed(perm))
    return _ORDERS[len(perm)].split().index(word)


def shape_options(shape: Size) -> dict[int, int]:
    """Return a shape as Input, Reshape and MemoryData have it among their options."""
    keys = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}
    return dict(zip(keys[len(shape)], shape, strict=True))
