from __future__ import annotations

from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.data.lists import load_list


def write(folder: Path, name: str, text: str = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_line_is_a_picture(tmp_path: Path) -> None:
    write(tmp_path, "a b.jpg")
    write(tmp_path, "c.jpg")
    write(tmp_path, "list.txt", f"a b.jpg \r\n\n{tmp_path}/c.jpg\n")
    data = dn.load_data(write(tmp_path, "x.data", "train = list.txt"))
    entries = load_list(data, "train")
    assert [entry.path for entry in entries] == [f"{tmp_path}/a b.jpg", f"{tmp_path}/c.jpg"]
    assert [entry.text for entry in entries] == ["a b.jpg", f"{tmp_path}/c.jpg"]
    assert [entry.where.line for entry in entries] == [1, 3]
    assert entries[0].beside("labels/a.txt") == f"{tmp_path}/labels/a.txt"
    assert entries[1].beside("/labels/a.txt") == "/labels/a.txt"


@pytest.mark.parametrize(
    ("data", "names", "picture"),
    [
        ("cfg/x.data", "lists/train.txt", "lists/a.jpg"),  # next to the list
        ("cfg/x.data", "lists/train.txt", "a.jpg"),  # above it
        ("cfg/x.data", "cfg/lists/train.txt", "cfg/a.jpg"),  # next to the .data file
        ("set/cfg/x.data", "set/lists/deep/train.txt", "set/a.jpg"),  # above that
    ],
)
def test_where_pictures_are_looked_for(tmp_path: Path, data: str, names: str, picture: str) -> None:
    write(tmp_path, picture)
    write(tmp_path, names, "a.jpg")
    path = write(tmp_path, data, f"train={tmp_path / names}")
    assert load_list(dn.load_data(path), "train")[0].path == str(tmp_path / picture)


def test_the_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "there"):
        write(tmp_path, f"{place}/a.jpg")
    write(tmp_path, "there/train.txt", "a.jpg")
    monkeypatch.chdir(tmp_path / "here")
    data = dn.load_data(write(tmp_path, "there/x.data", "train=train.txt"))
    assert load_list(data, "train")[0].path == "a.jpg"


@pytest.mark.parametrize(
    ("data", "text", "message"),
    [
        (
            "valid=list.txt",
            "a.jpg",
            r"x\.data: train: the list of pictures is not given \(expected tr",
        ),
        ("train=lost.txt", "a.jpg", r"x\.data: train: the file does not exist"),
        ("train=list.txt", "\n \n", r"list\.txt: the list is empty"),
        ("train=list.txt", "a.jpg\nb.jpg", r"list\.txt:2: the picture does not exist .*b\.jpg"),
        ("train=list.txt", "a.jpg\n\0", r"list\.txt: this is not a text file"),
    ],
)
def test_what_is_missing_is_named_in_a_line(
    tmp_path: Path, data: str, text: str, message: str
) -> None:
    write(tmp_path, "a.jpg")
    write(tmp_path, "list.txt", text)
    with pytest.raises(dn.DarknetError, match=message) as caught:
        load_list(dn.load_data(write(tmp_path, "x.data", data)), "train")
    assert "\n" not in str(caught.value)


def test_all_pictures_that_are_missing_are_named(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    write(tmp_path, "list.txt", "b.jpg\na.jpg\n\nc.jpg\n")
    data = dn.load_data(write(tmp_path, "x.data", "train=list.txt"))
    with pytest.raises(dn.DataError) as caught:
        load_list(data, "train")
    assert [each.where.line for each in caught.value.problems] == [1, 4]
    assert str(caught.value).startswith(
        f"{tmp_path}/list.txt: 2 of 3 pictures do not exist; the first: {tmp_path}/list.txt:1: "
    )


def test_backslashes_of_windows(tmp_path: Path) -> None:
    write(tmp_path, "img/a.jpg")
    write(tmp_path, "lists/train.txt", "img\\a.jpg\n")
    data = dn.load_data(write(tmp_path, "x.data", "train=lists\\train.txt"))
    (entry,) = load_list(data, "train")
    assert (entry.text, entry.path) == ("img/a.jpg", f"{tmp_path}/img/a.jpg")
