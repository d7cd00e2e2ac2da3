"""``--rows --ray``: a cluster on this machine, its output, and what is left if it is killed."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.pictures import PNGS

from .conftest import TINY

pytest.importorskip("ray", reason="Ray is not installed")
pq: Any = pytest.importorskip("pyarrow.parquet")

# Writes two files of rows, and then waits until it is killed.
HELD = """
import sys, threading
from darknet_bn.cli.program import main
from darknet_bn.predictions.row_files import RowFolder

write, written = RowFolder.write, []

def held(self, columns):
    if len(written) == 2:
        print("held", flush=True)
        threading.Event().wait()
    written.append(write(self, columns))

RowFolder.write = held
main(sys.argv[1:])
"""
MODULE = ("-m", "darknet_bn")
COUNT = 60
WORDS = ["detect", str(TINY), "photos", "--rows", "found"]
RAY = ["--ray", "local", "--workers", "2", "--batch", "3"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with many pictures, one of them bad."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT - 1):
        shutil.copy(PNGS[number % len(PNGS)], folder / f"{number:03}.png")
    (folder / "bad.png").write_text("this is a text")
    return tmp_path


def program(place: Path, *words: str, start: Sequence[str] = MODULE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *start, *words],
        cwd=place,
        env=os.environ | {"RAY_OVERRIDE_RESOURCES": '{"CPU": 2}'},  # on any machine
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(folder).to_pylist()
    found = {row["path"]: row for row in rows}
    assert len(found) == len(rows)  # each picture once
    return found


def test_a_killed_program_goes_on_and_the_rows_are_those_of_one_process(place: Path) -> None:
    alone = program(place, "detect", str(TINY), "photos", "--rows", "alone")
    _, err = alone.communicate()
    assert alone.returncode == 1, err  # one picture is bad
    expected = rows_of(place / "alone")
    assert len(expected) == COUNT

    first = program(place, *WORDS, *RAY, start=("-c", HELD))
    assert first.stdout is not None
    said = list(itertools.takewhile("held\n".__ne__, first.stdout))
    first.send_signal(signal.SIGKILL)
    _, err = first.communicate()
    before = rows_of(place / "found")
    assert len(before) == 6, (said, err)

    second = program(place, *WORDS, *RAY)
    out, err = second.communicate()
    assert rows_of(place / "found") == expected
    *_, skipped, last = out.splitlines()
    assert skipped == f"skipped: {len(before)} of {COUNT} pictures whose rows already exist"
    assert last.startswith(f"written: {COUNT - len(before)} rows to found")
    # Nothing of Ray's is printed: only how long it took, and the bad picture if it was left.
    told = [line for line in err.splitlines() if not line.startswith(("took: ", "error: photos"))]
    assert told == []
    bad_was_left = os.path.join("photos", "bad.png") not in before
    assert second.returncode == (1 if bad_was_left else 0)
