"""SIGTERM ends a command as Ctrl-C does, and its exit code says which it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from darknet_bn.cli import main
from darknet_bn.cli.signals import Terminated, exit_code, terminated_as_interrupted

# A command that writes, and is hit while it does; what is raised in it must remove what it began.
HIT = """
import os, signal, sys
import darknet_bn.model.model as model
from darknet_bn.cli import main

real, number = model.write_weights, getattr(signal, sys.argv.pop(1))

def hit(stream, *rest):
    stream.write(b"half")
    os.kill(os.getpid(), number)
    real(stream, *rest)

model.write_weights = hit
main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_command_that_writes_leaves_nothing(
    name: str, code: int, tiny: Path, tmp_path: Path
) -> None:
    before = sorted(os.listdir(tmp_path))
    words = [name, "convert", f"{tiny}.pt", "out.weights"]
    made = CliRunner().invoke(main, ["convert", str(tiny), f"{tiny}.pt"])
    assert made.exit_code == 0
    done = subprocess.run(
        [sys.executable, "-c", HIT, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (code, "", "")
    assert sorted(os.listdir(tmp_path)) == before


# These run in a process of their own: a signal's frame may find no room on the stack that pytest
# has set up, once an engine was loaded in another test.
PROGRAMS = {
    "the handler is there within only": """
try:
    with terminated_as_interrupted():
        signal.raise_signal(signal.SIGTERM)
except Terminated:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
else:
    raise SystemExit("nothing was raised")
""",
    "what is ignored on purpose stays ignored": """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with terminated_as_interrupted():
    signal.raise_signal(signal.SIGTERM)
""",
    "a second signal does not cut what the first leads to": """
cleaned = False
try:
    with terminated_as_interrupted():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned = True
except Terminated:
    pass
assert cleaned
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_handling(name: str) -> None:
    start = (
        "import signal\nfrom darknet_bn.cli.signals import Terminated, terminated_as_interrupted\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + PROGRAMS[name]], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_systems_and_threads_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[bool] = []

    def within() -> None:
        with terminated_as_interrupted():
            done.append(True)

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    monkeypatch.delattr(signal, "SIGTERM")
    within()
    assert done == [True, True]


def test_the_exit_code_is_that_of_the_cause() -> None:
    aborted = click.Abort()
    aborted.__cause__ = Terminated()
    assert exit_code(aborted) == 143
    assert exit_code(click.Abort()) == 130
