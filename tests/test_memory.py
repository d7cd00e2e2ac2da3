"""What no machine has room for is refused, what it has is not."""

from __future__ import annotations

import os

import pytest

import darknet_bn as dn
from darknet_bn.memory import require_memory


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
