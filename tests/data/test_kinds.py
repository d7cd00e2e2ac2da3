from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.data.kinds import require_kind
from darknet_bn.pictures.images import save_image

from .sets import detector, rectangle

EXPECTED = "expected .data, .npz, .yaml or .json, or a folder with labels"


@pytest.mark.parametrize("name", ["x.data", "x.npz", "X.DATA", "dir.json/x.Npz"])
def test_data_sets(name: str) -> None:
    require_kind(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("x.XML", "give the folder of PASCAL VOC's files, not one of them"),
        ("x.csv", "convert the table of boxes to label files first: a file NAME.txt"),
        (
            "train.txt",
            "if this is a list of pictures, write a .data file with the lines classes=N, "
            "train=train.txt, valid=train.txt, names=FILE",
        ),
        ("dog.jpg", "write a .data file with the lines classes=N, train=LIST"),
        (
            "a b.mp4",
            "this is a video; extract frames first: mkdir frames; ffmpeg -i 'a b.mp4' "
            "frames/%05d.jpg",
        ),
        ("x.weights", "this is part of a model; the data set comes after it"),
        ("x.npy", "put two arrays into one file: numpy.savez('set.npz', x=x, y=y)"),
    ],
)
def test_other_files_are_refused_with_what_to_do(name: str, hint: str) -> None:
    with pytest.raises(dn.DarknetError) as caught:
        require_kind(name)
    start = f"{name}: unsupported data set type {Path(name).suffix} ({EXPECTED}); "
    assert str(caught.value).startswith(start + hint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["https://a/b.data", "rtsp://camera/1", "http://x/a.jpg"])
def test_what_is_not_here(name: str) -> None:
    with pytest.raises(dn.DarknetError, match=r"not a local file .*; URLs, cameras and video "):
        require_kind(name)


def test_names_without_a_suffix(tmp_path: Path) -> None:
    with pytest.raises(dn.DarknetError, match=r"nowhere: no such file \(expected \.data"):
        require_kind(tmp_path / "nowhere")
    (tmp_path / "set").write_text("")
    with pytest.raises(dn.DarknetError, match=r"set: a data set needs a suffix \(expected \.data"):
        require_kind(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "."):
        with pytest.raises(dn.DarknetError, match=r"the folder has no pictures with labels .*\)$"):
            require_kind(tmp_path / name)
    for name in ("coco.json", "data.yaml"):
        with pytest.raises(dn.DarknetError, match=rf"{name}: no such file \(expected \.data"):
            require_kind(tmp_path / name)


@pytest.mark.skipif(os.name != "posix", reason="the commands are those of POSIX systems")
@pytest.mark.parametrize("parts", [("train", "valid"), ("train", "test"), ("train",), ("",)])
def test_a_folder_of_pictures_becomes_a_data_set_as_the_message_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, part in enumerate(parts, start=1):
        folder = Path("robo flow", part)
        folder.mkdir(parents=True)
        (folder / "_darknet.labels").write_text("ant\nbee\ncat\n")
        for name in range(number):
            save_image(folder / f"{name}.png", rectangle(9, 9, 1, 1, 5, 5)[0])
    with pytest.raises(dn.DarknetError, match="robo flow: the folder has no pictures") as caught:
        require_kind("robo flow")
    hint = caught.value.hint or ""
    commands, _, lines = hint.partition("; and write a .data file with the lines ")
    subprocess.run(commands.removeprefix("list the pictures: "), shell=True, check=True)
    Path("set.data").write_text(lines.replace(", ", "\n"))
    for label in Path("robo flow").rglob("*.png"):
        label.with_suffix(".txt").write_text("1 .5 .5 .1 .1\n")
    data = dn.load_data("set.data")
    assert data.classes == 3
    assert dn.load_names(data.names or "") == ("ant", "bee", "cat")
    model = detector()
    for place in ("set.data", "robo flow"):  # with labels, the folder itself is enough
        require_kind(place)
        assert len(dn.load_dataset(place, model, train=True)) == 1
        assert len(dn.load_dataset(place, model, train=False)) == len(parts)
