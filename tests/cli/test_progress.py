from __future__ import annotations

import time

import pytest

from darknet_bn.cli import progress

from .conftest import Terminal


def test_there_is_no_bar_where_stderr_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_DELAY", 0)
    with progress.bar("working", 3) as step:
        assert step is None
    assert capsys.readouterr().err == ""


def test_the_bar_grows_and_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY", 0)
    monkeypatch.setattr(progress, "_PERIOD", 0)
    with progress.bar("working", 3) as step:
        assert step is not None
        for _ in range(3):
            step()
    _, *drawn, blank, end = terminal.getvalue().split("\r")
    assert drawn[-3:] == [  # before the first step it may have appeared already
        "working [##########--------------------] 1/3",
        "working [####################----------] 2/3",
        "working [##############################] 3/3",
    ]
    assert (blank, end) == (" " * len(drawn[-1]), "")


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY", 3600)
    with progress.bar("working", 1) as step:
        assert step is not None
        step()
    assert terminal.getvalue() == ""


def test_the_bar_goes_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY", 0)
    with pytest.raises(KeyboardInterrupt), progress.bar("working", 3) as step:
        assert step is not None
        step()
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith(" \r")


def test_the_bar_appears_before_a_first_step_that_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY", 0)
    with progress.bar("working", 3):
        until = time.monotonic() + 60
        while "0/3" not in terminal.getvalue() and time.monotonic() < until:
            time.sleep(0.001)
        assert terminal.getvalue() == f"\rworking [{'-' * 30}] 0/3"
    assert terminal.getvalue().endswith(" \r")


def test_a_bar_that_was_hidden_appears_with_the_next_step_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY", 0.01)
    bar = progress.Bar("working", 3)
    bar.hide()
    time.sleep(0.05)  # the time of the first drawing goes by
    shown = terminal.getvalue()
    assert shown.endswith(" \r") or shown == ""
    bar.step()
    assert terminal.getvalue().endswith("1/3")
    bar.hide()


def test_the_bar_is_cut_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY", 0)
    monkeypatch.setenv("COLUMNS", "20")
    with progress.bar("working", 3) as step:
        assert step is not None
        step()
    assert {len(line) for line in terminal.getvalue().split("\r")} == {0, 19}


def test_parts_of_the_work_are_named_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "_DELAY", 0)
    monkeypatch.setattr(progress, "_PERIOD", 0)
    with progress.stages() as stage:
        stage("writing", None)
        until = time.monotonic() + 60
        while "writing" not in terminal.getvalue() and time.monotonic() < until:
            time.sleep(0.001)
        step = stage("running", 2)
        assert step is not None
        step()
    drawn = [each for each in terminal.getvalue().split("\r") if each.strip()]
    assert drawn[0] == "writing ..."
    assert drawn[-1] == f"running [{'#' * 15}{'-' * 15}] 1/2"
    assert terminal.getvalue().endswith(" \r")


def test_parts_are_not_named_where_stderr_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.stages() as stage:
        assert stage("running", 2) is None
    assert capsys.readouterr().err == ""
