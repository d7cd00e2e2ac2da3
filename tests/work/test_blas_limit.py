"""BLAS is held to one thread for whoever calls it, and what it was comes back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import darknet_bn as dn
from darknet_bn.work import blas_limit
from darknet_bn.work.blas_limit import BlasLimit
from darknet_bn.work.threads import Workers
from tests.support.builders import cfg_text, random_input, random_model


def blas_threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


@pytest.fixture(autouse=True, scope="module")
def _all_loaded() -> None:
    """Load every BLAS now: numba loads scipy's when it compiles the first loop."""
    model = random_model(cfg_text("[convolutional] filters=4 size=3 pad=1", "[maxpool] size=2"))
    dn.forward(model, random_input(model))


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    """As if BLAS found three cores; no thread keeps the right to change that."""
    found = threadpool_limits(3, user_api="blas")
    with threadpool_limits(None):
        pass
    if blas_threads() != {3}:
        pytest.skip("threadpoolctl does not know the BLAS of numpy")
    yield
    assert blas_threads() == {3}
    with found:
        pass


class Holder:
    """A thread that enters and leaves when it is told to, and says what it sees."""

    def __init__(self, limit: BlasLimit) -> None:
        self._limit = limit
        self._context = limit.hold()
        self._thread = ThreadPoolExecutor(1)

    def call(self, function: Callable[[], object]) -> object:
        return self._thread.submit(function).result(timeout=60)

    def enter(self) -> None:
        self._context = self._limit.hold()
        self.call(self._context.__enter__)

    def leave(self) -> None:
        self.call(lambda: self._context.__exit__(None, None, None))

    def end(self) -> None:
        self._thread.shutdown()


def test_a_thread_after_the_other() -> None:
    limit = BlasLimit()
    with limit.hold():
        assert blas_threads() == {1}
    assert blas_threads() == {3}
    for _ in range(3):
        holder = Holder(limit)
        holder.enter()
        assert holder.call(blas_threads) == {1}
        holder.leave()
        assert blas_threads() == {3}


@pytest.mark.parametrize("order", ["AaBb", "ABba", "ABab", "ABaCbc", "ABCacb", "ABaCcb", "ABabCc"])
@pytest.mark.parametrize("ending", [False, True], ids=["threads live on", "threads end"])
def test_threads_in_any_overlap(order: str, ending: bool) -> None:
    """Capital letters come, small ones leave."""
    limit = BlasLimit()
    holders = {letter: Holder(limit) for letter in "ABC"}
    inside: set[str] = set()
    for step in order:
        holder = holders[step.upper()]
        if step.isupper():
            holder.enter()
            inside.add(step)
        else:
            holder.leave()
            inside.remove(step.upper())
            if ending:
                holder.end()
        expected = {1} if inside else {3}
        assert blas_threads() == expected
        for letter in inside:
            assert holders[letter].call(blas_threads) == expected


def test_the_right_to_set_limits_is_free_afterwards() -> None:
    limit = BlasLimit()
    first, last = Holder(limit), Holder(limit)
    for each in (first.enter, last.enter, first.leave, last.leave):
        each()
    with threadpool_limits(2, user_api="blas"):
        assert blas_threads() == {2}


def test_a_limit_that_the_program_has_set_itself() -> None:
    limit = BlasLimit()
    other = Holder(limit)
    with threadpool_limits(2, user_api="blas"):
        with limit.hold():
            assert blas_threads() == {1}
        assert blas_threads() == {2}
        with limit.hold():
            other.enter()
            other.leave()
            assert blas_threads() == {1}
        assert blas_threads() == {2}
    other.enter()
    other.leave()


def test_many_threads_at_random() -> None:
    limit = BlasLimit()
    seen = []

    def hold(_: int) -> None:
        with limit.hold():
            seen.append(blas_threads())
            with limit.hold():
                seen.append(blas_threads())

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(hold, range(200)))
    assert len(seen) == 400
    assert all(each == {1} for each in seen)


def test_after_exceptions() -> None:
    limit = BlasLimit()
    before = sys.getswitchinterval()
    for _ in range(3):
        with pytest.raises(KeyError), limit.hold(), limit.hold():
            raise KeyError
    assert blas_threads() == {3}
    assert sys.getswitchinterval() == before


