"""Loops that threads share: every part is done once, by whoever is there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from darknet_bn.kernels import instructions, team
from darknet_bn.kernels.compiling import loop
from darknet_bn.kernels.instructions import I64
from darknet_bn.kernels.team import ranges, shared_loop
from darknet_bn.work import threads

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is absent")


@shared_loop()
def count_up(part: I64, seen: I64) -> None:
    for i in range(part[0], part[1]):
        seen[i] += 1


@shared_loop()
def meet(part: I64, arrived: I64, met: I64) -> None:
    """Wait in two parts until both have begun: only two threads can do that."""
    instructions_add(arrived, 0, 1)
    patience = 0
    while instructions_read(arrived, 0) < 2 and patience < 1 << 29:
        instructions_pause()
        patience += 1
    met[part[0]] = instructions_read(arrived, 0)


@shared_loop()
def take_too_much(part: I64, size: I64) -> None:
    if part[0] == 1:
        np.empty(size[0])[0] = 1


instructions_add, instructions_read = instructions.add, instructions.read


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(team, "usable_cores", lambda: 3)
    monkeypatch.setitem(threads._OF_PROCESS, os.getpid(), threads.Workers(3))
    yield


@pytest.fixture
def patient(three_threads: None) -> Iterator[team.Team]:
    """Two threads that wait for hours, or until they are called."""
    crew, made = threads.workers().crew, team.Team(2, 1e-9, 1e9)
    crew.stand_by(made)
    crew.wake(2)
    until = time.monotonic() + 60
    while not made.complete and time.monotonic() < until:
        time.sleep(0.001)
    assert made.complete
    yield made
    crew.stand_by(team.Team(2, 1e-9, 1e-9))
    made.call()


def some_ranges(size: int, count: int) -> I64:
    return ranges([slice(size * i // count, size * (i + 1) // count) for i in range(count)])


def test_every_part_is_done_once(three_threads: None) -> None:
    seen = np.zeros(1000, np.int64)
    for count in (1, 2, 3, 7, 1000):
        for _ in range(20):
            count_up(some_ranges(1000, count), seen)
    np.testing.assert_array_equal(seen, 100)


def test_parts_are_done_at_the_same_time(patient: team.Team) -> None:
    arrived, met = np.zeros(1, np.int64), np.zeros(2, np.int64)
    meet(some_ranges(2, 2), arrived, met)
    np.testing.assert_array_equal(met, 2)


def test_callers_do_not_disturb_each_other(three_threads: None) -> None:
    arrays = [np.zeros(300, np.int64) for _ in range(12)]

    def call(seen: I64) -> None:
        for _ in range(50):
            count_up(some_ranges(300, 5), seen)

    threads.workers().run(call, arrays[:6])  # inside tasks of the same threads
    others = [threading.Thread(target=call, args=(each,)) for each in arrays[6:]]
    for each in others:
        each.start()
    for each in others:
        each.join()
    for seen in arrays:
        np.testing.assert_array_equal(seen, 50)


def test_memory_that_is_not_there_is_an_error(three_threads: None) -> None:
    with pytest.raises(MemoryError):
        take_too_much(some_ranges(3, 3), np.array([1 << 58]))
    with pytest.raises(MemoryError):
        take_too_much(some_ranges(3, 3)[1:2], np.array([1 << 58]))
    take_too_much(some_ranges(3, 3), np.array([1]))


def test_who_waits_stops_after_a_while(three_threads: None) -> None:
    count_up(some_ranges(4, 2), np.zeros(4, np.int64))
    made = threads.workers().crew.standby
    assert isinstance(made, team.Team)
    until = time.monotonic() + 60
    while made.board[team._AWAKE] > 0 and time.monotonic() < until:
        time.sleep(0.001)
    assert made.board[team._AWAKE] == 0
    assert made.board[team._INSIDE] == made.board[team._OPEN] == made.board[team._OWNED] == 0


def test_who_waits_comes_back_for_other_work(patient: team.Team) -> None:
    assert threads.workers().crew.submit(lambda: None).result(timeout=60) is None


def test_calls_that_waited_in_vain_are_followed_by_calls_alone() -> None:
    made = team.Team(1, 1e-6, 1.0)

    def alone() -> int:
        count = 0
        while not made.helps():
            count += 1
        return count

    assert alone() == 0
    made.board[team._WAITED] = 900  # microseconds: too few
    made.learn(1e-3)
    assert alone() == 0
    made.board[team._WAITED] = 3000
    made.learn(7e-3)  # of which more than half was work
    assert alone() == 0
    found = []
    for _ in range(5):
        made.learn(4e-3)
        found.append(alone() + 1)
    assert found == [16, 80, 336, 1024, 1024]
    made.board[team._WAITED] = 0
    for _ in range(2000):
        made.learn(1e-3)
    made.board[team._WAITED] = 3000
    made.learn(4e-3)
    assert alone() + 1 == 16


@loop()
def use_each(places: I64, found: I64) -> None:
    found[0] = instructions_read(places, 1)
    found[1] = instructions_exchange(places, 1, 7)
    found[2] = instructions_add(places, 1, -2)
    instructions_pause()
    instructions_give_way()


instructions_exchange = instructions.exchange
instructions_pause, instructions_give_way = instructions.pause, instructions.give_way


def test_instructions_do_what_they_say() -> None:
    places, found = np.array([1, 2, 3]), np.zeros(3, np.int64)
    use_each(places, found)
    np.testing.assert_array_equal(found, [2, 2, 7])
    np.testing.assert_array_equal(places, [1, 5, 3])


FORKED = """
import os, sys
import numpy as np
import darknet_bn as dn

x = np.random.default_rng(0).standard_normal((16, 64, 16, 16), np.float32)
p = dn.kernels.make_batchnorm_layer(64)

def norm():
    return dn.kernels.forward_batchnorm_layer(x, p, train=True, dialect="alexeyab").y

before = norm()
child = os.fork()
if child == 0:
    os._exit(0 if (norm() == before).all() else 1)
_, status = os.waitpid(child, 0)
assert status == 0
assert (norm() == before).all()
import atexit
atexit.register(norm)  # runs before what lets threads sleep; what came earlier runs after it
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_process_has_threads_of_its_own_and_both_end() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"DARKNET_BN_KERNELS": "compiled", "DARKNET_BN_THREADS": "2"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
