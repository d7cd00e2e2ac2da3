"""Loops that threads share without Python: who is ready takes the next part.

Handing a part over through Python takes some 60 microseconds, until a thread that slept runs; small
layers take less.  So the threads of a crew wait here for a while before they sleep (`Team.wait`):
they look at a board, an array of numbers that all threads see.  A caller writes there where its
task is, works on it too (`SharedLoop`), and then waits for those only that are in the middle of a
part.  It never waits for a thread to begin: parts that nobody else takes are its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec

import numpy as np

from darknet_bn.kernels.compiling import Loop, loop, standing_for
from darknet_bn.kernels.instructions import I64, add, do, exchange, give_way, pause, read, task
from darknet_bn.work import measured
from darknet_bn.work.threads import usable_cores, workers

P = ParamSpec("P")

# Where things are on a board; what different threads write is on cache lines of its own.
_APART = 16
_OWNED, _OPEN, _NEXT, _INSIDE, _CALLED, _AWAKE, _LINES = (_APART * i for i in range(7))
_TASK, _GIVEN, _COUNT, _NUMBER, _FAILED, _WAITED = (_OPEN + 1 + i for i in range(6))

_TRIAL = 1000  # pauses
_PATIENCE = 2000  # pauses, after which the core is lent to who may have lost it
_LOST = 1e-3  # seconds of waiting for others that are remembered, and the calls to do alone then:
_FIRST_ALONE, _MORE_ALONE, _MOST_ALONE = 16, 4, 1024


class Team:
    """A board, and the threads of a crew that look at it.

    Parameters
    ----------
    helpers : int
        How many threads may wait at once.
    pause : float
        Seconds that a pause takes.
    linger : float
        After how many seconds without any work they stop waiting.
    """

    def __init__(self, helpers: int, pause: float, linger: float) -> None:
        self.helpers, self._pause, self._pauses = helpers, pause, int(linger / pause)
        self._alone = self._next_alone = 0
        numbers = np.zeros(_LINES + _APART, np.int64)
        self.board = numbers[-numbers.ctypes.data // 8 % _APART :]

    @property
    def called(self) -> int:
        """How often the threads were called back."""
        return int(self.board[_CALLED])

    def call(self) -> None:
        """Let all threads that wait come back, and those that are about to."""
        self.board[_CALLED] += 1

    def helps(self) -> bool:
        """Return whether to share the next call; not if the last ones were not worth it."""
        self._alone = max(0, self._alone - 1)
        return self._alone == 0

    def learn(self, seconds: float) -> None:
        """Say how long a call took.

        A thread that lost its core to another program in the middle of a part may keep the caller
        waiting for milliseconds.  Then it does the next calls alone: more of them each time.
        """
        waited = int(self.board[_WAITED]) * self._pause
        if waited > max(_LOST, seconds / 2):
            self._next_alone = min(_FIRST_ALONE + _MORE_ALONE * self._next_alone, _MOST_ALONE)
            self._alone = self._next_alone
        elif self._next_alone:
            self._next_alone -= 1

    @property
    def complete(self) -> bool:
        """Whether as many threads wait as may."""
        return bool(self.board[_AWAKE] >= self.helpers)

    def wait(self, called: int) -> None:
        """Work on what is on the board, until for a while there was nothing.

        Parameters
        ----------
        called : int
            It also ends if ``self.called`` is another number.
        """
        _wait(self.board, called, self.helpers, self._pauses)


class SharedLoop(Generic[P]):
    """A loop over one part of some work, and what lets all threads take parts.

    Parameters
    ----------
    function : function
        Its first argument is a part.
    """

    def __init__(
        self, function: Callable[Concatenate[I64, P], None], *, reorders: bool, fuses: bool
    ) -> None:
        self.part = Loop(function, reorders=reorders, fuses=fuses)
        one = loop()(standing_for(function, _one, _part=self.part))
        self._all = loop()(standing_for(function, _all, _one=one))

    def __call__(self, parts: I64, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do all parts, each a row of numbers, in any order, on all threads.

        Raises
        ------
        MemoryError
            A part needed more than there is.
        """
        team = _team() if len(parts) > 1 else _ALONE
        began = time.perf_counter()
        failed = self._all(team.board, parts, *args, **kwargs)
        team.learn(time.perf_counter() - began)
        if failed:
            raise MemoryError


