"""Cuts cover everything once, evenly, and no part is much larger than meant."""

from __future__ import annotations

import math

import numpy as np
import pytest

from darknet_bn.work import cuts, measured
from darknet_bn.work.cuts import (
    Block,
    blocks,
    elements,
    even,
    fitting,
    pieces,
    pixels,
    portions,
    run_blocks,
    sharers,
    shares,
    strips,
    tiles,
    two_each,
)
from darknet_bn.work.threads import Workers, workers

THREADS = pytest.mark.parametrize("threads", [1, 2, 3])


def assert_each_once(parts: list[slice], size: int) -> None:
    seen = np.zeros(size, np.int64)
    for part in parts:
        assert part.start < part.stop
        seen[part] += 1
    assert (seen == 1).all()


class TestShares:
    def test_only_long_work_is_shared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        two = Workers(2)
        monkeypatch.setattr(cuts, "workers", lambda: two)
        assert sharers(100, 100) == 1
        assert sharers(10**9, 0) == 2
        assert sharers(0, 10**7) == 2

    def test_every_thread_has_as_many_parts(self) -> None:
        assert [shares(size, 10, 3) for size in (1, 30, 31, 60, 61)] == [3, 3, 6, 6, 9]

    def test_something_always_fits(self) -> None:
        assert [fitting(10, each) for each in (0, 1, 3, 10, 11)] == [10, 10, 3, 1, 1]


class TestRanges:
    def test_pieces(self) -> None:
        assert pieces(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
        assert pieces(0, 3) == []

    def test_even(self) -> None:
        assert even(19, 4) == [slice(0, 4), slice(4, 9), slice(9, 14), slice(14, 19)]
        assert even(3, 1) == [slice(0, 3)]
        assert even(0, 0) == []

    def test_two_for_each_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        three = Workers(3)
        monkeypatch.setattr(cuts, "workers", lambda: three)
        assert [part.stop - part.start for part in two_each(32)] == [6, 6, 6, 6, 6, 2]
        assert len(two_each(4)) == 4

    @THREADS
    @pytest.mark.parametrize("most", [1, 7, 100, 10_000])
    @pytest.mark.parametrize("size", [1, 16, 57])
    def test_portions(self, size: int, most: int, threads: int) -> None:
        parts = portions(size, 9, most, threads)
        assert_each_once(parts, size)
        # Threads have as many each but for what is left of the range, and none has more than fits.
        assert max(part.stop - part.start for part in parts) * 9 <= max(most + 8, 9)
        assert len(parts) >= min(size, threads) or size % len(parts)


class TestStrips:
    @THREADS
    @pytest.mark.parametrize("at_once", [1, 4, 13, 1000])
    @pytest.mark.parametrize(("n", "rows"), [(1, 1), (1, 13), (2, 13), (7, 3), (1, 208)])
    def test_every_row_stands_in_one_strip(
        self, n: int, rows: int, at_once: int, threads: int
    ) -> None:
        seen = np.zeros((n, rows), np.int64)
        tasks = strips(n, rows, at_once, threads)
        for parts in tasks:
            for part in parts:
                assert part.rows > 0
                seen[part.image, part.first : part.first + part.rows] += 1
            assert sum(part.rows for part in parts) <= max(at_once, 1)
        assert (seen == 1).all()

    def test_threads_get_equal_parts_of_one_image(self) -> None:
        heights = [[part.rows for part in parts] for parts in strips(1, 19, 9, 2)]
        assert heights == [[4], [5], [5], [5]]
        assert [[part.rows for part in parts] for parts in strips(1, 19, 100, 2)] == [[9], [10]]

    def test_small_images_stay_whole(self) -> None:
        images = [[part.image for part in parts] for parts in strips(5, 3, 6, 1)]
        assert images == [[0, 1], [2, 3], [4]]


class TestBlocks:
    @THREADS
    @pytest.mark.parametrize(
        ("n", "units", "floats"),
        [(1, 16, 416**2), (3, 512, 169), (100, 4, 9), (2, 1, 10**6), (1, 3_000_000, 1), (5, 3, 0)],
    )
    def test_every_part_stands_in_one_block(
        self, n: int, units: int, floats: int, threads: int
    ) -> None:
        seen = np.zeros((n, units), np.int64)
        parts = blocks(n, units, floats, threads)
        for at in parts:
            seen[at] += 1
            images, part = at
            count = (images.stop - images.start) * (part.stop - part.start)
            assert count * floats <= max(1 << 19, floats)
        assert (seen == 1).all()

    def test_large_images_give_work_to_every_thread(self) -> None:
        assert len(blocks(1, 64, 208 * 208, 4)) == 8
        assert len(blocks(1, 512, 169, 4)) == 1

    def test_all_blocks_run(self) -> None:
        seen = np.zeros((2, 7), np.int64)

        def task(at: Block) -> None:
            seen[at] += 1

        run_blocks(task, 2, 7, 1 << 16)
        assert (seen == 1).all()


class TestTiles:
    @pytest.mark.parametrize("most", [0, 1, 9, 40, 54, 200, 10_000])
    @pytest.mark.parametrize(("n", "units"), [(1, 1), (1, 6), (3, 6), (8, 1), (0, 4), (4, 0)])
    def test_every_unit_stands_in_one_tile(self, n: int, units: int, most: int) -> None:
        seen = np.zeros((n, units), np.int64)
        for images, part in tiles(n, units, 9, most):
            seen[images, part] += 1
            many = images.stop - images.start
            assert many == 1 or part == slice(0, units)
            assert many * (part.stop - part.start) * 9 <= 2 * max(most, 9)
        assert (seen == 1).all()


SHAPES = [(1, 1, 1), (3, 4, 5), (2, 3, 7, 11), (1, 2, 100, 3), (40, 1, 2, 2), (2, 50, 3)]


class TestArrays:
    @pytest.mark.parametrize("most", [1, 10, 1000])
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("kind", ["contiguous", "columns", "reversed"])
    def test_every_element_stands_in_one_part(
        self, kind: str, shape: tuple[int, ...], most: int
    ) -> None:
        whole = np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)
        seen = {
            "contiguous": np.zeros(shape, np.float32),
            "columns": whole[..., : shape[-1]],
            "reversed": whole[..., ::-2],
        }[kind]
        other = np.arange(seen.size, dtype=np.float32).reshape(shape)
        for part, alike in elements(most, seen, other):
            assert part.shape == alike.shape
            assert part.size <= most
            part += 1 + alike
        np.testing.assert_array_equal(seen, 1 + other)
        assert whole.sum() in (0, seen.sum())

    @pytest.mark.parametrize("most", [1, 10, 1000])
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_pixels_stay_whole(self, shape: tuple[int, ...], most: int) -> None:
        seen = np.zeros(shape, np.float32)
        other = np.arange(seen.size, dtype=np.float32).reshape(shape)
        row = math.prod(shape[3:]) * shape[1]
        for part, alike in pixels(most, seen, other):
            assert part.shape == alike.shape
            assert part.shape[:2] == (1, shape[1])
            assert part.size <= max(most, row)
            part += 1 + alike
        np.testing.assert_array_equal(seen, 1 + other)

    def test_a_small_array_is_one_part_as_it_is(self) -> None:
        array = np.zeros((3, 4, 5), np.float32)[:, ::2]
        ((part,),) = elements(measured.ELEMENTS, array)
        assert part is array


def test_the_threads_are_those_of_the_process() -> None:
    assert sharers(10**9, 0) == workers().count
