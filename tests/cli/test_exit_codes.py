"""Exit codes as of diff, grep and cmp: 0 fine, 1 a finding, 2 trouble, 130 interrupted; JSON."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.cli import output
from darknet_bn.cli.program import main

from .complete import LINES, command_of
from .conftest import ERROR_FIELDS, Answer, Cli

Change = Callable[[Path], object]

pytestmark = pytest.mark.usefixtures("stocked")


def line(name: str, *more: str, without: Sequence[str] = (), **instead: str) -> list[str]:
    """A complete line with other words in it."""
    words = [instead.get(word.replace(".", "_"), word) for word in LINES[name].words]
    return [*(word for word in words if word not in without), *more]


every_line = pytest.mark.parametrize("name", LINES)
writing = pytest.mark.parametrize("name", [name for name in LINES if "--force" in line(name)])


def require_trouble(cli: Cli, words: Sequence[str], code: int = 2) -> dict[str, object]:
    """Run a line as it is, and with --json; return what the JSON says about the error."""
    answer = cli(*words)
    assert answer.code == code, words
    assert answer.err.startswith("error: ")
    again = cli(*words, "--json")
    assert (again.code, again.err) == (code, answer.err)
    assert list(again.json) == ["schema", "error"]
    assert again.json["schema"] == 1
    told = again.json["error"]
    assert list(told) == ERROR_FIELDS
    assert str(told["message"]) in answer.err
    return dict(told)


# -- 0 -------------------------------------------------------------------------------------


@every_line
def test_fine_is_0(cli: Cli, name: str) -> None:
    assert cli(*line(name)).code == 0
    answer = cli(*line(name), "--json")
    assert answer.code == 0
    assert next(iter(answer.json.items())) == ("schema", 1)


# -- 1 -------------------------------------------------------------------------------------


def spoil(file: str, number: float) -> Change:
    """Write a number over the first weight of the first layer."""

    def change(folder: Path) -> None:
        data = bytearray((folder / file).read_bytes())
        start = 20 + 4 * 4 * 8  # header, biases, scales, means and variances of 8 filters
        data[start : start + 4] = np.float32(number).tobytes()
        (folder / file).write_bytes(data)

    return change


def bad_picture(folder: Path) -> None:
    (folder / "photos" / "c.png").write_bytes(b"no picture")


def other_activation(folder: Path) -> None:
    """An ONNX file whose cfg computes something else than its graph."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load(folder / "net.onnx")
    for each in model.metadata_props:
        each.value = each.value.replace("activation=leaky", "activation=relu", 1)
    onnx.save(model, folder / "net.onnx")


