from __future__ import annotations

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
    assert drawn == [
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