def test_threads_hand_python_over_sooner_while_it_is_held() -> None:
    before = sys.getswitchinterval()
    limit = BlasLimit()
    other = Holder(limit)
    with limit.hold():
        assert sys.getswitchinterval() < before
        other.enter()
    assert sys.getswitchinterval() < before
    other.leave()
    assert sys.getswitchinterval() == before


def test_inside_of_tasks() -> None:
    shared = Workers(2)
    seen = []

    def compute(_: int) -> None:
        with shared.hold_blas():
            shared.run(lambda _: seen.append(blas_threads()), range(4))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(compute, range(20)))
    assert len(seen) == 80
    assert all(each == {1} for each in seen)


@pytest.mark.parametrize("exact", [False, True])
def test_forward_from_any_thread(exact: bool) -> None:
    model = random_model(cfg_text("[convolutional] filters=4 size=3 pad=1", "[maxpool] size=2"))
    seen = []

    def compute(_: int) -> None:
        look = lambda: seen.append(blas_threads())  # noqa: E731
        dn.forward(model, random_input(model), exact=exact, after_layer=look)

    compute(0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compute, range(8)))
    compute(0)
    assert len(seen) == 20
    assert all(each == {1} for each in seen)


def test_forward_that_breaks_off() -> None:
    model = random_model(cfg_text("[convolutional] filters=4 size=3 pad=1"))

    def fail() -> None:
        raise KeyError

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyError):
            pool.submit(dn.forward, model, random_input(model), after_layer=fail).result()
        assert blas_threads() == {3}


def test_libraries_that_are_loaded_later(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = BlasLimit()
    with limit.hold():
        pass
    library = OfEachThread()
    monkeypatch.setattr(blas_limit, "ThreadpoolController", lambda: library)
    monkeypatch.setitem(sys.modules, "a_module_with_a_library", sys)
    with limit.hold():
        assert library.num_threads == 1
    assert library.num_threads == 8


class OfEachThread:
    """A library whose limit belongs to a thread, with the interface of threadpoolctl."""

    def __init__(self) -> None:
        self._local = threading.local()
        self.lib_controllers = [self]
        self.filepath, self.internal_api = "libopenblas.so", "openblas"
        self.threading_layer = "openmp"

    @property
    def num_threads(self) -> int:
        return int(getattr(self._local, "limit", 8))

    def select(self, **_: object) -> OfEachThread:
        return self

    @contextmanager
    def _putting_back(self, before: int) -> Iterator[None]:
        yield
        self._local.limit = before

    def limit(self, *, limits: int | None) -> object:
        before = self.num_threads
        self._local.limit = limits or before
        return self._putting_back(before)


def test_a_library_whose_limit_belongs_to_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    library = OfEachThread()
    monkeypatch.setattr(blas_limit, "ThreadpoolController", lambda: library)
    shared = Workers(2)
    both = threading.Barrier(2, timeout=60)
    seen = []

    def task(_: int) -> None:
        both.wait()  # the caller does one, the helper the other
        seen.append(library.num_threads)

    def compute() -> None:
        with shared.hold_blas():
            shared.run(task, range(2))
        seen.append(library.num_threads)

    def overlap() -> None:
        with shared.hold_blas():
            assert library.num_threads == 1
            thread = threading.Thread(target=compute)
            thread.start()
            thread.join()
            assert library.num_threads == 1
        assert library.num_threads == 8

    overlap()
    compute()
    assert seen == [1, 1, 8] * 2


def test_such_a_library_when_the_first_leaves_first(monkeypatch: pytest.MonkeyPatch) -> None:
    library = OfEachThread()
    monkeypatch.setattr(blas_limit, "ThreadpoolController", lambda: library)
    limit = BlasLimit()
    first, last = Holder(limit), Holder(limit)
    for step, limits in (
        (first.enter, (1, 8)),
        (last.enter, (1, 1)),
        (first.leave, (8, 1)),
        (last.leave, (8, 8)),
    ):
        step()
        assert tuple(each.call(lambda: library.num_threads) for each in (first, last)) == limits
