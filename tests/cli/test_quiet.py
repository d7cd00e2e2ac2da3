"""``--quiet`` leaves what was found; and how long it took is said on stderr, but not quietly.

By default the lines have ``-q``; its long name, which is the same option, only that of fold.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from darknet_bn.cli import output, progress
from darknet_bn.cli.program import main

from .complete import LINES
from .conftest import TINY, Cli, Terminal

exhaustive = pytest.mark.exhaustive
every_line = pytest.mark.parametrize("name", LINES)
# The results of these lines are what was asked for, and stay.
RESULTS = {
    "info": "layer  section ",
    "detect into folders": "photos/b.png:",
    "detect": "cat: ",
    "classify": "a.png:",
    "run": "layer  section ",
    "evaluate": "class  ",
    "quantize": "loss: ",
    "doctor": "note: ",
    "anchors": "anchors: ",
    "report": "wrong: ",
    "which": "fits: ",
}


@pytest.mark.parametrize(
    ("option", "name"),
    [
        pytest.param(option, name, marks=() if option == "-q" or name == "fold" else exhaustive)
        for option in ("-q", "--quiet")
        for name in LINES
    ],
)
def test_only_what_was_found_is_said(cli: Cli, stocked: Path, option: str, name: str) -> None:
    loud = cli(*LINES[name].words)
    answer = cli(*LINES[name].words, option)
    assert answer.code == 0
    assert answer.err == "".join(
        line for line in loud.err.splitlines(keepends=True) if line.startswith("warning: ")
    )
    lines = answer.out.splitlines()
    if name not in RESULTS:
        assert lines == []
        return
    assert any(line.startswith(RESULTS[name]) for line in lines)
    words = ("dialect", "input", "threshold", "written", "data", "header", "batch norm", "weights")
    for line in lines:
        assert not line.startswith(tuple(f"{word}: " for word in words)), line
    assert set(lines) <= set(loud.out.splitlines())


@every_line
def test_json_and_csv_are_not_less(cli: Cli, stocked: Path, name: str) -> None:
    for form in ("--json", "--csv"):
        if form == "--csv" and not name.startswith(("detect", "classify")):
            continue
        loud, quiet = (cli(*LINES[name].words, form, *q) for q in ((), ("-q",)))
        seconds = re.compile(r'"seconds": [^,\n]*')
        assert seconds.sub("", quiet.out) == seconds.sub("", loud.out)
        assert "took" not in quiet.err + loud.err or form == "--csv"


def test_layers_that_differ_are_said(cli: Cli, stocked: Path) -> None:
    data = bytearray((stocked / "net.weights").read_bytes())
    data[-4:] = np.float32(2).tobytes()
    (stocked / "net.weights").write_bytes(data)
    for words in (("verify", "net", "net.npz"), ("compare", "net", "--with", "other")):
        answer = cli(*words, "-q")
        assert answer.code == 1
        heading, ten, eleven, verdict, allowed, *offenders = answer.out.splitlines()
        assert heading.startswith("layer  section")
        assert (ten.split()[0], eleven.split()[0]) == ("10", "11")
        assert verdict.startswith("layer 10 [convolutional] is the first that differs: ")
        assert allowed.startswith("  by more than ")
        assert len(offenders) == 3


def test_what_check_finds_is_said(cli: Cli, stocked: Path) -> None:
    data = bytearray((stocked / "net.weights").read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    (stocked / "net.weights").write_bytes(data)
    answer = cli("check", "net", "-q")
    assert (answer.code, answer.out) == (
        1,
        "wrong: layer 10 [convolutional]: 1 of 672 weights are NaN or infinite\n",
    )


def test_errors_and_warnings_are_said(cli: Cli, stocked: Path) -> None:
    assert cli("info", "no", "-q").error.startswith("no.cfg: cannot be read")
    cfg = stocked / "net.cfg"
    cfg.write_text(cfg.read_text() + "\nnonsense=1\n")
    assert cli("check", "net", "-q").err.startswith("warning: net.cfg:")


def test_a_picture_without_anything_is_not_named(cli: Cli, stocked: Path) -> None:
    assert cli("detect", "net", "a.png", "photos", "--thresh", "1", "-q").out == ""


def test_no_bar_is_drawn(stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_DELAY", 0)
    monkeypatch.setattr(progress, "_PERIOD", 0)
    for line, bar in (
        (["verify", "net", "net.npz"], "verifying ["),
        (["train", "net.cfg", "set.npz", "--iterations", "1", "--force"], "1: loss "),
    ):
        for words, drawn in (([], True), (["-q"], False)):
            terminal = Terminal()
            with monkeypatch.context() as shown:
                shown.setattr("sys.stderr", terminal)
                shown.setattr("sys.stdout", Terminal())
                with pytest.raises(SystemExit):
                    main([*line, *words])
            assert (bar in terminal.getvalue()) == drawn


def test_quietness_ends_with_the_command(cli: Cli, stocked: Path) -> None:
    cli("check", "net", "-q")
    assert "dialect: " in cli("check", "net").out


# -- how long it took ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "count", "line"),
    [
        (23.4, 300, "took: 23.4 s, 78 ms a picture"),
        (0.5, 1000, "took: 500 ms, 0.50 ms a picture"),
        (0.0042, 2, "took: 4.2 ms, 2.1 ms a picture"),
        (0.5, 1, "took: 500 ms"),
        (0.0, 0, "took: 0.0 ms"),
        (59.94, 12, "took: 59.9 s, 5.0 s a picture"),
        (3599, 2, "took: 59 min 59 s, 30 min 0 s a picture"),
        (7384.6, 100, "took: 2 h 3 min, 1 min 14 s a picture"),
    ],
)
def test_times_are_said_in_words(
    capsys: pytest.CaptureFixture[str], seconds: float, count: int, line: str
) -> None:
    output.took(seconds, count, "picture")
    assert capsys.readouterr() == ("", f"{line}\n")


def test_what_took_so_long_is_called_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    output.took(4, 2, "image")
    assert capsys.readouterr().err == "took: 4.0 s, 2.0 s an image\n"


def test_how_long_pictures_took(stocked: Path) -> None:
    words = ["detect", "net", "a.png", "photos"]
    loud = CliRunner().invoke(main, words)
    assert re.fullmatch(r"took: [\d.]+ m?s, [\d.]+ m?s a picture\n", loud.stderr)
    assert CliRunner().invoke(main, [*words, "-q"]).stderr == ""
    quiet = CliRunner().invoke(main, [*words, "--json"])
    assert quiet.stderr == ""
    assert '"seconds": ' in quiet.stdout


def test_long_work_says_how_long_it_took(stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    for words in (["fold", "net", "-o", "fresh"], ["run", "net"]):
        assert re.fullmatch(r"took: [\d.]+ s\n", CliRunner().invoke(main, words).stderr)


def test_short_work_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    for words in (["fold", str(TINY), "-o", str(tmp_path / "new")], ["run", str(TINY)]):
        assert CliRunner().invoke(main, words).stderr == ""
