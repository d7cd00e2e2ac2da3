"""Whether the anchors of a head are as many as ``num`` and ``mask`` say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from darknet_bn.errors import CfgError, Where


def check_anchors(
    anchors: Sequence[float], num: int, masks: Sequence[int], unit: str
) -> Iterator[tuple[str, str]]:
    """Hold the list of anchors against what a head takes from it.

    Darknet makes room for ``num`` pairs, all 0.5 x 0.5, and writes the list over them whatever its
    length: what is missing stays 0.5, and boxes are a pixel wide.  One published file has an
    odd count, since a comma is missing in it, and one has masks beyond ``num``.

    Parameters
    ----------
    anchors : sequence of float
        Width and height of each.
    num : int
        How many there are to be.
    masks : sequence of int
        Which of them the head uses.
    unit : str
        What they are measured in: pixels or cells.

    Yields
    ------
    key, text : str, str
        What is odd, and what is taken, as ``Options.check`` does.

    Raises
    ------
    CfgError
        The list ends before the anchors that the head uses.
    """
    for mask, count in Counter(masks).items():
        if count > 1:
            yield "mask", f"it names anchor {mask} {count} times; each time counts"
    last = max(masks, default=-1)
    needed, numbers = last + 1, len(anchors)
    found = _counted(numbers // 2, "pair")
    if numbers % 2:
        found = f"{_counted(numbers, 'number')}, an odd count"
    if not anchors:
        yield (
            "anchors",
            f"the head needs {_counted(needed, 'pair')}, and the list is missing; "
            f"each is taken as 0.5 x 0.5 {unit}, as Darknet does",
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
            f"it names anchor {last}, counted from 0, but num={num}; the list has {found}, and "
            "they count",
        )
    elif numbers != 2 * num:
        taken = (
            f"the {_counted(2 * num, 'number')} at its start count"
            if numbers > 2 * num
            else "0.5 is taken for what is missing, as Darknet does"
        )
        wanted = f"num={num} asks for {_counted(num, 'pair')}"
        yield "anchors", f"{wanted}, and the list has {found}; {taken}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
