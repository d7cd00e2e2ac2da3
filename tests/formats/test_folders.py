"""A folder appears whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.formats.folders import Linked, Original, write_folder


def names(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*"))


@pytest.mark.parametrize("there", [False, True])
def test_files_copies_and_links(tmp_path: Path, there: bool) -> None:
    (tmp_path / "x").write_bytes(b"original")
    out = tmp_path / "out"
    if there:
        out.mkdir()
    files: dict[str, bytes | Original] = {
        "a/b.txt": b"text",
        "c": Original(tmp_path / "x"),
        "a/d": Linked(tmp_path / "x"),
    }
    write_folder(out, files)
    assert names(out) == ["a", "a/b.txt", "a/d", "c"]
    assert (out / "a/b.txt").read_bytes() == b"text"
    assert (out / "c").read_bytes() == b"original"
    assert not (out / "c").samefile(tmp_path / "x")
    assert (out / "a/d").samefile(tmp_path / "x")
    assert names(tmp_path) == sorted(["x", "out", *(f"out/{each}" for each in names(out))])


def test_a_file_without_links_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "x").write_bytes(b"original")
    write_folder(tmp_path / "out", {"x": Linked(tmp_path / "x")})
    assert (tmp_path / "out/x").read_bytes() == b"original"


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "out").mkdir()
    before = names(tmp_path)
    files: dict[str, bytes | Original] = {"a/b": b"text", "c": Original(tmp_path / "nowhere")}
    with pytest.raises(dn.DarknetError, match=r"nowhere: cannot be read: No such file"):
        write_folder(tmp_path / "out", files)
    assert names(tmp_path) == before


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_bytes(b"")
    before = names(tmp_path)
    for name, problem in (
        ("full", "the folder is not empty; choose the name of a new folder"),
        ("full/x", "this is not a folder"),
        ("no/where", "the folder does not exist"),
    ):
        with pytest.raises(dn.DarknetError, match=problem):
            write_folder(tmp_path / name, {"y": b""})
    assert names(tmp_path) == before
