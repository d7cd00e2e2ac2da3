"""``--json-lines``: a line for each picture as soon as it is done, and lists read as they come."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from darknet_bn.cli import picture_lists
from darknet_bn.cli.picture_lists import read_list, stream_list
from darknet_bn.cli.program import main

from .conftest import ERROR_FIELDS, FIXTURES, PICTURE, TINY, TOOK, Answer, Cli

CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"
SOON = 300  # seconds, for a process on a busy machine


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures and a broken one in the working directory."""
    shutil.copy(PICTURE, tmp_path / "a.png")
    shutil.copy(PICTURE.with_name("gradient_31x17.png"), tmp_path / "b.png")
    (tmp_path / "bad.png").write_text("this is a text")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.out.splitlines()]


def piped(content: str | bytes, *words: object) -> Answer:
    result = CliRunner().invoke(main, [str(word) for word in words], input=content)
    return Answer(result.exit_code, result.stdout, TOOK.sub("", result.stderr))


# -- what the lines say --------------------------------------------------------------------


@pytest.mark.parametrize(("command", "model"), [("detect", TINY), ("classify", CLASSIFIER)])
def test_a_line_is_an_entry_of_the_json(cli: Cli, place: Path, command: str, model: Path) -> None:
    whole = cli(command, model, "a.png", "bad.png", "b.png", "--json")
    lines = cli(command, model, "a.png", "bad.png", "b.png", "--json-lines", "-q")
    assert (whole.code, lines.code) == (1, 1)
    first, wrong, last = rows(lines)
    assert [first, last] == whole.json["pictures"]
    assert wrong == {"file": "bad.png", "error": whole.json["failed"][0]}
    assert list(wrong["error"]) == ERROR_FIELDS
    assert lines.error == whole.error


def test_messages_go_to_stderr(cli: Cli, place: Path) -> None:
    answer = cli("detect", TINY, "a.png", "--json-lines")
    assert [row["file"] for row in rows(answer)] == ["a.png"]
    dialect, _, threshold = answer.err.splitlines()
    assert dialect.startswith("dialect: ")
    assert threshold.startswith("threshold: ")


@pytest.mark.parametrize("words", [["list.txt"], ["-"], []], ids=" ".join)
def test_each_line_of_a_list_has_its_answer(place: Path, words: list[str]) -> None:
    content = "b.png\n\nc.png\nb.png\nbad.png"
    Path("list.txt").write_text(content)
    answer = piped(content, "detect", TINY, *words, "--json-lines")
    found = rows(answer)
    assert [row["file"] for row in found] == ["b.png", "c.png", "b.png", "bad.png"]
    assert [row.get("error", {}).get("line") for row in found] == [None, 3, None, None]
    assert found[0] == found[2]
    assert answer.code == 1


def test_a_command_that_fails_says_so_in_a_line(cli: Cli, place: Path) -> None:
    for words, file in (
        (("absent", "a.png"), "absent.cfg"),
        ((TINY, "a.png", "--thresh", "2"), None),
        ((TINY, "a.png", "--json-lines", "--unknown"), None),
    ):
        answer = cli("detect", *words, "--json-lines")
        (row,) = rows(answer)
        assert (answer.code, row["file"], row["error"]["file"]) == (2, file, file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "not a list of pictures but a picture"),
        (b"\0\1\2", "not a list of pictures but binary data"),
        (b"x" * ((1 << 20) + 1), "a line has more than 1048576 bytes"),
        (b"\n \n", "the list is empty"),
    ],
    ids=["picture", "binary", "long", "empty"],
)
def test_what_is_not_a_list_is_an_error_in_a_line(
    place: Path, content: bytes, message: str
) -> None:
    answer = piped(content, "detect", TINY, "-", "--json-lines", "-q")
    (row,) = rows(answer)
    assert (answer.code, row["file"]) == (2, "-")
    assert row["error"]["message"] == f"standard input: {message}"


def test_without_any_list_the_argument_is_missing(place: Path) -> None:
    answer = piped("", "classify", CLASSIFIER, "--json-lines", "-q")
    (row,) = rows(answer)
    assert (answer.code, row["error"]["message"]) == (2, "missing argument: PICTURE")


def test_with_outputs_the_list_is_known_before_the_work_begins(cli: Cli, place: Path) -> None:
    Path("list.txt").write_text("a.png\nb.png\na.png\n")
    answer = cli("detect", TINY, "list.txt", "--json-lines", "-o", "found", "-q")
    assert [row["file"] for row in rows(answer)] == ["a.png", "b.png"]
    assert sorted(os.listdir("found")) == ["a.png", "b.png"]
    again = cli("detect", TINY, "list.txt", "--json-lines", "-o", "found", "-q")
    (row,) = rows(again)
    assert (again.code, row["file"]) == (2, str(Path("found/a.png")))


# -- pipes ---------------------------------------------------------------------------------


@pytest.fixture
def running(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that waits for the next line of its list."""
    words = ["-m", "darknet_bn", "detect", str(TINY), "-", "--json-lines", "-q"]
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        yield process
        process.kill()


def answer_to(process: subprocess.Popen[bytes], line: bytes) -> dict[str, Any]:
    """Write a line, and wait for its answer; the list is still open."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], SOON)
    assert ready, "the list was read to its end first"
    found = json.loads(process.stdout.readline())
    assert isinstance(found, dict)
    return found


def test_each_line_is_answered_while_the_list_is_open(running: subprocess.Popen[bytes]) -> None:
    assert answer_to(running, b"a.png\n")["file"] == "a.png"
    assert answer_to(running, b"absent.png\n")["error"]["line"] == 2
    assert answer_to(running, b"b.png\n")["width"] == 31
    out, err = running.communicate(timeout=SOON)
    assert (out, running.returncode) == (b"", 1)
    assert err.startswith(b"error: standard input:2: absent.png: cannot be read")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_waits_for_a_line(
    running: subprocess.Popen[bytes], number: int, code: int
) -> None:
    answer_to(running, b"a.png\n")
    running.send_signal(number)
    out, err = running.communicate(timeout=SOON)
    assert (running.returncode, out) == (code, b"")
    assert err == b"stopped after 1 picture, at a.png\n"


def test_a_reader_that_leaves_ends_it_silently(running: subprocess.Popen[bytes]) -> None:
    assert running.stdin is not None
    assert running.stdout is not None
    answer_to(running, b"a.png\n")
    running.stdout.close()
    running.stdin.write(b"b.png\n")
    running.stdin.flush()
    assert running.wait(timeout=SOON) == 2
    assert running.stderr is not None
    assert running.stderr.read() == b""


# -- cutting -------------------------------------------------------------------------------

CONTENTS = [
    b"\xef\xbb\xbfa.png\r\n\r\n  b.png \nc.png",
    b"a.png\rb.png\r",
    b"\n\na.png\n\xff\xe9.png\n\n",
    b"a" * 300 + b"\nb\n",
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 16])
@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_pieces_of_any_size_make_the_same_lines(
    place: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, size: int
) -> None:
    Path("x.txt").write_bytes(content)
    Path("b").touch()  # a list of which nothing is there is refused
    monkeypatch.setattr(picture_lists, "_PIECE", size)
    assert list(stream_list("x.txt")) == read_list("x.txt")
