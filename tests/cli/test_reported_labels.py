"""Data sets that people reported: each behaves as they expect."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import FIXTURES, Cli

DIALECTS = ("auto", "pjreddie", "alexeyab", "hank-ai")
ODD = (
    "img/1.txt:1: the box is at 0 0",
    "img/2.txt:1: the box has no size (found -0.1 x 0.2)",
    "img/3.txt:1: there is no class 7 (expected 0, the only one)",
    "img/4.txt:1: the box is outside the picture (expected x y w h as shares of the picture, "
    "0 to 1, found 320 240 50 60)",
)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A copy of the files of a report, in the working directory."""
    shutil.copytree(FIXTURES / "reports" / request.param, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return str(request.param)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("report", ["raw-in-path"], indirect=True)
def test_labels_beside_strawberries_are_found(cli: Cli, report: str, dialect: str) -> None:
    answer = cli("train", "net.cfg", "obj.data", "--dialect", dialect, "-o", "out")
    assert (answer.code, answer.err.splitlines()) == (0, [])
    assert "data: 1 example; training begins" in answer.out
    words = ("evaluate", "net.cfg", "out/net_final.weights", "obj.data", "--dialect", dialect)
    answer = cli(*words)
    assert (answer.code, answer.err.splitlines()) == (0, [])
    assert "data: train.txt: 1 picture, 0 of them without boxes; 1 box of 1 class" in answer.out


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("report", ["bad-labels"], indirect=True)
def test_all_boxes_that_cannot_be_meant_are_named(cli: Cli, report: str, dialect: str) -> None:
    expected = [
        f"warning: train.txt: 4 boxes are ignored; the first: {ODD[0]}",
        *(f"  {each}" for each in ODD[1:]),
    ]
    answer = cli("train", "net.cfg", "obj.data", "--dialect", dialect, "-o", "out")
    assert (answer.code, answer.err.splitlines()) == (0, expected)
    words = ("evaluate", "net.cfg", "out/net_final.weights", "obj.data", "--dialect", dialect)
    answer = cli(*words)
    assert (answer.code, answer.err.splitlines()) == (0, expected)
    facts = cli("train", "net.cfg", "obj.data", "--dialect", dialect, "-o", "new", "--json").json
    found = [f"{each['file']}:{each['line']}: {each['message']}" for each in facts["bad_labels"]]
    assert found == [each.partition(" (")[0] for each in ODD]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("report", ["bad-labels"], indirect=True)
def test_all_lines_that_cannot_be_read_are_named(cli: Cli, report: str, dialect: str) -> None:
    expected = [
        f"error: all.txt: 5 lines of label files cannot be used; the first: {ODD[0]}",
        *(f"  {each}" for each in ODD[1:]),
        "  img/5.txt:1: not a box (expected class x y w h, found '0, 0.5, 0.5, 0.2, 0.3')",
    ]
    answer = cli("train", "net.cfg", "all.data", "--dialect", dialect, "-o", "out")
    assert (answer.code, answer.out, answer.err.splitlines()) == (2, "", expected)
    assert not Path("out").exists()
