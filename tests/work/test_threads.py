"""Threads that share work: what all of them have in common."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from darknet_bn.work.threads import Workers, workers


def test_all_threads_handle_floating_point_errors_as_the_caller_does() -> None:
    both = threading.Barrier(2, timeout=60)
    results = []

    def overflow(item: int) -> None:
        both.wait()  # neither thread can take both items
        results.append(np.full(4, 1e38, np.float32) * np.float32(item))

    with np.errstate(over="ignore"):
        Workers(2).run(overflow, [1000, 2000])  # a warning would be an error here
    assert np.isinf(results).all()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        Workers(2).run(overflow, [1000, 2000])


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("items", [0, 1, 2, 100])
def test_every_item_is_done_once(count: int, items: int) -> None:
    done: list[int] = []
    Workers(count).run(done.append, range(items))
    assert sorted(done) == list(range(items))


def test_all_threads_work_and_the_caller_is_one_of_them() -> None:
    meeting = threading.Barrier(3, timeout=60)
    names = set()

    def meet(_: int) -> None:
        meeting.wait()  # no thread can take two of the three items
        names.add(threading.current_thread().name)

    Workers(3).run(meet, range(3))
    assert len(names) == 3
    assert threading.current_thread().name in names


@pytest.mark.parametrize("count", [1, 2])
def test_an_exception_stops_the_rest(count: int) -> None:
    shared = Workers(count)
    begun: list[int] = []

    def task(item: int) -> None:
        begun.append(item)
        raise KeyError(item)

    with pytest.raises(KeyError):
        shared.run(task, range(1000))
    assert len(begun) <= count
    begun.clear()
    shared.run(begun.append, range(3))  # and the threads are still there
    assert sorted(begun) == [0, 1, 2]


def test_an_exception_of_a_helper_reaches_the_caller() -> None:
    both = threading.Barrier(2, timeout=60)
    caller = threading.current_thread()

    def task(_: int) -> None:
        both.wait()
        if threading.current_thread() is not caller:
            raise KeyError

    with pytest.raises(KeyError):
        Workers(2).run(task, range(2))


def test_a_task_may_share_work_itself() -> None:
    shared = Workers(2)
    done: list[tuple[int, int]] = []

    def outer(i: int) -> None:
        shared.run(lambda j: done.append((i, j)), range(4))

    shared.run(outer, range(4))
    assert sorted(done) == [(i, j) for i in range(4) for j in range(4)]


def test_scratch_belongs_to_one_thread() -> None:
    shared = Workers(2)
    both = threading.Barrier(2, timeout=60)

    def task(item: int) -> None:
        buffer = shared.scratch(100)
        buffer.fill(item)
        both.wait()  # the other thread has written into its own by now
        assert (buffer == item).all()

    shared.run(task, [1, 2])


def test_scratch_grows_and_slots_are_apart() -> None:
    shared = Workers(1)
    small = shared.scratch(10)
    assert np.shares_memory(small, shared.scratch(5))
    assert shared.scratch(1000).shape == (1000,)
    assert not np.shares_memory(shared.scratch(1000, "a"), shared.scratch(1000, "b"))
    for slot in range(5):
        buffer = shared.scratch(17, slot)
        assert buffer.dtype == np.float32
        assert buffer.ctypes.data % 64 == 0


def test_buffers_are_as_many_as_threads_compute_at_the_same_time() -> None:
    shared = Workers(1)
    places = []

    def compute() -> None:
        with shared.hold_blas():
            with shared.hold_blas():
                places.append(shared.scratch(1000).ctypes.data)
            assert shared.scratch(1000).ctypes.data == places[-1]

    for _ in range(5):
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    compute()
    assert len(set(places)) == 1


def test_threads_that_compute_at_the_same_time_have_buffers_of_their_own() -> None:
    shared = Workers(1)
    all_of_them = threading.Barrier(3, timeout=60)
    right = []

    def compute(item: int) -> None:
        for _ in range(3):
            with shared.hold_blas():
                buffer = shared.scratch(100)
                buffer.fill(item)
                all_of_them.wait()  # the others have filled theirs
                right.append((buffer == item).all())
                all_of_them.wait()  # nobody has left yet

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(compute, range(3)))
    assert right == [True] * 9


@pytest.mark.parametrize(("wanted", "count"), [("3", 3), ("1", 1), ("", None), ("0", None)])
def test_the_environment_says_how_many(
    wanted: str, count: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKNET_BN_THREADS", wanted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    monkeypatch.setattr("darknet_bn.work.threads._OF_PROCESS", {})
    assert workers().count == (count or 5)
    assert workers() is workers()


def test_threads_that_come_first_at_the_same_time_share_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("darknet_bn.work.threads._OF_PROCESS", {})
    both_make_some = threading.Barrier(2, timeout=60)

    def wanted() -> int:
        both_make_some.wait()
        return 2

    monkeypatch.setattr("darknet_bn.work.threads._wanted", wanted)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: workers(), range(2))
    assert one is other


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python warns of what is tested here
def test_a_forked_child_has_threads_of_its_own() -> None:
    workers().run(lambda _: None, range(8))
    child = os.fork()
    if child == 0:
        done: list[int] = []
        workers().run(done.append, range(100))
        os._exit(0 if len(done) == 100 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


ENDED = """
import threading, time
from darknet_bn.work.threads import workers

def late():
    main.join()
    time.sleep(0.05)  # now that the main thread has ended, the interpreter begins to wait
    meeting = threading.Barrier(2, timeout=60)
    names = set()

    def meet(_):
        meeting.wait()
        names.add(threading.current_thread().name)

    with workers().hold_blas():
        workers().run(meet, range(2))
    print(len(names), flush=True)

main = threading.main_thread()
{before}threading.Thread(target=late).start()
"""


@pytest.mark.parametrize("before", ["", "workers(); "], ids=["made late", "made before"])
def test_threads_work_on_after_the_main_thread_has_ended(before: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", ENDED.format(before=before)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env=os.environ | {"DARKNET_BN_THREADS": "2"},
    )
    assert (result.stdout, result.stderr) == ("2\n", "")
