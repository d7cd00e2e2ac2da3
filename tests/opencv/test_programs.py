"""Programs as people write them print the same with OpenCV 4, and with 5 and the patch.

What OpenCV 4.14 printed is recorded (``tools/record_opencv.py``).  The programs print at most four
digits after the point and whole pixels: the numbers differ by float32's rounding, 1e-6 of the
largest or so, and none of the printed ones is near enough to where a digit changes.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.paths import FIXTURES

PROGRAMS = Path(__file__).parent / "programs"
ARGUMENTS = json.loads((PROGRAMS / "arguments.json").read_text())
MODULE = ("-m", "darknet_bn.opencv")
# OpenCV 4 in the place of 5: without its reader, so that ours is used.
WITHOUT = (
    "import sys, cv2; vars(cv2.dnn).pop('readNetFromDarknet', None); "
    "from darknet_bn.opencv.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


def opencv_reads_darknet() -> bool:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    return hasattr(cv2.dnn, "readNetFromDarknet")


def test_there_are_ten() -> None:
    assert sorted(ARGUMENTS) == sorted(path.stem for path in PROGRAMS.glob("*.py"))
    assert sorted(ARGUMENTS) == sorted(path.stem for path in PROGRAMS.glob("*.txt"))
    assert len(ARGUMENTS) == 10


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_program_prints_what_is_recorded(name: str) -> None:
    assert_prints(name, [MODULE, ("-c", WITHOUT)] if opencv_reads_darknet() else [MODULE])


@pytest.mark.exhaustive  # by default OpenCV 4 is run by the module, which leaves it as it is
@pytest.mark.parametrize("name", ARGUMENTS)
def test_opencv_4_itself_prints_it(name: str) -> None:
    if opencv_reads_darknet():
        assert_prints(name, [()])


def assert_prints(name: str, ways: Sequence[tuple[str, ...]]) -> None:
    command = [str(PROGRAMS / f"{name}.py"), *ARGUMENTS[name]]
    running = [
        subprocess.Popen(
            [sys.executable, *way, *command],
            cwd=FIXTURES,
            env={**os.environ, "OPENCV_LOG_LEVEL": "OFF"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for way in ways
    ]
    expected = (PROGRAMS / f"{name}.txt").read_text().splitlines()
    for way, program in zip(ways, running, strict=True):
        printed, errors = program.communicate()
        assert program.returncode == 0, f"{way}: {errors}"
        found = in_order(printed.splitlines())
        lines = difflib.unified_diff(in_order(expected), found, "recorded", str(way), n=1)
        difference = "\n".join(lines)
        assert not difference, difference


def in_order(lines: Sequence[str]) -> list[str]:
    """Sort boxes whose printed probabilities are equal: digits beyond depend on the processor."""
    runs = itertools.groupby(lines, key=lambda line: line.partition("[")[0])
    return [line for _, run in runs for line in sorted(run)]
