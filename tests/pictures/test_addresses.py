"""Files at addresses, read and listed by fsspec: in memory and in archives, without a network."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from darknet_bn.pictures.addresses import (
    AddressFolder,
    NotThere,
    beside,
    is_address,
    list_address,
    open_address,
    read_address,
)

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


def test_a_name_with_brackets_is_no_pattern_if_it_is_there(memory: str) -> None:
    system = fsspec.filesystem("memory")
    system.pipe_file("/photos/[b].png", b"fifth")
    assert list_address(f"{memory}/[b].png") == [f"{memory}/[b].png"]
    assert list_address(f"{memory}/[b].txt") == ["memory:///photos/b.txt"]


def test_parts_are_read_in_any_order(memory: str) -> None:
    with open_address(f"{memory}/in/deep/d.png") as stream:
        stream.seek(3)
        assert stream.read() == b"rth"
        stream.seek(0)
        assert stream.read(3) == b"fou"


def test_what_a_list_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.png").write_bytes(b"")
    for address, name, expected in (
        ("s3://bucket/lists/a.txt", "b.png", "s3://bucket/lists/b.png"),
        ("s3://bucket/lists/a.txt", "../photos/b.png", "s3://bucket/photos/b.png"),
        ("s3://bucket/a.txt", "gs://other/b.png", "gs://other/b.png"),
        ("s3://bucket/a.txt", "here.png", "here.png"),
        ("s3://bucket/a.txt", "/no/b.png", "/no/b.png"),
        ("zip://in/a.txt::s3://bucket/a.zip", "b.png", "zip://in/b.png::s3://bucket/a.zip"),
    ):
        assert beside(address, name) == expected


def test_a_folder_that_files_are_added_to(memory: str) -> None:
    folder = AddressFolder(f"{memory}/new/")
    assert folder.names() == []
    folder.create("b", lambda stream: stream.write(b"one"))
    folder.create("a", lambda stream: stream.write(b"two"))
    assert folder.names() == ["a", "b"]
    assert read_address(folder.address("b"), 5) == b"one"
    with pytest.raises(dn.DarknetError) as caught:
        folder.create("a", lambda stream: stream.write(b"three"))
    assert str(caught.value) == f"{memory}/new/a: the file already exists"
    assert read_address(folder.address("a"), 5) == b"two"


def test_what_a_writer_leaves_unfinished_is_not_there(memory: str) -> None:
    folder = AddressFolder(memory)

    def fail(stream: Any) -> None:
        stream.write(b"half")
        raise dn.DarknetError("no more")

    with pytest.raises(dn.DarknetError, match="no more"):
        folder.create("new", fail)
    assert folder.names() == ["a.png", "b.txt"]


def test_a_store_that_does_not_take_a_file(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = AddressFolder(memory)
    for problem, message in (
        (PermissionError("Access Denied"), "cannot be written: Access Denied"),
        (FileNotFoundError("The specified bucket does not exist"), "there is no such place"),
    ):

        def fail(*_: Any, problem: Exception = problem, **__: Any) -> None:
            raise problem

        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "pipe_file", fail)
        with pytest.raises(dn.DarknetError) as caught:
            folder.create("new", lambda stream: stream.write(b"one"))
        assert str(caught.value) == f"{memory}/new: {message}"


@pytest.mark.parametrize("name", ["zip://::a.zip", "https://host/a", "file:///a", "memory://a::b"])
def test_places_where_no_files_are_added(name: str) -> None:
    with pytest.raises(dn.DarknetError, match="nothing can be written there"):
        AddressFolder(name)
