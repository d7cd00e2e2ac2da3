"""The line that shows how far training is."""

from __future__ import annotations

import io
import sys

import pytest

import darknet_bn as dn
from darknet_bn.cli.status import progress_text, status_line
from darknet_bn.training import Progress

CFG = b"[net]\ninputs=4\n[connected]\noutput=2\n[softmax]\n"


@pytest.fixture
def progress() -> Progress:
    state = dn.train_state(dn.load(CFG, None))
    return Progress(state, 1207, 1.25, 0.5, 0.75, 0.001, 123.4, 3725.0, False)


def test_all_fields(progress: Progress) -> None:
    assert progress_text(progress, 100) == (
        "1207: loss 0.5000, average 0.7500, rate 0.001, 123.4 images/s, epoch 1.25, 1:02:05 left"
    )


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (
            87,
            "1207: loss 0.5000, average 0.7500, rate 0.001, 123.4 images/s, epoch 1.25, "
            "1:02:05 left",
        ),
        (86, "1207: loss 0.5000, average 0.7500, 123.4 images/s, epoch 1.25, 1:02:05 left"),
        (79, "1207: loss 0.5000, average 0.7500, 123.4 images/s, epoch 1.25, 1:02:05 left"),
        (60, "1207: loss 0.5000, average 0.7500, 1:02:05 left"),
        (40, "1207: average 0.7500, 1:02:05 left"),
        (30, "1207: average 0.7500"),
        (5, "1207"),
    ],
)
def test_fields_without_room_are_dropped_whole(progress: Progress, width: int, text: str) -> None:
    assert progress_text(progress, width) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


@pytest.mark.parametrize("columns", [40, 80])
def test_it_is_as_wide_as_the_terminal(
    progress: Progress, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    with status_line() as show:
        show(progress)
    shown, cleared = terminal.getvalue().split("\r")[1:3]
    assert shown == progress_text(progress, columns - 1)
    assert cleared == " " * len(shown)


def test_nothing_is_shown_where_there_is_no_terminal(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with status_line() as show:
        show(progress)
    assert capsys.readouterr() == ("", "")
