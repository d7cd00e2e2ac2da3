"""What no machine has room for is refused, what it has is not."""

from __future__ import annotations

import os

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.work.memory import Arena, require_memory


def physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


pytestmark = pytest.mark.skipif(
    "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()), reason="memory size unknown here"
)


def test_the_limit_is_what_the_machine_has() -> None:
    require_memory(0, "nothing")
    require_memory(physical(), "all")
    with pytest.raises(dn.ShapeError, match=r"^there is not enough memory for one byte too many"):
        require_memory(physical() + 1, "one byte too many")


def test_the_message_says_how_much_there_would_have_to_be() -> None:
    expected = f"expected at most {physical() / 2**30:.1f} GiB, found 1048576.0 GiB"
    with pytest.raises(dn.ShapeError, match=expected):
        require_memory(1 << 50, "it")


def test_a_system_that_does_not_tell_has_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    require_memory(1 << 80, "it")


class TestArena:
    def test_memory_is_used_again_once_nobody_refers_to_it(self) -> None:
        arena = Arena()
        first = arena.empty((100, 1000))
        place = first.ctypes.data
        assert arena.empty((100, 1000)).ctypes.data != place  # it is still in use
        view = first[3:, ::2].T
        del first
        assert all(arena.empty((100, 1000)).ctypes.data != place for _ in range(3))
        view[...] = 1
        del view
        found = {arena.empty((100, 1000)).ctypes.data for _ in range(3)}
        assert place in found

    def test_arrays_are_what_is_asked_for(self) -> None:
        arena = Arena()
        for shape, dtype in (((3, 5), np.float32), ((200, 300), np.float64), ((0, 4), np.float32)):
            array = arena.empty(shape, dtype)
            assert (array.shape, array.dtype) == (shape, dtype)
            assert array.flags.c_contiguous
            assert array.flags.writeable
        assert arena.empty((200, 300)).ctypes.data % 64 == 0

    def test_a_block_is_not_wasted_on_something_small(self) -> None:
        arena = Arena()
        in_use = arena.empty((3000, 1000))
        large = arena.empty((1000, 1000))
        place = large.ctypes.data
        del large
        assert arena.empty((100, 200)).ctypes.data != place
        assert arena.empty((900, 1000)).ctypes.data == place
        in_use[0, 0] = 1

    def test_what_nobody_asks_for_any_more_is_given_back(self) -> None:
        arena = Arena()
        for size in range(1, 30):
            arena.empty((size, 100_000))
        assert sum(block.size for block in arena._blocks) < 4 * 30 * 100_000 * 3
