"""The command detect: which pictures it takes, and what it writes of them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.cli import progress
from darknet_bn.cli.program import main

from .conftest import ERROR_FIELDS, FIXTURES, PICTURE, TINY, Cli, Terminal, detections, lines_of

PREPROCESS = FIXTURES / "preprocess"


# -- which pictures ------------------------------------------------------------------------


def files_of(cli: Cli, *words: object) -> list[str]:
    answer = cli("detect", *words, "--json")
    assert (answer.code, answer.err) == (0, "")
    return [os.path.basename(each["file"]) for each in answer.json["pictures"]]


def test_files_folders_and_patterns(cli: Cli, photos: Path) -> None:
    assert files_of(cli, TINY, photos / "b.png") == ["b.png"]
    assert files_of(cli, TINY, photos) == ["a.PNG", "b.png"]
    assert files_of(cli, TINY, photos / "*") == ["a.PNG", "b.png"]
    assert files_of(cli, TINY, photos / "[b-z].*") == ["b.png"]
    assert files_of(cli, TINY, photos.parent / "**/*.png") == ["b.png"]
    assert files_of(cli, TINY, photos / "b.png", photos, PICTURE) == [
        "b.png",
        "a.PNG",
        PICTURE.name,
    ]


def test_a_file_is_meant_whatever_its_name(cli: Cli, photos: Path) -> None:
    for name in ("a*[1]?.png", "picture"):
        shutil.copy(PICTURE, photos / name)
        assert files_of(cli, TINY, photos / name) == [name]


@pytest.mark.parametrize("picture", [PICTURE, PREPROCESS, PREPROCESS / "rgba*"], ids=str)
@pytest.mark.parametrize(
    "model",
    [
        [TINY],
        [f"{TINY}.cfg"],
        [f"{TINY}.weights"],
        [f"{TINY}.cfg", f"{TINY}.weights"],
        [TINY, TINY],
    ],
    ids=["stem", "cfg", "weights", "both", "stems"],
)
def test_the_model_ends_where_the_pictures_begin(
    cli: Cli, model: list[object], picture: Path
) -> None:
    assert PICTURE.name in files_of(cli, *model, picture)
    assert PICTURE.name in files_of(cli, *model, picture, PICTURE)


def test_weights_of_another_name_are_no_picture(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(f"{TINY}.weights", tmp_path / "tiny.conv.11")
    words = (f"{TINY}.cfg", tmp_path / "tiny.conv.11", PICTURE)
    assert files_of(cli, *words) == [PICTURE.name]


def test_several_have_a_heading_each(cli: Cli, photos: Path) -> None:
    answer = cli("detect", TINY, photos, "--thresh", "0.8")
    assert lines_of(answer.out) == [
        f"{photos}/a.PNG:",
        "class 1: 82%",
        "class 1: 81%",
        f"{photos}/b.png:",
        "class 1: 80%",
    ]
    (photos / "a.PNG").unlink()
    alone = lines_of(cli("detect", TINY, photos, "--thresh", "0.8").out)
    assert alone == [f"{photos}/b.png:", "class 1: 80%"]


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("photos/more.png", "the folder contains no pictures"),
        ("photos/*.jpg", "no picture matches this pattern"),
        ("photos/x.jpg", "cannot be read: No such file or directory"),
        ("photos/._a.png", "not a picture, or its header is damaged"),
    ],
)
def test_a_word_without_picture(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch, word: str, problem: str
) -> None:
    monkeypatch.chdir(photos.parent)
    alone = cli("detect", TINY, word)
    assert alone.code == 2
    assert alone.error.startswith(f"{word}: {problem}")
    answer = cli("detect", TINY, "photos/b.png", word, "--thresh", "0.8")
    assert answer.code == 1
    assert answer.error == alone.error
    assert lines_of(answer.out) == ["photos/b.png:", "class 1: 80%"]


def links_to_themselves(folder: Path) -> None:
    """Make folders in which a walk that follows links does not end."""
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("one", "two", "deep/three"):
        (folder / name).symlink_to(folder, target_is_directory=True)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="the system has no links")
def test_patterns_end_where_links_lead_in_circles(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    links_to_themselves(tmp_path)
    places = ("a.png", "deep/b.png", "deep/er/c.png", ".hidden/d.png", "deep/[x]/e.png")
    for place in places:
        Path(place).parent.mkdir(exist_ok=True)
        shutil.copy(PICTURE, place)
    shown = ["a.png", "e.png", "b.png", "c.png"]  # by the whole path: "[" comes before "b"
    assert files_of(cli, TINY, "**/*.png") == shown
    assert files_of(cli, TINY, f"{tmp_path}/**/*.png") == shown
    assert files_of(cli, TINY, "**") == shown
    assert files_of(cli, TINY, "**/**/*.png") == shown
    inside = ["e.png", "b.png", "c.png", "a.png"]  # the last through deep/three, once
    assert files_of(cli, TINY, "deep/**/*.png") == inside
    assert files_of(cli, TINY, "d*p/**/c.*") == ["c.png"]
    assert files_of(cli, TINY, "**/er/*.png") == ["c.png"]
    assert files_of(cli, TINY, "one/*.png") == ["a.png"]  # a link that is named is followed


def test_a_strip_is_reported_by_its_name_and_the_others_go_on(
    cli: Cli, tmp_path: Path, photos: Path
) -> None:
    from PIL import Image

    Image.new("RGB", (1, 65535)).save(photos / "aa.png")
    answer = cli("detect", TINY, photos, "--letterbox", "--thresh", "0.8")
    assert answer.code == 1
    assert answer.error.startswith(
        f"{photos}/aa.png: the letterboxed picture would have no pixels (expected a less "
        "elongated picture"
    )
    assert f"{photos}/b.png:" in lines_of(answer.out)
    assert not [line for line in lines_of(answer.out) if "aa.png" in line]


def test_any_error_of_a_picture_is_one_of_them(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise dn.ShapeError("it does not fit")

    monkeypatch.setattr("darknet_bn.engines.detector.detections", broken)
    answer = cli("detect", TINY, photos)
    assert answer.code == 2  # all of them
    assert [line.removeprefix("error: ") for line in answer.err.splitlines()] == [
        f"{photos}/a.PNG: it does not fit",
        f"{photos}/b.png: it does not fit",
    ]


@pytest.mark.parametrize("how", ["--csv", "--json"])
def test_control_characters_of_names_stay_in_their_line(cli: Cli, tmp_path: Path, how: str) -> None:
    (tmp_path / "x.names").write_bytes(b"\x1b]0;x\x07,a\r\n\xc2\x9b31m\n")
    answer = cli("detect", TINY, PICTURE, "--names", tmp_path / "x.names", how, "--thresh", "0.1")
    assert answer.code == 0
    assert all(each.isprintable() for each in answer.out.split("\n"))
    assert "\x1b" not in answer.out
    if how == "--csv":
        assert '"\\x1b]0;x\\x07,a"' in answer.out


def test_a_bad_picture_is_reported_and_the_others_go_on(
    cli: Cli, photos: Path, tmp_path: Path
) -> None:
    (photos / "aa.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    data = (photos / "b.png").read_bytes()
    (photos / "c.png").write_bytes(data[: len(data) // 2])
    out = tmp_path / "out"
    answer = cli("detect", TINY, photos, "-o", out, "--labels", out, "--json")
    assert answer.code == 1
    first, second = answer.err.splitlines()
    assert first.startswith(f"error: {photos}/aa.jpg: the picture is damaged or cut off")
    assert second.startswith(f"error: {photos}/c.png: the picture is damaged or cut off")
    assert [os.path.basename(each["file"]) for each in answer.json["pictures"]] == [
        "a.PNG",
        "b.png",
    ]
    for failed, name in zip(answer.json["failed"], ("aa.jpg", "c.png"), strict=True):
        assert failed["file"] == f"{photos}/{name}"
        assert failed["message"].startswith("the picture is damaged or cut off")
        assert list(failed) == ERROR_FIELDS
    assert sorted(os.listdir(out)) == ["a.PNG", "a.txt", "b.png", "b.txt"]
    answer = cli("detect", TINY, photos, "-o", out, "--labels", out, "--force")
    assert answer.out.splitlines()[-2:] == [
        f"written: 2 pictures to {out}",
        f"written: 2 label files to {out}",
    ]


def test_a_picture_that_memory_cannot_hold_is_one_of_them(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = dn.prepare

    def no_memory(im: Any, *rest: Any) -> Any:
        if im.shape[1:] == (12, 21):
            raise MemoryError("of 1 TiB")
        return prepare(im, *rest)

    monkeypatch.setattr("darknet_bn.engines.predictor.prepare", no_memory)
    answer = cli("detect", TINY, photos, "--thresh", "0.8")
    assert answer.code == 1
    assert answer.error == f"{photos}/a.PNG: not enough memory: of 1 TiB"
    assert lines_of(answer.out) == [f"{photos}/b.png:", "class 1: 80%"]


def test_a_network_without_heads_or_pictures_is_refused_once(cli: Cli, photos: Path) -> None:
    layers = FIXTURES / "layers"
    assert "has no detection head" in cli("detect", layers / "avgpool_softmax/model", photos).error
    error = cli("detect", layers / "connected_only/model", photos).error
    assert "the network does not take pictures" in error


# -- what is written -----------------------------------------------------------------------


def test_the_boxes_are_drawn(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "found.png"
    answer = cli("detect", TINY, PICTURE, "-o", target, "--thresh", "0.76")
    assert answer.out.splitlines()[-1] == f"written: 1 picture to {target}"
    named = [
        dataclasses.replace(each, classes=(each.classes[0]._replace(label="class 1"),))
        for each in detections(threshold=0.76)
    ]
    expected = dn.draw_detections(dn.load_image(PICTURE), named)
    np.testing.assert_array_equal(dn.load_image(target), expected)


def test_several_go_into_a_folder(cli: Cli, photos: Path, tmp_path: Path) -> None:
    (photos / "b.png").rename(photos / "b.tga")  # a kind that is read only
    out = tmp_path / "new" / "folder"
    answer = cli("detect", TINY, photos, "-o", out)
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == f"written: 2 pictures to {out}"
    assert sorted(os.listdir(out)) == ["a.PNG", "b.tga.png"]
    assert dn.load_image(out / "b.tga.png").shape == (3, 15, 10)


@pytest.mark.parametrize("out", ["there", "new/", "there/"])
def test_one_picture_goes_into_a_folder_too(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("there")
    assert cli("detect", TINY, PICTURE, "-o", out).code == 0
    assert os.listdir(out) == [PICTURE.name]


def test_the_labels_are_those_to_train_with(cli: Cli, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    words = ("detect", TINY, photos, "--labels", folder)
    assert cli(*words, "--thresh", "0.81").out.splitlines()[-1] == (
        f"written: 2 label files to {folder}"
    )
    assert sorted(os.listdir(folder)) == ["a.txt", "b.txt"]
    assert (folder / "b.txt").read_bytes() == b""  # a picture that shows nothing
    assert cli(*words, "--thresh", "0.7", "--force").code == 0
    lines = (folder / "b.txt").read_text().splitlines()
    expected = [[each.class_id, *each.box] for each in detections(threshold=0.7)]
    for line, numbers in zip(lines, expected, strict=True):
        # Four decimals are written.
        np.testing.assert_allclose([float(word) for word in line.split()], numbers, atol=6e-5)


def test_labels_may_have_the_probability_too(cli: Cli, photos: Path, tmp_path: Path) -> None:
    words = ("detect", TINY, photos, "--thresh", "0.7", "--confidence")
    assert cli(*words, "--labels", tmp_path / "labels").code == 0
    lines = (tmp_path / "labels/b.txt").read_text().splitlines()
    expected = [[each.class_id, *each.box, each.probability] for each in detections(threshold=0.7)]
    assert expected
    for line, numbers in zip(lines, expected, strict=True):
        # Four decimals are written.
        np.testing.assert_allclose([float(word) for word in line.split()], numbers, atol=6e-5)
    answer = cli(*words)
    assert (answer.code, answer.err.splitlines()[0]) == (2, "error: --confidence needs --labels")


def test_the_font_is_used_and_a_bad_one_refused_before_any_work(
    cli: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    font, out = tmp_path / "x.ttf", tmp_path / "out"
    font.write_text("no font")
    words = ("detect", TINY, photos, "-o", out, "--font", font)
    answer = cli(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(f"{font}: the font cannot be read")
    assert not out.exists()
    used = []
    monkeypatch.setattr(dn, "draw_detections", lambda im, _, font: used.append(font) or im)
    assert cli(*words).code == 0
    assert set(used) == {str(font)}


def test_pillow_is_asked_for_once(cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    error = cli("detect", TINY, photos).error
    assert error == "Pillow is needed for pictures; pip install 'darknet-bn[image]'"


@pytest.mark.parametrize("command", ["file", "folder", "labels"])
def test_nothing_is_overwritten_without_force(
    cli: Cli, photos: Path, tmp_path: Path, command: str
) -> None:
    target = tmp_path / {"file": "o.png", "folder": "o/b.png", "labels": "o/b.txt"}[command]
    words = {
        "file": (PICTURE, "-o", target),
        "folder": (photos, "-o", target.parent),
        "labels": (photos, "--labels", target.parent),
    }[command]
    target.parent.mkdir(exist_ok=True)
    target.write_text("mine")
    answer = cli("detect", TINY, *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == f"{target}: the file already exists; use --force to overwrite it"
    assert target.read_text() == "mine"
    assert cli("detect", TINY, *words, "--force").code == 0
    assert target.read_bytes() != b"mine"


def test_the_pictures_themselves_are_never_overwritten(cli: Cli, photos: Path) -> None:
    before = (photos / "b.png").read_bytes()
    for words in ((photos, "-o", photos), (photos / "b.png", "-o", photos / "b.png")):
        answer = cli("detect", TINY, *words, "--force")
        assert (answer.code, answer.out) == (2, "")
        assert "this file is an input, and is never overwritten" in answer.error
    assert (photos / "b.png").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "-o", "x.jpg"], "x.jpg: several pictures need a folder as output"),
        (["photos", "-o", "file"], "file: this is not a folder"),
        (["photos", "--labels", "file"], "file: this is not a folder"),
        (["photos/b.png", "-o", "x.gif"], "x.gif: the file name does not say which picture"),
        (
            ["photos/b.png", "-o", "x"],
            "x: the file name does not say which picture format to write",
        ),
        (["photos/b.png", "-o", "no/x.png"], "no: the folder does not exist"),
        (
            ["photos/b.png", "other/b.png", "-o", "x"],
            "x/b.png: two pictures would share this file (found photos/b.png and other/b.png)",
        ),
        (
            ["photos/b.png", "other/b.jpg", "--labels", "x"],
            "x/b.txt: two pictures would share this file (found photos/b.png and other/b.jpg)",
        ),
        (["photos", "-o", "file/x"], "file/x: cannot be created: Not a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_places_that_cannot_be(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("file").write_text("")
    answer = cli("detect", TINY, *words)
    assert answer.code == 2
    assert answer.error.startswith(message)
    assert not Path("x").exists()


def test_a_model_that_is_refused_leaves_no_folder(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("detect", tmp_path / "no", PREPROCESS, "-o", out, "--labels", out).code == 2
    assert not out.exists()


# -- as a program --------------------------------------------------------------------------


def test_names_that_no_locale_can_spell(tmp_path: Path) -> None:
    picture = tmp_path / os.fsdecode(b"\xff\xc3\xa9.png")
    try:
        shutil.copy(PICTURE, picture)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    names = tmp_path / "x.names"
    names.write_text("\u7532\nH\u00fcndchen\n", encoding="utf-8")
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "darknet_bn", "detect", str(TINY), str(tmp_path)]
    out = str(tmp_path / "out")
    command += ["--names", str(names), "-o", out, "--labels", out]
    for word in ("--thresh=0.79", "--csv"):
        result = subprocess.run(
            [*command, word, "--force"], env=plain, capture_output=True, timeout=300, check=False
        )
        assert result.returncode == 0, result.stderr
        assert b"\\udcff" in result.stdout
    assert len(os.listdir(tmp_path / "out")) == 2


def test_the_bar_makes_way_for_lines(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "c.png").write_bytes(b"no picture")
    terminal = Terminal()
    monkeypatch.setattr(progress, "_DELAY", 0)
    monkeypatch.setattr(progress, "_PERIOD", 0)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", terminal)  # so that the order can be seen
    with pytest.raises(SystemExit):
        main(["detect", str(TINY), str(photos), "--thresh", "0.8"])
    screen = terminal.getvalue()
    bars = [f"detecting [{'#' * full}{'-' * (30 - full)}] {n}/3" for n, full in ((1, 10), (2, 20))]
    bars.append(f"detecting [{'#' * 30}] 3/3")
    blank = f"\r{' ' * len(bars[0])}\r"
    screen = screen.replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert screen[screen.index("class 1: 81%") :].startswith(
        f"class 1: 81%\n\r{bars[0]}{blank}{photos}/b.png:\nclass 1: 80%\n"
        f"\r{bars[1]}{blank}error: {photos}/c.png: not a picture"
    )
    assert f"\r{bars[2]}{blank}took: " in screen
