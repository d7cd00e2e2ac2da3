"""Check whether a head has the number of anchors that ``num`` and ``mask`` require."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from darknet_bn.errors import CfgError, Where


def check_anchors(
    anchors: Sequence[float], num: int, masks: Sequence[int], unit: str
) -> Iterator[tuple[str, str]]:
    """Check the list of anchors against what a head uses of it.

    Darknet allocates ``num`` pairs, all 0.5 x 0.5, and writes the list over them, whatever its
    length: missing values stay 0.5, and boxes are a pixel wide.  One published file has an odd
    number of values because a comma is missing, and one has masks beyond ``num``.

    Parameters
    ----------
    anchors : sequence of float
        Width and height of each anchor.
    num : int
        Expected number of anchors.
    masks : sequence of int
        Which anchors the head uses.
    unit : str
        Their unit: pixels or cells.

    Yields
    ------
    key, text : str, str
        What is odd, and the value that is used, as for ``Options.check``.

    Raises
    ------
    CfgError
        The list ends before the anchors that the head uses.
    """
    for mask, count in Counter(masks).items():
        if count > 1:
            yield "mask", f"the list names anchor {mask} {count} times; each one is used"
    last = max(masks, default=-1)
    needed, numbers = last + 1, len(anchors)
    found = _counted(numbers // 2, "pair")
    if numbers % 2:
        found = f"{_counted(numbers, 'number')}, an odd count"
    if not anchors:
        yield (
            "anchors",
            f"the head needs {_counted(needed, 'pair')}, and the list is missing; "
            f"each one is set to 0.5 x 0.5 {unit}, as Darknet does",
        )
    elif numbers < 2 * needed - 1:
        raise CfgError(
            "there are not enough anchors for the head",
            where=Where(key="anchors"),
            expected=f"{_counted(needed, 'pair')}, since it uses number {last}, counted from 0",
            found=found,
        )
    elif last >= num:
        yield (
            "mask",
            f"the list names anchor {last}, counted from 0, but num={num}; anchors= has {found}, "
            "and "
            "all of them are used",
        )
    elif numbers != 2 * num:
        taken = (
            f"only the first {_counted(2 * num, 'number')} are used"
            if numbers > 2 * num
            else "missing ones are set to 0.5, as Darknet does"
        )
        wanted = f"num={num} asks for {_counted(num, 'pair')}"
        yield "anchors", f"{wanted}, and the list has {found}; {taken}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
