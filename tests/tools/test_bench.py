"""tools/bench.py asks engines in turn, names those that are absent, and prints one table."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from tests.support.paths import TOOLS


def tool(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module(name)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = tool("bench_asked", monkeypatch)
    monkeypatch.setattr(module, "PAUSE", 0)
    return module


def test_the_table_has_the_least_the_median_and_ratios_of_rounds(asked: ModuleType) -> None:
    cases = {
        "step": {
            "numpy": [[0.004, 0.006], [0.012]],
            "torch": [[0.001], [0.003, 0.002, 0.004]],
            "darknet": [[0.010]],
        },
        "copy": {"numpy": [[0.001]]},
    }
    assert list(asked.table(cases, ("numpy", "compiled"))) == [
        "  case  engine            least     median  numpy / it  compiled / it",
        "  step  numpy           4.00 ms    6.00 ms",
        "        torch           1.00 ms    2.50 ms        4.50",  # of 5 / 1 and 12 / 3
        "        darknet        10.00 ms   10.00 ms        0.50",  # of the one round
        "  copy  numpy           1.00 ms    1.00 ms",
    ]


class Engine:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def ask(self, what: str) -> list[float]:
        self.log.append(f"{self.name} {what}")
        return [len(self.log)]


def test_engines_take_turns_in_being_first(asked: ModuleType) -> None:
    log: list[str] = []
    engines = {name: Engine(name, log) for name in ("one", "two")}
    answers = asked.in_turn(engines, 3, "case")
    assert log == [f"{name} case" for name in ("one", "two", "two", "one", "one", "two")]
    assert answers == {"one": [[1], [4], [5]], "two": [[2], [3], [6]]}


def test_who_takes_too_long_is_asked_once(
    asked: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "PATIENCE", -1)
    log: list[str] = []
    asked.in_turn({"slow": Engine("slow", log)}, 3)
    assert log == ["slow "]


def test_the_first_pass_is_not_timed(asked: ModuleType) -> None:
    calls: list[int] = []
    times = asked.passes(lambda: calls.append(1), 1e-9)
    assert (len(times), len(calls)) == (1, 2)


def test_an_absent_engine_is_named_with_the_reason(
    asked: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "import sys; print('[1]', flush=True); sys.stdin.read()"
    left = asked.started(
        {
            "there": lambda: asked.Asked("-c", program),
            "absent": lambda: asked.Asked("-c", "import sys; sys.exit('there is no numba')"),
        }
    )
    assert [(name, each.first) for name, each in left.items()] == [("there", [1])]
    assert capsys.readouterr().out == "  absent is left out: there is no numba\n"
    left["there"].close()


def test_an_engine_sees_no_pinned_variables(
    asked: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in asked.PINNED:
        monkeypatch.setenv(name, "Prescott")
    found = "import json, os; print(json.dumps(sorted(os.environ)))"
    process = asked.Asked("-c", found, DARKNET_BN_KERNELS="numpy")
    process.close()
    assert "DARKNET_BN_KERNELS" in process.first
    assert not set(asked.PINNED) & set(process.first)


def test_outputs_are_compared_as_far_as_they_are_the_same_arrays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    module = tool("bench_forward", monkeypatch)
    first, last = np.ones((1, 2, 2), np.float32), np.full((1, 3, 2), 4, np.float32)
    outputs = {
        "numpy": [first, last],
        "near": [first, last + 1],
        "darknet": [last],
        "opencv": [first.swapaxes(0, 2), last],
    }
    assert list(module.differences(outputs)) == [
        "near differs from numpy by 2.5e-01 of the largest value",
        "darknet differs from numpy by 0.0e+00 of the largest value",
        "opencv gives decoded boxes, which are not compared here",
    ]


def test_an_unknown_case_is_named_with_those_there_are(tmp_path: object) -> None:
    command = [sys.executable, str(TOOLS / "bench.py"), "all", str(tmp_path), "--case", "yolov9"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "yolov9; the cases are yolov3-tiny, " in done.stderr
    assert done.stderr.rstrip().endswith("step digits, step 6 layers")
