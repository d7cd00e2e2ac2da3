"""Ctrl-C and SIGTERM at any moment of the start: an exit code, and not a word."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import darknet_bn
from darknet_bn.cli import interrupts

from .conftest import TINY

ROOT = Path(darknet_bn.__file__).parents[1]

# Runs the program again and again, hit by a signal when it imports its first, second, ... module.
# Prints how many imports there are, then for each run the exit code and what it wrote on stderr.
HITS = """
import os, signal, sys, tempfile
from darknet_bn.__main__ import main

number, step = getattr(signal, sys.argv[1]), int(sys.argv[2])

def program(at, out):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(out, 2)
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event == "import":
            count += 1
            if count == at:
                signal.raise_signal(number)
    sys.addaudithook(hook)
    del sys.argv[1:3]
    try:
        main()
    except SystemExit as error:
        if at == 0:
            os.write(out, str(count).encode())
        os._exit(error.code)

def run(at):
    with tempfile.TemporaryFile() as out:
        child = os.fork()
        if child == 0:
            try:
                program(at, out.fileno())
            finally:  # an exception that got through
                sys.excepthook(*sys.exc_info())
                os._exit(99)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        return code, out.read().decode()

code, count = run(0)
assert code == 0
print(count)
for at in range(1, int(count) + 1, step):
    print(*run(at))
"""


def hits(name: str, step: int, *words: str) -> tuple[int, set[str]]:
    """How many imports a command has, and how it ends if it is hit in each, or some of them."""
    done = subprocess.run(
        [sys.executable, "-c", HITS, name, str(step), *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    count, *ends = (line for line in done.stdout.splitlines() if line)
    return int(count), {end.strip() for end in ends}


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")


@forks
@pytest.mark.parametrize(("name", "code"), [("SIGINT", "130"), ("SIGTERM", "143")])
@pytest.mark.parametrize(
    ("words", "step", "least"),
    [(("--help",), 7, 50), (("fold", "-h"), 11, 60), (("info", str(TINY)), 97, 200)],
    ids=["the help", "the help of a command", "a command"],
)
def test_a_signal_in_any_import_ends_it_without_a_word(
    name: str, code: str, words: tuple[str, ...], step: int, least: int
) -> None:
    count, ends = hits(name, step, *words)
    assert ends == {code}
    assert count > least  # it was hit often enough


@forks
@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "code"), [("SIGINT", "130"), ("SIGTERM", "143")])
@pytest.mark.parametrize("words", [("--help",), ("fold", "-h"), ("info", str(TINY))], ids=" ".join)
def test_a_signal_in_every_import(name: str, code: str, words: tuple[str, ...]) -> None:
    assert hits(name, 1, *words)[1] == {code}


def test_signals_are_seen_to_before_anything_is_imported() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "import darknet_bn.__main__\n"
        "print(*sorted(each for each in set(sys.modules) - before if 'darknet' in each))\n"
        "print('typing' in sys.modules)"
    )
    done = subprocess.run(  # -S: nothing that others have installed is imported before
        [sys.executable, "-S", "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    )
    ours = ("", ".__main__", ".cli", ".cli.interrupts", ".version")
    assert done.stdout == " ".join(f"darknet_bn{each}" for each in ours) + "\nFalse\n"


def test_the_installed_program_begins_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r"^darknet-bn = (.*)$", text, re.MULTILINE) == ['"darknet_bn.__main__:main"']


def test_what_is_ignored_or_handled_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_DFL}
    monkeypatch.setattr(signal, "getsignal", now.__getitem__)
    monkeypatch.setattr(signal, "signal", now.__setitem__)
    interrupts.leave_at_signals()
    assert now == {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: interrupts.leave}


def test_an_interrupt_before_signals_are_seen_to_is_no_traceback_either() -> None:
    code = (
        "import darknet_bn, signal, sys\n"
        "sys.addaudithook(lambda event, about: event == 'import'"
        " and about[0] == 'darknet_bn.cli.interrupts' and signal.raise_signal(signal.SIGINT))\n"
        "import darknet_bn.__main__"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
