"""Small files that another one names: where they are looked for, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.formats import writing as files
from darknet_bn.formats.writing import read_beside, rename_file


def test_beside_the_file_that_names_it_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "a.tree").write_bytes(b"beside")
    (tmp_path / "a.tree").write_bytes(b"here")
    monkeypatch.chdir(tmp_path)
    assert read_beside("a.tree", "cfg/net.cfg") == b"beside"
    assert read_beside("a.tree", "other/net.cfg") == b"here"
    assert read_beside("a.tree", None) == b"here"


def test_a_file_that_is_not_there_is_named_with_all_places(tmp_path: Path) -> None:
    with pytest.raises(dn.CfgError) as caught:
        read_beside("a.tree", str(tmp_path / "net.cfg"))
    assert str(caught.value) == (
        f"it names a file that is not there (expected {tmp_path / 'a.tree'} or a.tree)"
    )
    with pytest.raises(
        dn.CfgError, match=r"^it names a file that is not there \(expected a.tree\)"
    ):
        read_beside("a.tree", None)


def test_a_name_that_no_file_has() -> None:
    with pytest.raises(dn.CfgError):
        read_beside("a\0b", None)


def test_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_BYTES", 2 << 20)
    path = tmp_path / "a.tree"
    path.write_bytes(bytes(2 << 20))
    assert len(read_beside(str(path), None)) == 2 << 20
    path.write_bytes(bytes((2 << 20) + 1))
    with pytest.raises(dn.CfgError) as caught:
        read_beside(str(path), None)
    assert str(caught.value) == (
        f"it names a file that is too large to be meant (expected at most 2 MiB, found {path})"
    )


@pytest.mark.parametrize("length", [200, 201])
def test_a_long_name_is_cut_at_its_beginning(length: int) -> None:
    name = "/".join(["0123456789"] * 20)[: length - 1] + "x"
    name = name.rjust(length, "y")
    with pytest.raises(dn.CfgError) as caught:
        read_beside(name, None)
    shown = name if length == 200 else f"…{name[-199:]}"
    assert f"(expected {shown})" in str(caught.value)


def test_a_new_name_is_flushed_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    flushed = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: flushed.append(os.path.isdir(f"/proc/self/fd/{handle}"))
    )
    rename_file(tmp_path / "a", tmp_path / "b")
    assert flushed == [True]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("b", b"1")]
    with pytest.raises(dn.DarknetError, match=r"b: cannot be written: No such file"):
        rename_file(tmp_path / "gone", tmp_path / "b")
