"""Threads that do what they are handed."""

from __future__ import annotations

import gc
import threading
import weakref

from darknet_bn.work.crew import Crew


def test_what_is_handed_over_is_done_in_its_order() -> None:
    crew = Crew(1)
    done: list[int] = []
    futures = [crew.submit(lambda number=number: done.append(number)) for number in range(9)]
    assert [each.result(timeout=60) for each in futures] == [None] * 9
    assert done == list(range(9))


def test_as_many_at_the_same_time_as_there_are_threads() -> None:
    crew = Crew(3)
    meeting = threading.Barrier(3, timeout=60)
    for each in [crew.submit(meeting.wait) for _ in range(6)]:
        each.result(timeout=60)


def test_an_exception_stays_with_what_raised_it() -> None:
    crew = Crew(1)

    def fail() -> None:
        raise KeyError

    failed, fine = crew.submit(fail), crew.submit(lambda: None)
    assert isinstance(failed.exception(timeout=60), KeyError)
    assert fine.exception(timeout=60) is None


def test_what_was_cancelled_in_time_is_not_done() -> None:
    crew = Crew(1)
    begun, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def wait() -> None:
        begun.set()
        go_on.wait(timeout=60)

    first, second = crew.submit(wait), crew.submit(lambda: done.append(1))
    assert begun.wait(timeout=60)
    assert not first.cancel()
    assert second.cancel()
    go_on.set()
    crew.submit(lambda: None).result(timeout=60)
    assert not done


def test_nothing_is_held_once_it_is_done() -> None:
    class Large:
        pass

    crew = Crew(1)
    large = Large()
    known = weakref.ref(large)
    crew.submit(lambda large=large: None).result(timeout=60)
    del large
    crew.submit(lambda: None).result(timeout=60)  # by now the thread has let go of the first
    gc.collect()
    assert known() is None


def test_the_threads_are_daemons_and_end_with_the_crew() -> None:
    crew = Crew(3)
    meeting = threading.Barrier(3, timeout=60)
    threads: list[threading.Thread] = []

    def meet() -> None:
        meeting.wait()
        threads.append(threading.current_thread())

    for each in [crew.submit(meet) for _ in range(3)]:
        each.result(timeout=60)
    del crew
    gc.collect()
    assert len(threads) == 3
    for thread in threads:
        assert thread.daemon
        thread.join(timeout=60)
        assert not thread.is_alive()
