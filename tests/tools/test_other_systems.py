"""Tools on systems that lack what they need: one line, or all that can be done without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
START = """
import os, runpy, signal, sys
for module, name in {absent}:
    if hasattr(sys.modules[module], name):
        delattr(sys.modules[module], name)
sys.modules["resource"] = None  # importing it is an ImportError
sys.path.insert(0, {tools!r})
sys.argv = [{tool!r}, "--help"] if {helps} else [{tool!r}]
runpy.run_path({tool!r}, run_name="__main__")
"""
ABSENT = [("os", "fork"), ("os", "sched_getaffinity"), ("signal", "setitimer")]


def run(tool: str, *, helps: bool = False) -> subprocess.CompletedProcess[str]:
    program = START.format(absent=ABSENT, tools=str(TOOLS), tool=str(TOOLS / tool), helps=helps)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("tool", "code", "message"),
    [
        ("stress.py", 1, "error: tools/stress.py runs on POSIX systems only\n"),
        ("fuzz.py", 2, "error: tools/fuzz.py runs on Linux only\n"),
    ],
)
def test_what_cannot_run_there_says_so(tool: str, code: int, message: str) -> None:
    done = run(tool)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)


@pytest.mark.parametrize("tool", ["bench.py", "make_fixtures.py", "mutants.py"])
def test_the_others_begin(tool: str) -> None:
    done = run(tool, helps=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout or "usage:" in done.stdout
