"""Words in the wrong place: what is missing, and the line to type instead."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from darknet_bn.cli.program import main

from .conftest import PICTURE, TINY, Answer, Cli

# The words of each command in their order, and options that it must have.
LINES = {
    "info": ("net.cfg net.weights", ""),
    "check": ("net.cfg net.weights", ""),
    "doctor": ("net.cfg net.weights dog.png", ""),
    "report": ("net.cfg net.weights dog.png", "-o out.html"),
    "fold": ("net.cfg net.weights", "-o out"),
    "detect": ("net.cfg net.weights dog.png", ""),
    "classify": ("net.cfg net.weights dog.png", ""),
    "run": ("net.cfg net.weights x.npy", ""),
    "record": ("net.cfg net.weights", "-o out"),
    "verify": ("net.cfg net.weights net.npz", ""),
    "train": ("net.cfg set.data net.weights", ""),
    "anchors": ("net.cfg set.data", ""),
    "evaluate": ("net.cfg net.weights set.data", ""),
    "labels": ("set.data", ""),
    "calibrate": ("net.cfg net.weights dog.png", "-o out"),
    "quantize": ("net.cfg net.weights dog.png", "-o out.onnx"),
    "export": ("net.cfg net.weights out.onnx", ""),
    "compare": ("net.cfg net.weights dog.png", "--with openvino"),
    "convert": ("net.cfg net.weights out.npz", ""),
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models and a picture, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for suffix in (".cfg", ".weights", ".npz"):
        for stem in ("net", "other"):
            shutil.copy(f"{TINY}{suffix}", f"{stem}{suffix}")
    shutil.copy(PICTURE, "dog.png")
    return tmp_path


def error_of(answer: Answer) -> str:
    """The error of wrong usage, which is followed by the right one."""
    assert (answer.code, answer.out) == (2, "")
    first, usage, *_ = answer.err.splitlines()
    assert usage.startswith("Usage: ")
    return first.removeprefix("error: ")


def test_the_commands_of_this_file_are_all_commands() -> None:
    # The only word of which is the weights, and those of diff are alike; the verbs of edit are in
    # their own tests.
    assert set(LINES) == set(main.commands) - {"which", "edit", "diff"}


# -- order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", LINES)
def test_every_other_order_is_answered_with_the_line_to_type(cli: Cli, command: str) -> None:
    words, options = (text.split() for text in LINES[command])
    before = sorted(os.listdir())
    line = shlex.join(["darknet-bn", command, *words, *options])
    for order in itertools.permutations(words):
        if list(order) == words:
            continue
        if command == "convert" and order[0] == words[0]:
            continue  # the kinds of input and output are the same
        error = error_of(cli(command, *order, *options))
        assert error.endswith(f"; try: {line}"), order
        assert error_of(cli(command, *options, *order)) == error
    assert sorted(os.listdir()) == before


def test_the_line_is_quoted_and_keeps_its_options(cli: Cli) -> None:
    shutil.copy("dog.png", "my dog.png")
    words = ("my dog.png", "net.cfg", "net.weights", "-oit's.png", "--thresh", "0.5", "--json")
    assert error_of_json(cli("detect", *words)) == (
        "expected CFG WEIGHTS PICTURE; try: darknet-bn detect net.cfg net.weights 'my dog.png' "
        """'-oit'"'"'s.png' --thresh 0.5 --json"""
    )


def error_of_json(answer: Answer) -> str:
    assert answer.code == 2
    error = str(answer.json["error"]["message"])
    assert answer.err.startswith(f"error: {error}\n")
    return error


@pytest.mark.parametrize(
    ("words", "expected", "line"),
    [
        ("detect dog.png net", "MODEL PICTURE", "detect net dog.png"),
        ("detect *.png net", "MODEL PICTURE", "detect net '*.png'"),
        ("detect list.txt net.cfg", "CFG PICTURE", "detect net.cfg list.txt"),
        ("detect a.jpg net b.jpg", "MODEL PICTURE", "detect net a.jpg b.jpg"),
        ("detect . net", "MODEL PICTURE", "detect net ."),
        ("run dog.png net", "MODEL INPUT", "run net dog.png"),
        ("run x.npy net.weights", "WEIGHTS INPUT", "run net.weights x.npy"),
        ("verify net.npz net", "MODEL FIXTURE", "verify net net.npz"),
        (
            "train net.cfg net.weights a.data",
            "CFG DATA WEIGHTS",
            "train net.cfg a.data net.weights",
        ),
        ("train a.data net.cfg", "CFG DATA", "train net.cfg a.data"),
        ("evaluate a.data net", "MODEL DATA", "evaluate net a.data"),
        ("export a.onnx net", "MODEL OUT", "export net a.onnx"),
        ("check net.backup net.cfg", "CFG WEIGHTS", "check net.cfg net.backup"),
        ("check darknet53.conv.74 net.cfg", "CFG WEIGHTS", "check net.cfg darknet53.conv.74"),
    ],
)
def test_kinds_are_told_by_suffix_and_by_what_is_there(
    cli: Cli, words: str, expected: str, line: str
) -> None:
    assert error_of(cli(*words.split())) == f"expected {expected}; try: darknet-bn {line}"


def test_a_word_of_no_known_kind_is_not_moved_about(cli: Cli) -> None:
    error = error_of(cli("detect", "dog.png", "nowhere"))
    assert error == "expected CFG [WEIGHTS] [PICTURE...]; the first argument is dog.png"
    error = error_of(cli("detect", "dog.png", "net.cfg", "best"))
    assert error == "expected CFG [WEIGHTS] [PICTURE...]"


@pytest.mark.parametrize(
    "words",
    [
        "check net.cfg net.weights",
        "check net net",
        "check net.weights",
        "check other.cfg net.weights",
        "check net other.weights",
        "run net net.npz",
        "verify net.cfg net.weights net.npz",
        "detect net dog.png ./dog.png",
        "detect net.cfg best dog.png",
        "compare net.cfg net.weights other.weights --with other.cfg",
    ],
)
def test_the_right_order_is_not_refused(cli: Cli, words: str) -> None:
    shutil.copy("net.weights", "best")
    answer = cli(*words.split())
    assert (answer.code, answer.err) == (0, "")


def test_a_path_with_brackets_is_no_pattern(cli: Cli) -> None:
    os.mkdir("runs[1]")
    for suffix in (".cfg", ".weights"):
        shutil.copy(f"net{suffix}", f"runs[1]/net{suffix}")
    assert cli("check", "runs[1]/net").code == 0
    assert cli("detect", "runs[1]/net", "dog.png").code == 0


# -- what belongs to an option -------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected", "line"),
    [
        (
            "detect net dog.png a.names",
            "MODEL PICTURE --names a.names",
            "detect net dog.png --names a.names",
        ),
        (
            "detect net a.names",
            "MODEL PICTURE --names a.names",
            "detect net PICTURE --names a.names",
        ),
        (
            "classify a.data net dog.png --top 3",
            "MODEL PICTURE --data a.data",
            "classify net dog.png --top 3 --data a.data",
        ),
        (
            "record net dog.png -o out",
            "MODEL --input dog.png",
            "record net -o out --input dog.png",
        ),
        ("record net x.npz -o out", "MODEL --input x.npz", "record net -o out --input x.npz"),
        ("compare net a.onnx", "MODEL --with a.onnx", "compare net --with a.onnx"),
        (
            "export net dog.png a.onnx",
            "MODEL OUT --picture dog.png",
            "export net a.onnx --picture dog.png",
        ),
    ],
)
def test_a_word_that_belongs_to_an_option(cli: Cli, words: str, expected: str, line: str) -> None:
    assert error_of(cli(*words.split())) == f"expected {expected}; try: darknet-bn {line}"


@pytest.mark.parametrize(
    "word", ["dog.png", "list.txt", "a.names", "a.data", "x.npy", "a.json", "."]
)
@pytest.mark.parametrize("command", ["info", "check", "fold"])
def test_a_word_that_belongs_nowhere(cli: Cli, command: str, word: str) -> None:
    options = LINES[command][1].split()
    error = error_of(cli(command, "net.cfg", word, *options))
    assert error == f"unexpected argument: {word}; expected CFG [WEIGHTS]"


# -- one model -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [each for each in LINES if each != "labels"])  # has no model
def test_a_second_model_is_answered_with_compare(cli: Cli, command: str) -> None:
    words, options = (text.split() for text in LINES[command])
    for one, other in (("net", "other"), ("net.cfg", "other.cfg"), ("net.cfg", "other")):
        error = error_of(cli(command, one, other, *words[2:], *options))
        assert error == f"expected one model; for two: darknet-bn compare {one} --with {other}"
    assert cli("compare", "net", "--with", "other").code == 0


# -- what is missing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("detect", "CFG"),
        ("detect dog.png", "CFG"),
        ("detect net.cfg net.weights", "PICTURE"),
        ("classify net", "PICTURE"),
        ("verify net.cfg net.weights", "FIXTURE"),
        ("verify net", "FIXTURE"),
        ("verify net.npz", "CFG"),
        ("evaluate net.cfg net.weights", "DATA"),
        ("calibrate net.cfg net.weights -o out", "DATA"),
        ("quantize net.cfg net.weights -o out.onnx", "DATA"),
        ("train net.cfg net.weights", "DATA"),
        ("export net.cfg net.weights", "OUT"),
        ("export net", "OUT"),
        ("export a.onnx", "CFG"),
        ("convert net", "OUT"),
    ],
)
def test_what_is_missing_is_named(cli: Cli, words: str, missing: str) -> None:
    assert error_of(cli(*words.split())) == f"missing argument: {missing}"


# -- words that are not files, or are of no use ------------------------------------------------

REMOTE = ["https://a.b/dog.jpg", "http://a.b/dog.png", "rtsp://cam/1", "0", "12", "/dev/video0"]


@pytest.mark.parametrize("word", REMOTE)
@pytest.mark.parametrize(
    "words",
    [
        "classify net {}",
        "classify net.cfg net.weights {}",
        "classify {} net.cfg net.weights",
        "run net {}",
        "record net --input {} -o out",
        "compare net {} --with other",
        "compare net --with {}",
        "check {}",
        "check net.cfg {}",
        "classify {} dog.png",
        "detect net dog.png --names {}",
        "detect net dog.png --data {}",
        "train {} a.data",
    ],
)
def test_addresses_and_cameras_are_answered_as_such(cli: Cli, words: str, word: str) -> None:
    answer = cli(*words.format(word).split())
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == (
        f"{word} is not a local file; URLs and cameras are only read as videos, by detect"
    )


@pytest.mark.parametrize("word", ["https://a.b/dog.jpg", "s3://a/b.mp4", "http://a.b/dog.PNG"])
def test_a_picture_on_the_network_is_no_video(cli: Cli, word: str) -> None:
    for words in (["net", word], ["net.cfg", "net.weights", word], [word, "net.cfg"]):
        assert cli("detect", *words).error == (
            f"{word} is not a local file; URLs and cameras are only read as videos, by detect"
        )


@pytest.mark.parametrize("word", ["clip.mp4", "my clip.AVI", "rtsp://cam/1", "0", "/dev/video0"])
def test_detect_takes_a_video_as_a_picture(
    cli: Cli, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for words in (["net", word], ["net.cfg", "net.weights", word]):
        answer = cli("detect", *words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.error == (
            f"{word}: PyAV is needed for videos; pip install 'darknet-bn[video]'"
        )
    right = shlex.join(["darknet-bn", "detect", "net.cfg", "net.weights", word])
    assert error_of(cli("detect", word, "net.cfg", "net.weights")) == (
        f"expected CFG WEIGHTS PICTURE; try: {right}"
    )
    assert error_of(cli("detect", "net", word, "dog.png")) == f"a video is looked at alone: {word}"


def test_a_file_whose_name_is_a_number(cli: Cli) -> None:
    shutil.copy("dog.png", "0")
    assert cli("detect", "net", "0").code == 0
    shutil.copy("net.cfg", "1.cfg")
    shutil.copy("net.weights", "1.weights")
    assert cli("check", "1").code == 0


@pytest.mark.parametrize("words", ["run net {}", "classify {} net", "classify net {}"])
def test_a_video_is_answered_with_how_to_take_pictures_out_of_it(cli: Cli, words: str) -> None:
    for name, quoted in (("clip.mp4", "clip.mp4"), ("my clip.AVI", "'my clip.AVI'")):
        answer = cli(*[word.format(name) for word in words.split()])
        assert (answer.code, answer.out) == (2, "")
        assert answer.error == (
            f"{name} is a video; extract frames first: ffmpeg -i {quoted} frames/%05d.jpg"
        )


@pytest.mark.parametrize("name", ["coco.json", "x.npy", "best.pt", "a.xml", "net.onnx"])
def test_a_file_that_is_no_picture_is_answered_with_what_is_one(cli: Cli, name: str) -> None:
    Path(name).write_bytes(b"{}")
    problem = (
        f"{name}: expected a picture, a folder, a pattern such as 'photos/*.jpg', or a list of "
        "pictures"
    )
    alone = cli("detect", "net", name)
    assert (alone.code, alone.error) == (2, problem)
    answer = cli("detect", "net.cfg", "net.weights", name, "dog.png", "--json")
    assert (answer.code, answer.error) == (1, problem)
    assert [each["file"] for each in answer.json["pictures"]] == ["dog.png"]
