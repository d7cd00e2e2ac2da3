"""Files at addresses, read and listed by fsspec: in memory and in archives, without a network."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.pictures.addresses import NotThere, is_address, list_address, read_address

fsspec: Any = pytest.importorskip("fsspec", reason="fsspec is not installed")

FILES = {"a.png": b"first", "b.txt": b"second", "in/c.png": b"third", "in/deep/d.png": b"fourth"}


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder in memory."""
    system = fsspec.filesystem("memory")
    for name, content in FILES.items():
        system.pipe_file(f"/photos/{name}", content)
    yield "memory://photos"
    system.rm("/photos", recursive=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in FILES.items():
            file.writestr(name, content)
    return path


def test_what_is_an_address() -> None:
    assert is_address("s3://bucket/a.png")
    assert is_address("zip://a.png::/tmp/photos.zip")
    for name in ("a.png", "/a/b.png", "C:\\a.png", "C:/a.png", "a:b", "photos/*.jpg"):
        assert not is_address(name)


def test_a_folder_in_memory(memory: str) -> None:
    found = list_address(memory)
    assert found == ["memory:///photos/a.png", "memory:///photos/b.txt"]
    assert [read_address(each, 100) for each in found] == [b"first", b"second"]
    assert list_address(memory, recursive=True) == [f"memory:///photos/{name}" for name in FILES]
    assert list_address(f"{memory}/a.png") == [f"{memory}/a.png"]
    assert list_address(f"{memory}/*") == found
    pictures = [f"memory:///photos/{name}" for name in FILES if name.endswith(".png")]
    assert list_address(f"{memory}/**/*.png") == pictures
    assert [read_address(each, 100) for each in list_address(f"{memory}/*/*.png")] == [b"third"]


def test_an_archive(archive: Path) -> None:
    pictures = list_address(f"zip://*.png::{archive}")
    assert pictures == [f"zip://a.png::{archive}"]
    deep = list_address(f"zip://in::{archive}", recursive=True)
    assert [read_address(each, 100) for each in deep] == [b"third", b"fourth"]
    everything = list_address(f"zip://::{archive}", recursive=True)
    assert [read_address(each, 100) for each in everything] == list(FILES.values())


def test_no_more_is_read_than_one_byte_too_many(memory: str) -> None:
    assert read_address(f"{memory}/a.png", 5) == b"first"
    assert read_address(f"{memory}/a.png", 2) == b"fir"


def test_what_is_not_there_is_told_from_a_place_that_does_not_answer(
    memory: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (f"{memory}/none.png", memory, f"zip://none.png::{archive}"):
        with pytest.raises(NotThere) as caught:
            read_address(name, 5)
        assert str(caught.value) == f"{name}: cannot be read: there is no such file"
    with pytest.raises(NotThere, match="there is no such file or folder"):
        list_address(f"{memory}/none")

    def fail(*_: Any, **__: Any) -> None:
        raise TimeoutError("nobody\nanswers")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "_open", fail)
    with pytest.raises(dn.DarknetError) as other:
        read_address(f"{memory}/a.png", 5)
    assert not isinstance(other.value, NotThere)
    assert str(other.value) == f"{memory}/a.png: cannot be read: nobody answers"


def test_an_address_that_nothing_here_can_read() -> None:
    for use in (lambda name: read_address(name, 5), list_address):
        with pytest.raises(dn.DarknetError, match=r"^nosuch://a: cannot be read: .*nosuch"):
            use("nosuch://a")
