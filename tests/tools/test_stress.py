"""A small campaign of kills and failing calls finds nothing; and it would find what it is for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.paths import TOOLS

STRESS = TOOLS / "stress.py"
# A library that writes under the final name itself, so that a death leaves half of it.
CARELESS = """
import runpy, sys
import darknet_bn.formats.writing as files

def careless(writers, check=None, *, force, inputs=()):
    for name, write in writers.items():
        with open(name, "wb") as stream:
            write(stream)
    if check is not None:
        check()

files.write_files = careless
for module in [each for each in sys.modules.values() if hasattr(each, "write_files")]:
    module.write_files = careless
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stress(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that cannot fork")
@pytest.mark.parametrize("runs", [10, pytest.param(24, marks=pytest.mark.exhaustive)])
def test_nothing_is_torn_lost_or_left(runs: int) -> None:
    done = stress(str(STRESS), "--runs", str(runs), "--seed", "1")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == f"{runs} runs, seed 1: 0 wrong"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that cannot fork")
def test_careless_writing_is_found() -> None:
    load = "import darknet_bn, darknet_bn.cli\n"
    done = stress("-c", load + CARELESS, str(STRESS), "--runs", "10", "--seed", "1")
    assert done.returncode == 1
    assert ": neither old nor new" in done.stdout
