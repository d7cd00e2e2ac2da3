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

from darknet_bn.cli.interrupts import DEFAULTS
from darknet_bn.cli.program import main
from darknet_bn.cli.signals import Terminated, exit_code, raised

# A command that writes, and is hit while it does; what is raised in it must remove what it began.
HIT = """
import os, signal, sys
import darknet_bn.model.model as model
from darknet_bn.cli.program import main

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
    with raised():
        signal.raise_signal(signal.SIGTERM)
except Terminated:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
else:
    raise SystemExit("nothing was raised")
""",
    "what is ignored on purpose stays ignored": """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with raised():
    signal.raise_signal(signal.SIGTERM)
""",
    "an import is brought to its end first": """
import sys, tempfile
folder = tempfile.mkdtemp()
sys.path.insert(0, folder)
with open(folder + "/interrupted.py", "w") as stream:
    stream.write(
        "import signal, time\\nsignal.raise_signal(signal.SIGINT)\\ntime.sleep(0.05)\\ndone = 1\\n"
    )
try:
    with raised():
        import interrupted
        while True:  # until it is raised again
            pass
except KeyboardInterrupt:
    assert interrupted.done == 1
else:
    raise SystemExit("nothing was raised")
""",
    "what runs when an object goes is brought to its end first": """
import time, weakref
class Thing:
    def __init__(self, name): self.name = name
    def __del__(self):
        if self.name == "deleted": hit(self.name)
ended = []
def hit(name):
    signal.raise_signal(signal.SIGINT)
    ended.append(name)
for name in ("deleted", "finalized"):
    thing = Thing(name)
    if name == "finalized":
        weakref.finalize(thing, hit, name)
    try:
        with raised():
            del thing
            for _ in range(200):  # it is raised again long before
                time.sleep(0.01)
    except KeyboardInterrupt:
        assert ended.pop() == name
    else:
        raise SystemExit("nothing was raised")
""",
    "nor is it held up by an import around the command": """
import sys, tempfile
folder = tempfile.mkdtemp()
sys.path.insert(0, folder)
with open(folder + "/around.py", "w") as stream:
    stream.write(
        "import signal\\nfrom darknet_bn.cli.signals import raised\\n"
        "with raised():\\n    signal.raise_signal(signal.SIGINT)\\n    caught = False\\n"
    )
try:
    import around
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("nothing was raised")
""",
    "what ends the program while it starts is put back": """
from darknet_bn.cli.interrupts import leave, leave_at_signals
leave_at_signals()
try:
    with raised():
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    pass
assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == leave
""",
    "a second signal does not cut what the first leads to": """
cleaned = False
try:
    with raised():
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
    start = "import signal\nfrom darknet_bn.cli.signals import Terminated, raised\n"
    done = subprocess.run(
        [sys.executable, "-c", start + PROGRAMS[name]], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_systems_and_threads_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[bool] = []

    def within() -> None:
        with raised():
            done.append(True)

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    monkeypatch.delitem(DEFAULTS, signal.SIGTERM)
    within()
    assert done == [True, True]


def test_the_exit_code_is_that_of_the_cause() -> None:
    aborted = click.Abort()
    aborted.__cause__ = Terminated()
    assert exit_code(aborted) == 143
    assert exit_code(click.Abort()) == 130


BREAK = """
import signal
signal.SIGBREAK = signal.SIGUSR1  # which is sent as the other one is
from darknet_bn.cli.signals import raised
caught = None
with raised():
    try:
        signal.raise_signal(signal.SIGBREAK)
    except KeyboardInterrupt as error:
        caught = error
    signal.raise_signal(signal.SIGBREAK)  # a second one does not cut what the first leads to
assert type(caught) is KeyboardInterrupt
assert signal.getsignal(signal.SIGBREAK) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
from darknet_bn.cli.interrupts import leave_at_signals
leave_at_signals()
signal.raise_signal(signal.SIGBREAK)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="the system has no SIGUSR1")
def test_sigbreak_of_windows_is_ctrl_c() -> None:
    done = subprocess.run([sys.executable, "-c", BREAK], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
