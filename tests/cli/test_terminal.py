"""On a terminal: what fails is red, lines fit, and quiet is quiet; pipes get it plain and whole."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from darknet_bn.cli.program import main

from .complete import LINES
from .conftest import Cli, Terminal

RED, YELLOW, GREEN, PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[0m"
COLOUR = re.compile(r"\x1b\[\d+m")


def in_terminal(*words: str, columns: int = 80, **environment: str) -> tuple[int, str]:
    """Run the program in a terminal of its own; return its exit code and all that is shown."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    unset = {"NO_COLOR", "COLUMNS", "LINES"}
    plain = {name: value for name, value in os.environ.items() if name not in unset}
    process = subprocess.Popen(
        [sys.executable, "-m", "darknet_bn", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=plain | {"TERM": "xterm"} | environment,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # the program has left
            part = b""
        if not part:
            break
        shown += part
    os.close(master)
    return process.wait(timeout=300), shown.decode().replace("\r\n", "\n")


@pytest.fixture
def wrong(stocked: Path) -> Path:
    """A model that differs from its recording in layers 10 and 11."""
    data = bytearray((stocked / "net.weights").read_bytes())
    data[-4:] = b"\0\0\0\x40"
    (stocked / "net.weights").write_bytes(data)
    return stocked


# -- colour --------------------------------------------------------------------------------


def test_rows_that_differ_are_red(wrong: Path) -> None:
    code, shown = in_terminal("verify", "net", "net.npz")
    assert code == 1
    *_, heading, nine, ten, eleven, verdict, _, _ = shown.splitlines()[3:-2]
    assert "\x1b" not in heading + nine
    for line in (ten, eleven, verdict):
        assert line.startswith(RED)
        assert line.endswith(PLAIN)


def test_agreement_is_green_and_errors_are_red(stocked: Path) -> None:
    code, shown = in_terminal("verify", "net", "net.npz")
    assert code == 0
    assert f"\n{GREEN}all 12 layers agree" in shown
    assert RED not in shown
    code, shown = in_terminal("verify", "no", "net.npz")
    assert (code, shown) == (
        2,
        f"{RED}error:{PLAIN} no.cfg: cannot be read: No such file or directory\n",
    )


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"NO_COLOR": "0"}, {"TERM": "dumb"}])
def test_who_wants_none_gets_none(
    wrong: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    shown = coloured(environment, monkeypatch)
    assert "layer 10 [convolutional] is the first that differs" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": ""}])
def test_an_empty_no_color_is_none(
    wrong: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    assert RED in coloured(environment, monkeypatch)


def coloured(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is shown of the wrong model, in this process."""
    screen = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in ({"TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as terminal:
        terminal.setattr("sys.stdout", screen)
        with pytest.raises(SystemExit) as end:
            main(["verify", "net", "net.npz"])
    assert end.value.code == 1
    return screen.getvalue()


def test_each_stream_is_asked_on_its_own(
    cli: Cli, wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    (wrong / "net.cfg").write_text((wrong / "net.cfg").read_text() + "\nnonsense=1\n")
    for stream in ("stdout", "stderr"):
        with monkeypatch.context() as only:
            only.setattr(f"sys.{stream}", out if stream == "stdout" else err)
            other = "stderr" if stream == "stdout" else "stdout"
            plain = Terminal(terminal=False)
            only.setattr(f"sys.{other}", plain)
            with pytest.raises(SystemExit):
                main(["verify", "net", "net.npz"])
            assert "\x1b" not in plain.getvalue()
    assert RED in out.getvalue()
    assert err.getvalue().startswith(f"{YELLOW}warning:{PLAIN} net.cfg:")


def test_check_shows_what_is_wrong_in_red(stocked: Path) -> None:
    data = bytearray((stocked / "net.weights").read_bytes())
    data[-4:] = b"\0\0\xc0\x7f"
    (stocked / "net.weights").write_bytes(data)
    code, shown = in_terminal("check", "net")
    assert code == 1
    assert f"\n{RED}wrong: layer 10 [convolutional]: 1 of 672 weights" in shown


# -- width ---------------------------------------------------------------------------------


def shown_in(columns: int, words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a terminal shows on stdout and stderr, but for messages."""
    screen = Terminal()
    with monkeypatch.context() as terminal:
        terminal.setenv("COLUMNS", str(columns))
        terminal.setattr("sys.stdout", screen)
        terminal.setattr("sys.stderr", screen)
        with pytest.raises(SystemExit) as end:
            main(list(words), prog_name="darknet-bn")
    assert end.value.code in (0, None), screen.getvalue()
    # What a bar draws, and blanks, goes away.
    lines = [part for line in screen.getvalue().split("\n") for part in line.split("\r")]
    plain = (COLOUR.sub("", line) for line in lines)
    return [line for line in plain if not line.startswith(("error:", "warning:"))]


@pytest.mark.parametrize("name", LINES)
def test_every_line_fits_80_columns(
    stocked: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for line in shown_in(80, LINES[name].words, monkeypatch):
        length = len(line)
        for file in LINES[name].writes:  # names of files are as long as they are
            length -= len(file) * (file in line)
        assert length <= 80, line


REAL = {
    "yolov3-tiny": "yolov3-tiny/yolov3-tiny",
    "yolo-fastest": "yolo-fastest/yolo-fastest-1.1",
    "yoloface": "yoloface-50k/yoloface-50k",
    "mobilenet": "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
}


LOOKS = (("info", "net"), ("check", "net"), ("fold", "net", "-o", "folded"))
RUNS = (
    ("detect", "net", "dog.jpg", "--ext-output", "-o", "found.jpg"),
    ("record", "net", "-o", "net.npz"),
    ("run", "net", "--layers", "all"),
    ("verify", "net", "net.npz", "--fast", "--tolerance", "1e-3"),
    ("compare", "net", "--with", "folded", "--tolerance", "1e-3"),
    ("calibrate", "net", "dog.jpg", "--method", "one-pass", "-o", "new"),
)


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        *((name, LOOKS) for name in REAL),
        *(
            pytest.param(
                name,
                LOOKS + RUNS,
                marks=() if name == "mobilenet" else pytest.mark.exhaustive,
            )
            for name in REAL
        ),
    ],
)
def test_of_real_models_too(
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    lines: Sequence[Sequence[str]],
) -> None:
    for suffix in (".cfg", ".weights"):
        shutil.copy(shared / "models" / f"{REAL[model]}{suffix}", tmp_path / f"net{suffix}")
    shutil.copy(shared / "images" / "dog.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    for words in lines:
        for line in shown_in(80, words, monkeypatch):
            assert len(line) <= 80, line


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_most_important_columns_stay(
    stocked: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    shown = shown_in(columns, ("verify", "net", "net.npz"), monkeypatch)
    heading = next(line for line in shown if line.startswith("layer "))
    for word in ("layer", "section", "relative", "mismatches"):
        assert word in heading
    assert ("cosine" in heading, "largest" in heading) == (False, columns > 60)


def test_the_width_of_the_terminal_counts(stocked: Path) -> None:
    for columns in (80, 200):
        _, shown = in_terminal("info", "net", columns=columns)
        heading = shown.splitlines()[0]
        assert ("bytes" in heading) == (columns == 200)
        assert "parameters" in heading


def test_a_pipe_gets_all_columns(cli: Cli, stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cli("verify", "net", "net.npz").out
    monkeypatch.setenv("COLUMNS", "40")
    assert cli("verify", "net", "net.npz").out == whole
    assert "cosine  mismatches" in whole
