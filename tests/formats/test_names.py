from __future__ import annotations

from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.formats.names import Data, fit_names, require_names


def names_of(folder: Path, content: bytes) -> tuple[str, ...]:
    path = folder / "x.names"
    path.write_bytes(content)
    return dn.load_names(path)


def data_of(folder: Path, text: str) -> Data:
    path = folder / "x.data"
    path.write_text(text)
    return dn.load_data(path)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"dog\ncat\n", ("dog", "cat")),
        (b"dog\ncat", ("dog", "cat")),
        (b"dog\r\npotted plant \r\n\r\n\n", ("dog", "potted plant")),
        (b"\n dog\n\ncat\n", ("", "dog", "", "cat")),  # an empty line is a class too
        ("\ufeffH\u00fcndchen\n".encode(), ("H\u00fcndchen",)),
        ("H\u00fcndchen\n".encode("latin-1"), ("H\u00fcndchen",)),
        (b"<html lang> tag\n#1\n", None),
        (b"", ()),
    ],
    ids=["plain", "no last end", "DOS", "empty lines", "UTF-8", "Latin-1", "HTML", "empty"],
)
def test_a_line_is_a_name(tmp_path: Path, content: bytes, names: tuple[str, ...] | None) -> None:
    if names is None:
        with pytest.raises(dn.DarknetError, match=r"x\.names: this is an HTML page"):
            names_of(tmp_path, content)
    else:
        assert names_of(tmp_path, content) == names


@pytest.mark.parametrize(
    "content",
    [b"dog\0cat\n", "dog\n".encode("utf-16"), b"x" * (4 << 20) + b"y"],
    ids=["zero byte", "UTF-16", "too large"],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(dn.DarknetError, match=r"x\.names: this is not a text file"):
        names_of(tmp_path, content)


@pytest.mark.parametrize("load", [dn.load_names, dn.load_data])
def test_a_missing_file_is_named(load: object, tmp_path: Path) -> None:
    with pytest.raises(dn.DarknetError, match="nothing: cannot be read: No such file"):
        load(tmp_path / "nothing")  # type: ignore[operator]


def test_real_names(shared: Path) -> None:
    names = dn.load_names(shared / "models/yolov3-tiny/coco.names")
    assert (len(names), names[16], names[-1]) == (80, "dog", "toothbrush")


# -- a name for each class -----------------------------------------------------------------


def test_classes_without_name_have_their_number() -> None:
    assert fit_names(None, 2) == ("class 0", "class 1")
    assert fit_names(["dog", "", "cat"], 3) == ("dog", "class 1", "cat")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["dog"], "^x: 1 name for 3 classes; classes from 1 on have no name$"),
        ([], "^x: 0 names for 3 classes; classes from 0 on have no name$"),
        ([*"dogs"], "^x: 4 names for 3 classes; the extra names are ignored$"),
    ],
    ids=["fewer", "none", "more"],
)
def test_another_number_of_names_is_a_warning(names: list[str], message: str) -> None:
    with pytest.warns(dn.DarknetWarning, match=message):
        fitted = fit_names(names, 3, file="x")
    assert len(fitted) == 3
    assert fitted[: len(names)] == tuple(names[:3])
    assert fitted[len(names) :] == ("class 0", "class 1", "class 2")[len(names) :]


# -- .data files ---------------------------------------------------------------------------


def test_the_keys_of_a_data_file(tmp_path: Path) -> None:
    text = "# a comment\n\nclasses= 80\r\n  top =5\n;names=no\nvalid = a b.txt\n"
    data = data_of(tmp_path, f"{text}classes=2\nbackup=\n")
    assert data.options == {"classes": "80", "top": "5", "valid": "a b.txt"}
    assert (data.classes, data.top, data.names) == (80, 5, None)


def test_what_a_data_file_does_not_say(tmp_path: Path) -> None:
    data = data_of(tmp_path, "")
    assert (data.classes, data.top, data.names) == (None, None, None)


def test_a_line_without_equals_sign_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(dn.DarknetWarning, match=r"x\.data:2: line ignored: expected key=value"):
        assert data_of(tmp_path, "top=1\nclasses 80\n").options == {"top": "1"}


@pytest.mark.parametrize("word", ["many", "0", "-1", "1.5", "9" * 5000, "\u0661"])
def test_a_number_that_is_none(tmp_path: Path, word: str) -> None:
    path = tmp_path / "x.data"
    path.write_text(f"classes={word}\n", encoding="utf-8")
    data = dn.load_data(path)
    with pytest.raises(
        dn.DarknetError, match=r"x\.data: classes: is not a number \(expected 1 or m"
    ):
        _ = data.classes


@pytest.mark.parametrize(
    ("key", "place"),
    [("names", "work"), ("names", "cfg"), ("names", "."), ("labels", "cfg")],
    ids=["working directory", "beside", "above", "labels"],
)
def test_the_names_are_found_where_users_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, place: str
) -> None:
    for folder in ("work", "cfg", f"{place}/data"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / place / "data" / "x.names").write_text("dog\n")
    (tmp_path / "cfg" / "x.data").write_text(f"{key} = data/x.names\n")
    monkeypatch.chdir(tmp_path / "work")
    found = dn.load_data("../cfg/x.data").names
    assert found is not None
    assert dn.load_names(found) == ("dog",)


def test_the_working_directory_counts_first_as_in_darknet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "x.data").write_text("labels=l\nnames=n\n")
    for name in ("n", "l", "cfg/n"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    assert dn.load_data("cfg/x.data").names == "n"


def test_names_that_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "x.data").write_text("names=data/x.names\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dn.DarknetError) as caught:
        _ = dn.load_data("cfg/x.data").names
    assert str(caught.value) == (
        "cfg/x.data: names: the file does not exist (expected data/x.names or cfg/data/x.names)"
    )


def test_names_must_do_for_the_classes() -> None:
    require_names(["dog", "cat"], 2)
    with pytest.raises(dn.DarknetError) as caught:
        require_names(["dog"], 2)
    assert str(caught.value) == "there are fewer names than classes (expected 2, found 1)"
    with pytest.warns(dn.DarknetWarning, match=r"^3 names for 2 classes; "):
        require_names(["dog", "cat", "cow"], 2)
