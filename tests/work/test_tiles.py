"""Cuts of a batch cover everything once, evenly."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.work import tiles
from darknet_bn.work.threads import Workers
from darknet_bn.work.tiles import pieces, sharers, strips


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("at_once", [1, 4, 13, 1000])
@pytest.mark.parametrize(("n", "rows"), [(1, 1), (1, 13), (2, 13), (7, 3), (1, 208)])
def test_every_row_stands_in_one_strip(n: int, rows: int, at_once: int, threads: int) -> None:
    seen = np.zeros((n, rows), np.int64)
    tasks = strips(n, rows, at_once, threads)
    for parts in tasks:
        for part in parts:
            assert part.rows > 0
            seen[part.image, part.first : part.first + part.rows] += 1
        assert sum(part.rows for part in parts) <= max(at_once, 1)
    assert (seen == 1).all()


def test_threads_get_equal_parts_of_one_image() -> None:
    assert [[part.rows for part in parts] for parts in strips(1, 19, 9, 2)] == [[4], [5], [5], [5]]
    assert [[part.rows for part in parts] for parts in strips(1, 19, 100, 2)] == [[9], [10]]


def test_small_images_stay_whole() -> None:
    assert [[part.image for part in parts] for parts in strips(5, 3, 6, 1)] == [[0, 1], [2, 3], [4]]


def test_pieces() -> None:
    assert pieces(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert pieces(0, 3) == []


def test_only_long_work_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Workers(2)
    monkeypatch.setattr(tiles, "workers", lambda: two)
    assert sharers(100, 100) == 1
    assert sharers(10**9, 0) == 2
    assert sharers(0, 10**7) == 2
