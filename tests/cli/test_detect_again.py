"""The command detect on many pictures: interrupted and resumed, and in folders in folders."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import darknet_bn as dn
from darknet_bn.cli.program import main
from darknet_bn.engines import classifier, detector

from .conftest import PICTURE, TINY, Answer, Cli, as_classifier, lines_of

USERS = {"detections": detector, "classify": classifier}  # who calls them for the commands
NAMES = [f"{letter}.png" for letter in "abcdef"]


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six pictures, in the working directory."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("album")
    for name in NAMES:
        shutil.copy(PICTURE, f"album/{name}")
    return tmp_path / "album"


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Press Ctrl-C in the call of a number of a function of the library."""

    def install(name: str, number: int) -> None:
        function, calls = getattr(dn, name), []

        def called(*args: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == number:
                raise KeyboardInterrupt
            return function(*args, **options)

        monkeypatch.setattr(USERS.get(name, dn), name, called)

    return install


def files_in(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def pictures_of(answer: Answer) -> list[str]:
    return [os.path.basename(each["file"]) for each in answer.json["pictures"]]


# -- Ctrl-C --------------------------------------------------------------------------------


def test_ctrl_c_says_how_far_it_came_and_the_line_to_go_on_with(
    cli: Cli, album: Path, interrupt: Callable[[str, int], None]
) -> None:
    interrupt("detections", 3)
    answer = cli("detect", TINY, "album", "-o", "my out", "--labels", "l", "--thresh", "0.8")
    assert answer.code == 130
    assert answer.out.splitlines()[-2:] == [
        "written: 2 pictures to my out",
        "written: 2 label files to l",
    ]
    assert answer.err == (
        "stopped after 2 of 6 pictures; resume with: darknet-bn detect "
        f"{TINY} album -o 'my out' --labels l --thresh 0.8 --skip-existing\n"
    )
    again = cli("detect", TINY, "album", "-o", "my out", "--labels", "l", "--thresh", "0.8",
                "--skip-existing")  # fmt: skip
    assert (again.code, again.err) == (0, "")
    assert again.out.splitlines()[3] == "skipped: 2 of 6 pictures whose files already exist"
    assert again.out.splitlines()[-2:] == [
        "written: 4 pictures to my out",
        "written: 4 label files to l",
    ]
    whole = cli("detect", TINY, "album", "-o", "o2", "--labels", "l2", "--thresh", "0.8")
    assert whole.code == 0
    assert files_in("my out") == files_in("o2")
    assert files_in("l") == files_in("l2")
    headings = [line for line in lines_of(answer.out) + lines_of(again.out) if line.endswith(":")]
    assert headings == [f"album/{name}:" for name in NAMES]


def test_a_second_interruption_counts_what_was_done_before(
    cli: Cli, album: Path, interrupt: Callable[[str, int], None]
) -> None:
    for _ in range(2):
        interrupt("detections", 3)
        answer = cli("detect", TINY, "album", "-o", "out", "--skip-existing")
    assert answer.err.startswith("stopped after 4 of 6 pictures; resume with: darknet-bn detect ")
    assert answer.err.count("--skip-existing") == 1


def test_ctrl_c_keeps_what_json_and_csv_would_tell(
    cli: Cli, album: Path, interrupt: Callable[[str, int], None]
) -> None:
    interrupt("detections", 3)
    answer = cli("detect", TINY, "album", "--json")
    assert (answer.code, pictures_of(answer)) == (130, ["a.png", "b.png"])
    assert answer.json["interrupted"] is True
    assert answer.err == "stopped after 2 of 6 pictures, at album/c.png\n"
    interrupt("detections", 3)
    answer = cli("detect", TINY, "album", "--csv")
    assert answer.code == 130
    rows = csv.DictReader(io.StringIO(answer.out))
    assert {row["file"] for row in rows} == {"album/a.png", "album/b.png"}


def test_ctrl_c_between_two_files_of_a_picture(
    cli: Cli, album: Path, interrupt: Callable[[str, int], None]
) -> None:
    words = ("detect", TINY, "album", "-o", "out", "--labels", "out")
    interrupt("save_image", 2)
    assert cli(*words).code == 130
    assert sorted(os.listdir("out")) == ["a.png", "a.txt"]
    answer = cli(*words, "--skip-existing", "--json")
    assert (answer.json["skipped"], pictures_of(answer)) == (["album/a.png"], NAMES[1:])
    assert len(os.listdir("out")) == 12


def test_what_force_would_do_again_is_not_to_be_skipped(
    cli: Cli, album: Path, interrupt: Callable[[str, int], None]
) -> None:
    interrupt("detections", 2)
    answer = cli("detect", TINY, "album", "-o", "out", "--force")
    assert answer.err == "stopped after 1 of 6 pictures, at album/b.png\n"


def test_a_list_on_standard_input_is_part_of_what_to_type(
    album: Path, interrupt: Callable[[str, int], None]
) -> None:
    interrupt("detections", 2)
    words = ["detect", str(TINY), "-o", "out"]
    result = CliRunner().invoke(main, words, input="album/a.png\nalbum/b.png\n")
    assert result.exit_code == 130
    assert result.stderr.endswith(
        f"stopped after 1 of 2 pictures; resume with: darknet-bn detect {TINY} -o out "
        "--skip-existing, and the same list on standard input\n"
    )


def test_ctrl_c_in_classify(
    cli: Cli, tiny: Path, album: Path, interrupt: Callable[[str, int], None]
) -> None:
    as_classifier(tiny)
    interrupt("classify", 2)
    answer = cli("classify", tiny, "album", "--json")
    assert (answer.code, pictures_of(answer)) == (130, ["a.png"])
    assert answer.json["interrupted"] is True
    assert answer.err == "stopped after 1 of 6 pictures, at album/b.png\n"


# -- --skip-existing -----------------------------------------------------------------------


def test_what_exists_is_skipped_and_untouched(cli: Cli, album: Path) -> None:
    os.mkdir("out")
    Path("out/b.png").write_text("mine")
    answer = cli("detect", TINY, "album", "-o", "out", "--skip-existing", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json["skipped"] == ["album/b.png"]
    assert pictures_of(answer) == [name for name in NAMES if name != "b.png"]
    assert Path("out/b.png").read_text() == "mine"
    assert sorted(os.listdir("out")) == NAMES
    csv_again = cli("detect", TINY, "album", "-o", "out", "--skip-existing", "--csv")
    assert csv_again.code == 0
    assert csv_again.out == "file,class,name,probability,left,top,width,height\n"
    assert "skipped: 6 of 6 pictures whose files already exist\n" in csv_again.err


def test_of_half_a_pair_the_other_half_is_made(cli: Cli, album: Path) -> None:
    words = ("detect", TINY, "album", "-o", "out", "--labels", "labels")
    assert cli(*words).code == 0
    whole = files_in("out") | files_in("labels")
    os.remove("out/b.png")
    os.remove("labels/c.txt")
    Path("labels/b.txt").write_text("corrected by hand\n")
    answer = cli(*words, "--skip-existing", "--json")
    assert (answer.code, pictures_of(answer)) == (0, ["b.png", "c.png"])
    corrected = {"b.txt": b"corrected by hand\n"}
    assert files_in("out") | files_in("labels") == whole | corrected


def test_some_bad_pictures_among_those_that_are_left(cli: Cli, album: Path) -> None:
    for name in NAMES[:5]:
        assert cli("detect", TINY, f"album/{name}", "-o", "out/").code == 0
    (album / "f.png").write_text("no picture")
    answer = cli("detect", TINY, "album", "-o", "out", "--skip-existing")
    assert answer.code == 1  # five of six are there


def test_the_pictures_themselves_are_not_what_exists(cli: Cli, album: Path) -> None:
    for out in ("album", "link"):
        if out == "link":
            os.symlink("album", "link")
        answer = cli("detect", TINY, "album", "-o", out, "--skip-existing")
        assert (answer.code, answer.out) == (2, "")
        assert "this file is an input, and is never overwritten" in answer.error


def test_a_folder_in_the_place_of_a_file_is_not_what_exists(cli: Cli, album: Path) -> None:
    os.makedirs("out/b.png")
    answer = cli("detect", TINY, "album", "-o", "out", "--skip-existing")
    assert answer.code == 2
    assert answer.error.startswith("out/b.png: this is a folder")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--skip-existing"], "--skip-existing needs -o or --labels"),
        (
            ["--skip-existing", "--force", "-o", "x"],
            "--skip-existing and --force cannot be used together",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_skip_existing_needs(cli: Cli, album: Path, words: list[str], problem: str) -> None:
    answer = cli("detect", TINY, "album", *words)
    assert answer.code == 2
    assert answer.err.startswith(f"error: {problem}\n")


# -- --recursive ---------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders in folders, with pictures of equal names."""
    monkeypatch.chdir(tmp_path)
    for folder in ("tree", "tree/day 1", "tree/day 2/cam", "tree/.thumbnails", "tree/none"):
        os.makedirs(folder, exist_ok=True)
        if folder != "tree/none":
            shutil.copy(PICTURE, f"{folder}/1.png")
    Path("tree/day 1/notes.txt").write_text("no picture")
    return tmp_path / "tree"


ALL = ["tree/1.png", "tree/day 1/1.png", "tree/day 2/cam/1.png"]


def paths_of(cli: Cli, *words: object) -> list[str]:
    answer = cli("detect", TINY, *words, "--json")
    assert (answer.code, answer.err) == (0, "")
    return [each["file"] for each in answer.json["pictures"]]


def test_folders_in_folders(cli: Cli, tree: Path) -> None:
    assert paths_of(cli, "tree") == ALL[:1]
    assert paths_of(cli, "tree", "--recursive") == ALL
    assert paths_of(cli, "tree/", "--recursive") == ALL
    assert paths_of(cli, "tree/day*", "--recursive") == ALL[1:]
    assert paths_of(cli, "tree/**/1.png") == ALL


def test_classify_looks_into_them_too(cli: Cli, tiny: Path, tree: Path) -> None:
    as_classifier(tiny)
    answer = cli("classify", tiny, "tree", "--recursive", "--json")
    assert [each["file"] for each in answer.json["pictures"]] == ALL


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["tree", "--recursive"], ["1", "day 1/1", "day 2/cam/1"]),
        (["tree/**/1.png"], ["1", "day 1/1", "day 2/cam/1"]),
        (["tree/*/1.png"], ["day 1/1"]),
        (["tree/day 2", "--recursive"], ["cam/1"]),
        (["tree/day 1", "tree/day 2", "--recursive"], ["1", "cam/1"]),
        (["tree/day 1/1.png", "tree/day 2/*/*.png"], ["1", "cam/1"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_outputs_keep_the_folders(cli: Cli, tree: Path, words: list[str], found: list[str]) -> None:
    assert cli("detect", TINY, *words, "-o", "out", "--labels", "labels").code == 0
    assert sorted(files_in("out")) == [f"{name}.png" for name in found]
    assert sorted(files_in("labels")) == [f"{name}.txt" for name in found]
    answer = cli("detect", TINY, *words, "-o", "out", "--labels", "labels", "--skip-existing")
    assert (answer.code, lines_of(answer.out)[0][:7]) == (0, "skipped")


def test_equal_names_without_a_folder_in_common_are_refused(cli: Cli, tree: Path) -> None:
    answer = cli("detect", TINY, *ALL, "-o", "out")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == (
        f"out/1.png: two pictures would share this file (found {ALL[0]} and {ALL[1]}); give the "
        "folder above both, with --recursive"
    )


def test_links_in_a_circle_end(cli: Cli, tree: Path) -> None:
    os.symlink("..", "tree/day 1/up")
    os.symlink(".", "tree/day 1/self")
    os.symlink("../day 1", "tree/none/first")
    os.symlink("nowhere", "tree/none/broken")
    assert paths_of(cli, "tree", "--recursive") == ALL
    assert paths_of(cli, "tree/*", "--recursive") == sorted([*ALL, "tree/day 1/up/1.png"])
    for pattern in ("tree/**", "tree/**/*.png", "**/1.png", "./**/[0-9].png"):
        assert [os.path.normpath(path) for path in paths_of(cli, pattern)] == ALL
    assert paths_of(cli, "tree/**/cam/*") == ALL[2:]


def test_a_folder_behind_a_link_is_looked_into_once(cli: Cli, tree: Path) -> None:
    os.mkdir("elsewhere")
    shutil.copy(PICTURE, "elsewhere/2.png")
    os.symlink("../elsewhere", "tree/b")
    os.symlink("../elsewhere", "tree/a")
    os.symlink("day 2", "tree/aa")  # sorts before the folder itself
    assert paths_of(cli, "tree", "--recursive") == [ALL[0], "tree/a/2.png", *ALL[1:]]


def test_the_folder_that_is_written_to_is_no_source(cli: Cli, tree: Path) -> None:
    words = ("detect", TINY, "tree", "--recursive", "-o", "tree/out")
    for more in ((), ("--force",), ("--skip-existing",)):
        assert cli(*words, *more).code == 0
        assert sorted(files_in("tree/out")) == ["1.png", "day 1/1.png", "day 2/cam/1.png"]


def test_a_folder_that_holds_only_folders_hints_at_the_option(cli: Cli, tree: Path) -> None:
    os.remove("tree/1.png")
    problem = "tree: the folder contains no pictures"
    assert cli("detect", TINY, "tree").error == (f"{problem}; --recursive searches its subfolders")
    assert cli("detect", TINY, "tree/none", "--recursive").error == (
        "tree/none: the folder contains no pictures"
    )


def test_a_folder_that_cannot_be_read_is_one_of_the_bad_ones(
    cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listdir = os.listdir

    def refuse(folder: str) -> list[str]:
        if folder == closed:
            raise PermissionError(13, "Permission denied", folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    closed = "tree/day 1"
    answer = cli("detect", TINY, "tree", "--recursive", "--json")
    assert (answer.code, answer.error) == (1, "tree/day 1: cannot be read: Permission denied")
    assert [each["file"] for each in answer.json["pictures"]] == [ALL[0], ALL[2]]
    closed = "tree"
    for words in ((), ("--recursive",)):
        answer = cli("detect", TINY, "tree", *words)
        assert (answer.code, answer.error) == (2, "tree: cannot be read: Permission denied")