FINDINGS: dict[str, tuple[list[str], Change]] = {
    "verify": (line("verify"), spoil("net.weights", 1)),
    "compare": (line("compare"), spoil("net.weights", 1)),
    "compare with a model": (line("compare with a model"), spoil("other.weights", 1)),
    "check": (line("check"), spoil("net.weights", np.nan)),
    "some pictures to detect": (line("detect into folders"), bad_picture),
    "some pictures to classify": (line("classify"), bad_picture),
}
PROOFS: dict[str, tuple[list[str], Change]] = {
    "fold": (["fold", "net", "-o", "fresh", "--tolerance", "1e-12"], lambda folder: None),
    "fold what is NaN": (["fold", "net", "-o", "fresh"], spoil("net.weights", np.nan)),
    "export": (["export", "net", "fresh.onnx", "--tolerance", "1e-12"], lambda folder: None),
    "convert": (["convert", "net.onnx", "fresh.weights"], other_activation),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_a_finding_is_1(cli: Cli, stocked: Path, case: str) -> None:
    words, change = FINDINGS[case]
    change(stocked)
    assert cli(*words).code == 1
    answer = cli(*words, "--json")
    assert answer.code == 1
    assert answer.json["schema"] == 1
    assert "error" not in answer.json
    for failed in answer.json.get("failed", ()):
        assert list(failed) == ERROR_FIELDS
        assert failed["file"] == "photos/c.png"


@pytest.mark.parametrize("case", PROOFS)
def test_a_proof_that_fails_is_1_and_nothing_is_written(cli: Cli, stocked: Path, case: str) -> None:
    words, change = PROOFS[case]
    change(stocked)
    before = sorted(os.listdir())
    told = require_trouble(cli, words, code=1)
    assert "nothing was written" in str(told["message"])
    assert sorted(os.listdir()) == before


# -- 2 -------------------------------------------------------------------------------------


@every_line
def test_wrong_usage_is_2(cli: Cli, name: str) -> None:
    told = require_trouble(cli, line(name, "--nonsense"))
    assert (told["message"], told["file"]) == ("no such option: --nonsense", None)
    command = command_of(line(name))
    assert told["hint"] == f"For help: main {' '.join(command)} -h"
    require_trouble(cli, command)


def test_wrong_usage_of_the_program_is_2(cli: Cli) -> None:
    for words in (["nonsense"], ["--nonsense"]):
        told = require_trouble(cli, words)
        assert told["hint"] == "For help: main -h"


def test_json_behind_two_dashes_is_the_name_of_a_file(cli: Cli) -> None:
    answer = cli("info", "--", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith("--json.cfg: cannot be read")


@every_line
def test_a_missing_file_is_2(cli: Cli, stocked: Path, name: str) -> None:
    inputs = [word for word in line(name) if (stocked / word).is_file()]
    for file in {*inputs} - {*LINES[name].writes, "font.ttf"}:  # Pillow keeps fonts
        content = (stocked / file).read_bytes()
        (stocked / file).unlink()
        answer = cli(*line(name))
        # One of several pictures may be missing.
        several = name in ("detect into folders", "classify") and file == "a.png"
        assert answer.code == (1 if several else 2), file
        assert file in answer.err
        (stocked / file).write_bytes(content)


CUT = ("net.weights", "net.safetensors", "best.npz", "net.onnx", "class.weights")


@pytest.mark.parametrize("name", [name for name in LINES if name != "labels"])  # has no such file
def test_a_file_that_does_not_fit_is_2(cli: Cli, stocked: Path, name: str) -> None:
    for file in CUT:
        content = (stocked / file).read_bytes()
        (stocked / file).write_bytes(content[: len(content) // 2])
    words = line(name, without=["--partial"])
    if name == "which":  # it is there for such files, and finds that nothing fits
        assert cli(*words).code == 1
    elif name != "anchors":  # it reads no weights
        require_trouble(cli, words)


@writing
def test_a_file_that_is_there_is_2(cli: Cli, name: str) -> None:
    told = require_trouble(cli, line(name, without=["--force"]))
    assert told["message"] == "the file already exists"
    assert told["file"] in LINES[name].writes
    assert told["hint"] == "use --force to overwrite it"


@writing
def test_a_disk_that_is_full_is_2(cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    told = require_trouble(cli, line(name))
    assert told["message"] == "cannot be written: No space left on device"


@pytest.mark.parametrize("name", ["detect", "detect into folders", "classify"])
def test_no_picture_that_could_be_used_is_2(cli: Cli, stocked: Path, name: str) -> None:
    for path in (stocked / "a.png", stocked / "photos" / "b.png"):
        path.write_bytes(b"no picture")
    assert cli(*line(name)).code == 2
    answer = cli(*line(name), "--json")
    assert answer.code == 2
    assert answer.json["pictures"] == []
    assert {failed["message"] for failed in answer.json["failed"]} == {
        "not a picture, or its header is damaged"
    }


# -- whatever happens ----------------------------------------------------------------------


@every_line
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.EIO, "Broken disk", "a.cfg"), 2, "Broken disk"),
        (MemoryError("of 1 TiB"), 2, "not enough memory: of 1 TiB"),
        (dn.ProofError("proven wrong"), 1, "proven wrong"),
        (ZeroDivisionError("by zero"), 2, "this is a bug in darknet-bn: ZeroDivisionError"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_json_tells_whatever_happens(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    for reader in ("load", "load_arrays", "load_names", "which_cfg", "load_dataset"):
        monkeypatch.setattr(dn, reader, fail)
    answer = cli(*line(name), "--json")
    assert answer.code == code
    assert list(answer.json) == ["schema", "error"]
    assert answer.json["error"]["message"].startswith(message)
    assert len(answer.err.splitlines()) == 1


def test_the_place_of_an_error_is_told(cli: Cli, stocked: Path) -> None:
    cfg = stocked / "net.cfg"
    text = cfg.read_text().replace("filters=8\n", "filters=eight\n", 1)
    cfg.write_text(text)
    told = require_trouble(cli, ["info", "net.cfg"])
    number = 1 + text.splitlines().index("filters=eight")
    assert [told[field] for field in ERROR_FIELDS[:4]] == ["net.cfg", number, "convolutional", 0]
    assert told["message"] == "filters: 'eight' is not an integer"
    assert told["expected"] == "an integer"


def test_the_codes_are_documented(cli: Cli) -> None:
    for name in main.commands:
        text = " ".join(cli(name, "-h").out.split())
        assert "Exit codes: 0 success, 1 difference or problem, 2 error, 130 interrupted." in text


def test_a_broken_pipe_is_no_finding(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    def broken(*args: object, **options: object) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr("darknet_bn.cli.output.text", broken)
    answer: Answer = cli("info", "net")
    assert (answer.code, answer.out, answer.err) == (2, "", "")


def test_json_is_printed_once_at_the_end(cli: Cli, name: str = "detect into folders") -> None:
    decoder = json.JSONDecoder()
    out = cli(*line(name), "--json").out
    value, end = decoder.raw_decode(out)
    assert value["schema"] == 1
    assert out[end:] == "\n"


def test_an_error_after_the_json_adds_no_second_object(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    print_json = output.print_json

    def interrupted(value: dict[str, object]) -> None:
        print_json(value)
        raise KeyboardInterrupt

    monkeypatch.setattr("darknet_bn.cli.output.print_json", interrupted)
    answer = cli("info", "net", "--json")
    assert answer.code == 130
    assert "error" not in answer.json
