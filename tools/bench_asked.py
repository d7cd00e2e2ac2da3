"""Engines in processes of their own, asked in turn, and the one table of what they took."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import click

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PAUSE = 0.1  # seconds in which the threads of the previous engine go to sleep
SECONDS = 0.3  # of passes, each time an engine is asked: processors need some time to wake up
PATIENCE = 10.0  # seconds; whoever takes longer for one answer is asked only once
PINNED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

Rounds: TypeAlias = list[list[float]]
"""The seconds of each pass, for each time that an engine was asked."""


class Stopped(click.ClickException):
    """An engine that cannot do what it is asked."""


class Asked:
    """A process that answers a line with a line of JSON, once it is ready.

    Parameters
    ----------
    command : str
        The program and its arguments.
    variables : str
        More variables of its environment.

    Attributes
    ----------
    first : object
        What it said when it was ready.
    """

    def __init__(self, *command: str, **variables: str) -> None:
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 # `close` closes it
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            env=environment() | variables,
        )
        self.first = self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            self._messages.seek(0)
            *_, last = ["it stopped", *self._messages.read().decode(errors="replace").splitlines()]
            self._messages.close()
            raise Stopped(last)
        return json.loads(line)

    def ask(self, what: str = "") -> Any:
        """Return the answer to a line."""
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._messages.close()


def started(engines: Mapping[str, Callable[[], Asked]]) -> dict[str, Asked]:
    """Start engines; those that cannot start are left out, and named with the reason."""
    asked = {}
    for name, make in engines.items():
        try:
            asked[name] = make()
        except Stopped as error:
            click.echo(f"  {name} is left out: {error}")
    return asked


def in_turn(asked: Mapping[str, Asked], rounds: int, what: str = "") -> dict[str, list[Any]]:
    """Ask engines again and again, each after a pause; who comes first alternates.

    Returns
    -------
    dict from name to list of answers
        Only the first of those that take longer than ``PATIENCE``.
    """
    answers: dict[str, list[Any]] = {name: [] for name in asked}
    slow = set()
    for number in range(rounds):
        for name in list(asked)[:: -1 if number % 2 else 1]:
            if name in slow:
                continue
            began = time.perf_counter()
            answers[name].append(asked[name].ask(what))
            if time.perf_counter() - began > PATIENCE:
                slow.add(name)
            time.sleep(PAUSE)
    return answers


def passes(run: Callable[[], object], seconds: float = SECONDS) -> list[float]:
    """Time a function for some seconds, once at least, after a call that warms the caches up."""
    run()
    times: list[float] = []
    while sum(times) < seconds:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return times


def table(cases: Mapping[str, Mapping[str, Rounds]], ours: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table: the least and the median of all passes, and ratios.

    Parameters
    ----------
    cases : mapping from case to mapping from engine to rounds
    ours : sequence of str
        Each gets a column of ratios, its time by those of the others: medians, over the rounds, of
        the ratio of both medians of a round.
    """
    wide = max(len("case"), *map(len, cases)) if cases else 0
    ratios = "".join(f"{f'{name} / it':>{len(name) + 7}}" for name in ours)
    yield f"  {'case':<{wide}}  {'engine':<12}{'least':>11}{'median':>11}{ratios}"
    for case, engines in cases.items():
        shown = case
        for name, rounds in engines.items():
            times = [1e3 * each for some in rounds for each in some]
            line = f"{min(times):>8.2f} ms{statistics.median(times):>8.2f} ms"
            for mine in ours:
                pairs = mine in engines and mine != name
                ratio = f"{paired(engines[mine], rounds):.2f}" if pairs else ""
                line += f"{ratio:>{len(mine) + 7}}"
            yield f"  {shown:<{wide}}  {name:<12}{line}".rstrip()
            shown = ""


def paired(ones: Rounds, others: Rounds) -> float:
    """Return the median of the ratios of rounds; what was asked once has one ratio."""
    pairs = zip(ones, others, strict=False)
    return statistics.median(statistics.median(one) / statistics.median(two) for one, two in pairs)


def environment() -> dict[str, str]:
    """Return the environment without the variables that can pin numpy to slow code."""
    return {key: value for key, value in os.environ.items() if key not in PINNED}


def machine() -> str:
    """Return what times depend on, in a few words."""
    code = (
        "import numpy, threadpoolctl;"
        "print(*{i.get('architecture') for i in threadpoolctl.threadpool_info()})"
    )
    command = [sys.executable, "-c", code]
    blas = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return f"{THREADS} threads, BLAS {blas.stdout.strip()}"
