"""Lists of pictures: a file, or standard input, with a path in each line."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from darknet_bn.cli.program import main

from .conftest import FIXTURES, PICTURE, TINY, TOOK, Answer, Cli, lines_of

REPORT = FIXTURES / "reports" / "picture-list"
DARKNET = shutil.which("darknet")
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
EXPECTED = "expected paths of pictures, one per line"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the reported folder, as the working directory."""
    shutil.copytree(REPORT, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def with_input(content: str | bytes, *words: object) -> Answer:
    """Call ``darknet-bn`` with something on standard input."""
    result = CliRunner().invoke(main, [str(word) for word in words], input=content)
    return Answer(result.exit_code, result.stdout, TOOK.sub("", result.stderr))


def files_of(answer: Answer) -> list[str]:
    return [each["file"] for each in answer.json["pictures"]]


# -- what is right -------------------------------------------------------------------------


@pytest.mark.skipif(DARKNET is None, reason="Debian's darknet is not installed")
def test_a_list_on_standard_input_gives_what_darknet_prints_of_it(place: Path) -> None:
    names = ("rgba_10x15.png", "gradient_31x17.png")
    for name in names:
        shutil.copy(FIXTURES / "preprocess" / name, name)
    Path("x.names").write_text("left shoe\nright shoe\n")
    Path("x.data").write_text("classes=2\nnames=x.names\n")
    words = ["x.data", f"{TINY}.cfg", f"{TINY}.weights", "-thresh", "0.5"]
    content = "".join(f"{name}\n" for name in names)
    result = subprocess.run(
        [str(DARKNET), "detector", "test", *words, "-out", "drawn"],  # else it waits for a key
        input=content,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    text = result.stdout.replace("Enter Image Path: ", "")
    expected = re.sub(r"Predicted in .*", "", text).replace(": \n", ":\n").splitlines()
    assert [line for line in expected if line.endswith(":")] == [f"{name}:" for name in names]
    assert len(expected) > 400
    answer = with_input(content, "detect", TINY, "--data", "x.data", "--thresh", "0.5")
    assert answer.code == 0
    assert lines_of(answer.out) == expected


@pytest.mark.parametrize("words", [["list.txt"], ["-"], []], ids=" ".join)
def test_every_way_to_give_a_list(place: Path, words: list[str]) -> None:
    content = Path("list.txt").read_text()
    answer = with_input(content, "detect", "net.cfg", "net.weights", *words, "--json")
    assert (answer.code, files_of(answer)) == (0, ["a.png", "b.png"])
    assert answer.json["failed"] == []


def test_classify_takes_lists_too(place: Path) -> None:
    model = FIXTURES / "layers" / "avgpool_softmax" / "model"
    for content, words in (("", ["list.txt"]), ("a.png\nb.png", [])):
        answer = with_input(content, "classify", model, *words, "--json")
        assert (answer.code, files_of(answer)) == (0, ["a.png", "b.png"])


def test_the_working_directory_comes_first_and_then_the_folder_of_the_list(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    words = ("detect", place / "net", "../place/list.txt", "--json")
    assert files_of(cli(*words)) == ["../place/a.png", "../place/b.png"]
    shutil.copy(PICTURE, "b.png")
    assert files_of(cli(*words)) == ["../place/a.png", "b.png"]
    # Standard input is in no folder.
    assert files_of(with_input("b.png\n", "detect", place / "net", "--json")) == ["b.png"]
    answer = with_input("a.png\n", "detect", place / "net")
    assert answer.error == "standard input:1: a.png: cannot be read: No such file or directory"


def test_blanks_empty_lines_and_the_ends_of_other_systems(cli: Cli, place: Path) -> None:
    Path("x.list").write_bytes(b"\xef\xbb\xbf  a.png \r\n\r\n\t\r\nb.png")
    assert files_of(cli("detect", "net", "x.list", "--json")) == ["a.png", "b.png"]
    Path("x.txt").write_bytes(b"a.png\rb.png\r")
    assert files_of(cli("detect", "net", "x.txt", "--json")) == ["a.png", "b.png"]


def test_lists_stand_beside_pictures_and_count_each_once(cli: Cli, place: Path) -> None:
    Path("x.txt").write_text("b.png\nb.png\na.png\n")
    answer = cli("detect", "net", "a.png", "x.txt", "list.txt", "--json")
    assert files_of(answer) == ["a.png", "b.png"]


def test_a_list_may_have_any_name(cli: Cli, place: Path) -> None:
    for name in ("5k.part", "train"):
        shutil.copy("list.txt", name)
        assert files_of(cli("detect", "net", name, "--json")) == ["a.png", "b.png"]
    shutil.copy("a.png", "5k.part")
    assert files_of(cli("detect", "net", "5k.part", "--json")) == ["5k.part"]


@needs_bash
def test_a_list_from_a_pipe(place: Path) -> None:
    command = f"{sys.executable} -m darknet_bn detect net <(ls *.png) --json"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stderr) == (0, "")
    assert files_of(Answer(0, result.stdout, "")) == ["a.png", "b.png"]


def test_names_that_are_no_unicode(cli: Cli, place: Path) -> None:
    name = os.fsdecode(b"\xff\xe9.png")
    try:
        shutil.copy("a.png", name)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    Path("x.txt").write_bytes(b"\xff\xe9.png\n")
    answer = cli("detect", "net", "x.txt", "--json")
    assert (answer.code, len(files_of(answer))) == (0, 1)


# -- what is missing -----------------------------------------------------------------------


def test_a_picture_that_is_missing_is_named_with_its_line(cli: Cli, place: Path) -> None:
    Path("x.txt").write_text("a.png\n\nc.png\nhttps://a.b/c.png\nclip.mp4\nnet.cfg/x\n")
    answer = cli("detect", "net", "x.txt", "--json")
    assert (answer.code, files_of(answer)) == (1, ["a.png"])
    assert answer.err.splitlines() == [
        "error: x.txt:3: c.png: cannot be read: No such file or directory",
        "error: x.txt:4: https://a.b/c.png is not a local file; URLs and cameras are only read as "
        "videos, by detect",
        "error: x.txt:5: clip.mp4 is a video; extract frames first: ffmpeg -i clip.mp4 "
        "frames/%05d.jpg",
        "error: x.txt:6: net.cfg/x: cannot be read: No such file or directory",
    ]
    first, *_ = answer.json["failed"]
    assert (first["file"], first["line"]) == ("c.png", 3)
    assert len(answer.json["failed"]) == 4


def test_a_list_of_which_nothing_is_there_is_one_line(cli: Cli, place: Path) -> None:
    Path("x.txt").write_text("aeroplane\nbicycle\n" * 99)
    answer = cli("detect", "net", "x.txt")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == (
        "x.txt: none of its 198 lines names a picture (expected paths of pictures, one per "
        "line, relative to the working directory or to the list, found aeroplane)"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the list is empty"),
        (b"\n \r\n", "the list is empty"),
        (b"0 0.5 0.5 0.25 0.125\n3 0.1 .2 1e-2 0.3\n", "not a list of pictures but labels"),
        (PICTURE.read_bytes(), "not a list of pictures but a picture"),
        (b"\xff\xd8\xff\xe0", "not a list of pictures but a picture"),
        (b"P3\n# text\n2 2\n255\n", "not a list of pictures but a picture"),
        (b" <!DOCTYPE html>", "not a list of pictures but an HTML or XML page"),
        (b"PK\x03\x04", "not a list of pictures but an archive"),
        (b"a.png\n" + bytes(9000), "not a list of pictures but binary data"),
        (b"a.png\n" * 1000 + b"\0", "not a list of pictures but binary data"),
        ("a.png\n".encode("utf-16"), "not a list of pictures but UTF-16 text, not UTF-8"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_what_is_no_list_is_told_in_one_line(
    cli: Cli, place: Path, content: bytes, problem: str
) -> None:
    Path("x.txt").write_bytes(content)
    answer = cli("detect", "net", "x.txt")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(f"x.txt: {problem} ({EXPECTED}")
    answer = with_input(content, "detect", "net", "-")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(f"standard input: {problem} ({EXPECTED}")


def test_a_path_may_look_like_the_mark_of_a_picture(cli: Cli, place: Path) -> None:
    for folder in ("BMW", "P1 front", "RIFF", "7 1 2 3 4.png"):
        os.mkdir(folder)
        shutil.copy("a.png", f"{folder}/a.png")
        Path("x.txt").write_text(f"{folder}/a.png\n")
        assert files_of(cli("detect", "net", "x.txt", "--json")) == [f"{folder}/a.png"]


def test_a_list_that_is_not_there(cli: Cli, place: Path) -> None:
    answer = cli("detect", "net", "x.txt")
    assert (answer.code, answer.error) == (2, "x.txt: cannot be read: No such file or directory")


# -- standard input is read only if nothing else is named -----------------------------------


def test_without_pictures_and_without_list_the_argument_is_missing(cli: Cli) -> None:
    for command in ("detect", "classify"):
        answer = cli(command, TINY)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("error: missing argument: PICTURE\nUsage: ")


def test_a_terminal_is_not_read(place: Path) -> None:
    leader, follower = pty.openpty()
    os.write(leader, b"a.png\n\x04")
    try:
        result = subprocess.run(
            [sys.executable, "-m", "darknet_bn", "detect", "net.cfg", "net.weights"],
            stdin=follower,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert result.returncode == 2
    assert result.stderr.startswith("error: missing argument: PICTURE\n")


def test_standard_input_waits_if_a_picture_is_named(place: Path) -> None:
    assert files_of(with_input("b.png\n", "detect", "net", "a.png", "--json")) == ["a.png"]


@needs_bash
def test_standard_input_that_is_closed(place: Path) -> None:
    for words, problem in ((["-"], "standard input: is closed"), ([], "missing argument")):
        command = " ".join([sys.executable, "-m darknet_bn detect net", *words, "<&-"])
        result = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 2
        assert result.stderr.startswith(f"error: {problem}")


# -- what is written -----------------------------------------------------------------------


def test_outputs_keep_the_paths_of_the_list(cli: Cli, place: Path) -> None:
    for folder in ("left", "right/inner"):
        os.makedirs(folder)
        shutil.copy("a.png", f"{folder}/a.png")
    Path("x.txt").write_text(f"./left/a.png\nright//inner/a.png\n{place}/b.png\n")
    answer = cli("detect", "net", "x.txt", "-o", "out", "--labels", "labels")
    assert answer.code == 0
    found = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.png"))
    assert found == ["b.png", "left/a.png", "right/inner/a.png"]
    labels = sorted(path.relative_to("labels").as_posix() for path in Path("labels").rglob("*.txt"))
    assert labels == ["b.txt", "left/a.txt", "right/inner/a.txt"]


def test_outputs_never_leave_their_folder(cli: Cli, place: Path) -> None:
    os.mkdir("lists")
    Path("lists/x.txt").write_text("../a.png\n../place/b.png\n")
    assert cli("detect", "net", "lists/x.txt", "-o", "out").code == 0
    assert sorted(os.listdir("out")) == ["a.png", "b.png"]
