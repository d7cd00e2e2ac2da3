"""Small files that another file names: where they are looked for, and what is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.formats.writing import read_beside, rename_file
from tests.support.builders import cfg_text


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
        f"the file does not exist (expected {tmp_path / 'a.tree'} or a.tree)"
    )
    with pytest.raises(dn.CfgError, match=r"^the file does not exist \(expected a.tree\)"):
        read_beside("a.tree", None)


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000], ids=["zero byte", "too long"])
def test_a_name_that_no_file_has(name: str) -> None:
    with pytest.raises(dn.CfgError, match="the file does not exist"):
        read_beside(name, None)


def test_a_file_that_cannot_be_read_is_an_error_of_the_cfg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the line that names the file, in a cfg, and the file."""
    (tmp_path / "a.tree").write_bytes(b"animal -1\n")
    (tmp_path / "net.cfg").write_bytes(cfg_text("[connected] output=1", "[softmax] tree=a.tree"))
    real = os.open

    def refuse(path: str, *args: Any, **options: Any) -> int:
        if os.path.basename(path) == "a.tree":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(dn.CfgError) as caught:
        dn.load(tmp_path / "net.cfg", None)
    assert str(caught.value) == (
        f"{tmp_path / 'net.cfg'}:10: [softmax] layer 1: tree: 'a.tree': "
        f"cannot be read: Permission denied (found {tmp_path / 'a.tree'})"
    )


def test_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.tree"
    path.touch()
    os.truncate(path, 4 << 20)
    assert len(read_beside(str(path), None)) == 4 << 20
    os.truncate(path, (4 << 20) + 1)
    with pytest.raises(dn.CfgError) as caught:
        read_beside(str(path), None)
    assert str(caught.value) == (f"the file is too large (expected at most 4 MiB, found {path})")


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
    handles = os.listdir("/proc/self/fd")
    rename_file(tmp_path / "a", tmp_path / "b")
    assert flushed == [True]
    assert len(os.listdir("/proc/self/fd")) == len(handles)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("b", b"1")]
    with pytest.raises(dn.DarknetError, match=r"b: cannot be written: No such file"):
        rename_file(tmp_path / "gone", tmp_path / "b")
