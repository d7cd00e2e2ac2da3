"""Work on pieces on several threads: in order, not far ahead, and given up when asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from darknet_bn.engines.many import map_on_threads


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers: int) -> None:
    def square(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    assert list(map_on_threads(square, range(20), workers)) == [each**2 for each in range(20)]
    assert list(map_on_threads(square, [], workers)) == []


def test_as_many_threads_work_as_are_wanted() -> None:
    together = threading.Barrier(3, timeout=60)
    assert sorted(map_on_threads(lambda _: together.wait(), range(3), 3)) == [0, 1, 2]
    names = set(map_on_threads(lambda _: threading.current_thread(), range(3), 1))
    assert names == {threading.current_thread()}


def test_no_more_is_taken_than_is_worked_on() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_on_threads(lambda each: each, numbers(), 2)
    next(results)
    assert len(taken) <= 5
    results.close()
    assert len(taken) <= 5


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_ends_it(workers: int) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 2:
            raise KeyError(number)
        done.append(number)

    with pytest.raises(KeyError):
        list(map_on_threads(work, range(1000), workers))
    assert len(done) < 20