def shared_loop(
    *, reorders: bool = False, fuses: bool = False
) -> Callable[[Callable[Concatenate[I64, P], None]], SharedLoop[P]]:
    """Turn a function into a `SharedLoop`; the flags are those of `compiling.Loop`."""
    return lambda function: SharedLoop(function, reorders=reorders, fuses=fuses)


def threads() -> int:
    """Return how many threads may work on the parts of a `SharedLoop`."""
    return min(workers().count, usable_cores())


def ranges(slices: Sequence[slice]) -> I64:
    """Return slices as parts: rows of first and end."""
    return np.array([(some.start, some.stop) for some in slices], np.int64)


def _team() -> Team:
    """Return the team of this process's threads; if some sleep, they are woken."""
    crew = workers().crew
    team = crew.standby
    if not isinstance(team, Team):
        team = Team(threads() - 1, min(_timed_pause() for _ in range(3)), measured.LINGER)
        crew.stand_by(team)
    if not team.helps():
        return _ALONE
    if not team.complete:
        crew.wake(team.helpers)
    return team


def _timed_pause() -> float:
    began = time.perf_counter()
    _wait(_ALONE.board, _ALONE.called, 1, _TRIAL)
    return (time.perf_counter() - began) / _TRIAL


_ALONE = Team(0, 1.0, 0.0)


# -- the loops -------------------------------------------------------------------------------------


@loop()
def _wait(board: I64, called: int, helpers: int, pauses: int) -> None:
    last, waited = 0, 0
    if add(board, _AWAKE, 1) >= helpers:
        waited = pauses
    while waited < pauses and read(board, _CALLED) == called:
        number = read(board, _OPEN)
        if number in (0, last):
            pause()
            waited += 1
            continue
        # The caller closes the task before it looks who is inside; who is, sees it open or leaves.
        add(board, _INSIDE, 1)
        if read(board, _OPEN) == number:
            _take_parts(board)
            last, waited = number, 0
        add(board, _INSIDE, -1)
    add(board, _AWAKE, -1)


def _all(board: I64, parts: I64, *args: Any) -> int:
    """Do all parts, with the help of who waits at the board, if it is free."""
    what, given = task(_one, (parts, *args))
    count = len(parts)
    if count < 2 or exchange(board, _OWNED, 1) == 1:
        failed = 0
        for number in range(count):
            failed |= do(what, given, number)
        return failed
    board[_TASK], board[_GIVEN], board[_COUNT], board[_FAILED] = what, given, count, 0
    board[_NEXT] = 0
    board[_NUMBER] += 1
    exchange(board, _OPEN, board[_NUMBER])
    _take_parts(board)
    exchange(board, _OPEN, 0)
    waited = 0
    while read(board, _INSIDE) > 0:
        waited += 1
        pause()
        if waited > _PATIENCE:
            give_way()
    board[_WAITED] = waited
    failed = int(board[_FAILED])
    exchange(board, _OWNED, 0)
    return failed


def _one(given: tuple[Any, ...], number: int) -> None:
    _part(given[0][number], *given[1:])


def _part(part: I64, *args: Any) -> None:
    """Stand for the loop that is shared."""


@loop()
def _take_parts(board: I64) -> None:
    what, given, count = board[_TASK], board[_GIVEN], board[_COUNT]
    number = add(board, _NEXT, 1)
    while number < count:
        if do(what, given, number) != 0:
            exchange(board, _FAILED, 1)
        number = add(board, _NEXT, 1)
