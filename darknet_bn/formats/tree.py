"""A tree of classes, read from the text of the file that ``tree=`` names.

One line per class: its name, and the number of its parent, which is an earlier class; -1, or
nothing, if it has no parent.  Neighbours with the same parent are a group, whose probabilities add
up to one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from darknet_bn.errors import CfgError
from darknet_bn.values import brief, fields_of

Rows = npt.NDArray[np.intp]

_INT = re.compile(rb"[+-]?[0-9]{1,9}")


@dataclass(frozen=True)
class Tree:
    """Classes, their parents and groups.

    Attributes
    ----------
    parents : tuple of int
        The parent of each class, which is an earlier class; -1 if it has none.
    offsets : tuple of int
        The first class of each group; the group ends where the next begins.
    """

    parents: tuple[int, ...]
    offsets: tuple[int, ...]

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"of {len(self)} classes in {len(self.offsets)} groups")

    def __getstate__(self) -> dict[str, object]:
        """Return what is pickled."""
        return fields_of(self)

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.parents)

    @cached_property
    def groups(self) -> tuple[slice, ...]:
        """The classes of each group."""
        ends = (*self.offsets[1:], len(self))
        return tuple(slice(*edges) for edges in zip(self.offsets, ends, strict=True))

    @cached_property
    def groups_by_size(self) -> tuple[Rows, ...]:
        """For each size, the classes (g, size) of the groups of this size."""
        offsets = np.array(self.offsets)
        sizes = np.diff(offsets, append=len(self))
        return tuple(
            offsets[sizes == size, np.newaxis] + np.arange(size) for size in np.unique(sizes)
        )

    @cached_property
    def generations(self) -> tuple[Rows, ...]:
        """The classes without parent, then their children, and so on."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        deep = np.array(depths)
        return tuple(np.flatnonzero(deep == depth) for depth in range(max(depths) + 1))

    @cached_property
    def children(self) -> dict[int, int]:
        """The last group of children of each class that has any."""
        return {self.parents[first]: group for group, first in enumerate(self.offsets)}


def parse_tree(data: bytes) -> Tree:
    """Read the text of a tree of classes.

    Parameters
    ----------
    data : bytes
        The content of the file; text after the parent in a line is ignored.

    Raises
    ------
    CfgError
        A line is invalid, or there are no lines.

    Notes
    -----
    C: ``read_tree`` in ``src/tree.c``, which does not check what it reads.
    """
    if b"\0" in data:
        raise CfgError(
            "the file contains zero bytes and is not text", expected="lines of name and parent"
        )
    parents: list[int] = []
    offsets: list[int] = []
    for number, line in enumerate(data.rstrip().split(b"\n")):
        words = line.split()
        if not words:
            what = "the line is empty" if data.strip() else "there are no classes"
            raise CfgError(f"line {number + 1}: {what}", expected="name and parent")
        parent = _parent(words[1], number) if len(words) > 1 else -1
        if not parents or parent != parents[-1]:
            offsets.append(number)
        parents.append(parent)
    return Tree(tuple(parents), tuple(offsets))


def _parent(word: bytes, number: int) -> int:
    if not _INT.fullmatch(word) or not -1 <= int(word) < number:
        before = f", or an earlier class: 0 to {number - 1}" if number else ""
        raise CfgError(
            f"line {number + 1}: the parent is not valid",
            expected=f"-1 for none{before}",
            found=repr(word[:20].decode("utf-8", "replace")),
        )
    return int(word)
