"""The option --engine: the same lines in every engine that is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.engines import EACH

from .conftest import FIXTURES, PICTURE, TINY, Cli

DIGITS = FIXTURES / "digits" / "digits"
CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"
LINES = {
    "detect": ("detect", TINY, PICTURE, "--thresh", "0.7", "--ext-output"),
    "detect, fork": ("detect", TINY, PICTURE, "--dialect", "alexeyab", "--thresh", "0.7"),
    "classify": ("classify", CLASSIFIER, PICTURE),
    "evaluate": ("evaluate", DIGITS, FIXTURES / "digits" / "test.npz"),
}
COMMANDS = ("classify", "detect", "evaluate", "run")


@pytest.mark.parametrize("engine", EACH)
@pytest.mark.parametrize("name", sorted(LINES))
def test_the_lines_are_the_same(cli: Cli, name: str, engine: str) -> None:
    answer = cli(*LINES[name], "--engine", engine)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == cli(*LINES[name]).out
    assert len(answer.out.splitlines()) > 4
    told = cli(*LINES[name], "--engine", engine, "--json")
    assert told.json["engine"].startswith(f"{engine} ")


@pytest.mark.parametrize("engine", EACH)
def test_a_run_shows_the_outputs_of_an_engine(cli: Cli, engine: str) -> None:
    ours, theirs = (
        cli("run", TINY, "--json", "--engine", each).json["outputs"] for each in ("numpy", engine)
    )
    assert [each["layer"] for each in theirs] == [each["layer"] for each in ours]
    for one, other in zip(ours, theirs, strict=True):
        assert other["shape"] == one["shape"]
        # Rounding, as in tests/engines.
        assert other["first"] == pytest.approx(one["first"], abs=2e-5 * max(1, one["max"]))


@pytest.mark.parametrize("engine", EACH)
def test_the_environment_sets_the_default(
    cli: Cli, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKNET_BN_ENGINE", engine)
    assert cli("run", DIGITS, "--json").json["engine"].startswith(f"{engine} ")
    assert cli("run", DIGITS, "--json", "--engine", "numpy").json["engine"].startswith("numpy ")


def test_the_default_is_numpy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARKNET_BN_ENGINE", raising=False)
    assert cli("run", DIGITS, "--json").json["engine"].startswith("numpy ")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_engine_that_there_is_not(cli: Cli, command: str) -> None:
    answer = cli(command, "net", "x.png", "--engine", "tensorrt")
    assert answer.code == 2
    assert "--engine" in answer.err
    assert "'tensorrt' is not one of 'numpy', 'onnxruntime'" in answer.err.splitlines()[0]


@pytest.mark.parametrize("name", sorted(LINES))
def test_an_engine_that_is_not_installed(
    cli: Cli, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    answer = cli(*LINES[name], "--engine", "openvino")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == "the package openvino is not installed; pip install openvino"


def test_a_recording_says_who_computed_it(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    out = tmp_path / "x.npz"
    assert cli("run", DIGITS, "-o", out, "--engine", "onnxruntime").code == 0
    answer = cli("verify", DIGITS, out, "--json")
    assert answer.code == 0
    assert answer.json["provenance"]["program"].startswith("onnxruntime ")
