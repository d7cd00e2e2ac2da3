"""Writing: the old content or the new, in all files or in none, and nothing left behind."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from builders import cfg_text, random_model, weights_bytes

import darknet_bn as dn
from darknet_bn.files import Writer, write_files


def writer(data: bytes) -> Writer:
    return lambda stream: stream.write(data)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def full_disk(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


class TestWriting:
    def test_several_files_appear(self, tmp_path: Path) -> None:
        write_files({tmp_path / "a": writer(b"1"), tmp_path / "b": writer(b"2")}, force=True)
        assert content(tmp_path) == {"a": b"1", "b": b"2"}

    def test_what_was_there_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"old and longer")
        write_files({tmp_path / "a": writer(b"1"), tmp_path / "b": writer(b"2")}, force=True)
        assert content(tmp_path) == {"a": b"1", "b": b"2"}

    def test_a_check_that_fails_keeps_everything_as_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"old")

        def refuse() -> None:
            raise dn.FoldError("no")

        with pytest.raises(dn.FoldError):
            write_files(
                {tmp_path / "a": writer(b"1"), tmp_path / "b": writer(b"2")}, refuse, force=True
            )
        assert content(tmp_path) == {"a": b"old"}
        write_files({tmp_path / "a": writer(b"1")}, lambda: None, force=True)
        assert content(tmp_path) == {"a": b"1"}

    def test_a_link_goes_on_to_lead_to_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"old")
        (tmp_path / "link").symlink_to("file")
        write_files({tmp_path / "link": writer(b"1")}, force=True)
        assert (tmp_path / "link").is_symlink()
        assert content(tmp_path) == {"file": b"1", "link": b"1"}

    @pytest.mark.skipif(os.name != "posix", reason="permission bits of POSIX")
    def test_permissions_are_kept_and_new_ones_are_the_usual(self, tmp_path: Path) -> None:
        old, new = tmp_path / "old", tmp_path / "new"
        old.write_bytes(b"0")
        old.chmod(0o640)
        mask = os.umask(0o022)
        try:
            write_files({old: writer(b"1"), new: writer(b"2")}, force=True)
            assert os.umask(0o022) == 0o022
        finally:
            os.umask(mask)
        assert stat.S_IMODE(old.stat().st_mode) == 0o640
        assert stat.S_IMODE(new.stat().st_mode) == 0o644  # 0o666 without the mask

    def test_other_names_of_the_old_file_keep_the_old_content(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"old")
        os.link(tmp_path / "a", tmp_path / "other")
        write_files({tmp_path / "a": writer(b"1"), tmp_path / "b": writer(b"2")}, force=True)
        assert content(tmp_path) == {"a": b"1", "b": b"2", "other": b"old"}


class TestFailures:
    """After a failure at any point both targets are as they were."""

    def check(
        self,
        folder: Path,
        before: dict[str, bytes],
        writers: dict[str, Writer],
        error: type[BaseException] = dn.DarknetError,
        match: str | None = None,
    ) -> None:
        for name, data in before.items():
            (folder / name).write_bytes(data)
        with pytest.raises(error, match=match):
            write_files({folder / name: write for name, write in writers.items()}, force=True)
        assert content(folder) == before

    BEFORE = ({}, {"a": b"old a"}, {"b": b"old b"}, {"a": b"old a", "b": b"old b"})

    @pytest.mark.parametrize("before", BEFORE, ids=lambda each: "+".join(each) or "nothing")
    @pytest.mark.parametrize("failing", ["a", "b"])
    def test_a_writer_that_fails(
        self, tmp_path: Path, before: dict[str, bytes], failing: str
    ) -> None:
        def broken(stream: BinaryIO) -> None:
            stream.write(b"half of it")
            raise dn.ShapeError("no")

        writers = {"a": writer(b"1"), "b": writer(b"2"), failing: broken}
        self.check(tmp_path, before, dict(sorted(writers.items())), dn.ShapeError)

    @pytest.mark.parametrize("before", BEFORE, ids=lambda each: "+".join(each) or "nothing")
    @pytest.mark.parametrize(
        ("call", "ordinal"),
        [
            ("os.fsync", 1),
            ("os.fsync", 2),
            ("tempfile.mkstemp", 1),
            ("tempfile.mkstemp", 2),
            ("pathlib.Path.replace", 1),
            ("pathlib.Path.replace", 2),
        ],
    )
    def test_a_disk_that_fills_up(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        before: dict[str, bytes],
        call: str,
        ordinal: int,
    ) -> None:
        fail_at(monkeypatch, call, ordinal)
        name = "ab"[ordinal - 1]
        self.check(
            tmp_path,
            before,
            {"a": writer(b"1"), "b": writer(b"2")},
            match=f"{tmp_path / name}: cannot be written: No space left on device",
        )

    @pytest.mark.parametrize("size", [0, 1, 1 << 20])
    def test_a_disk_that_fills_up_in_writing(self, tmp_path: Path, size: int) -> None:
        def fills(stream: BinaryIO) -> None:
            stream.write(bytes(size))
            full_disk()

        before = {"a": b"old a", "b": b"old b"}
        self.check(tmp_path, before, {"a": writer(b"1"), "b": fills}, match="No space left")

    @pytest.mark.parametrize("before", BEFORE, ids=lambda each: "+".join(each) or "nothing")
    def test_an_interruption_between_the_renames(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes]
    ) -> None:
        fail_at(monkeypatch, "pathlib.Path.replace", 2, KeyboardInterrupt())
        self.check(
            tmp_path, before, {"a": writer(b"1"), "b": writer(b"2")}, error=KeyboardInterrupt
        )

    def test_a_target_that_is_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        (tmp_path / "a").write_bytes(b"old")
        for name in ("a", "b"):
            other = "b" if name == "a" else "a"
            with pytest.raises(dn.DarknetError, match=f"{tmp_path / 'b'}: this is a folder"):
                write_files(
                    {tmp_path / name: writer(b"1"), tmp_path / other: writer(b"2")}, force=True
                )
            assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
            assert (tmp_path / "a").read_bytes() == b"old"

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
        target = tmp_path / "missing" / "a"
        with pytest.raises(dn.DarknetError, match=f"{target.parent}: there is no such folder"):
            write_files({tmp_path / "b": writer(b"1"), target: writer(b"2")}, force=True)
        assert content(tmp_path) == {}

    def test_a_file_system_without_second_names(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr("os.link", refuse)
        for name in "ab":
            (tmp_path / name).write_bytes(b"old")
        write_files({tmp_path / "a": writer(b"1"), tmp_path / "b": writer(b"2")}, force=True)
        assert content(tmp_path) == {"a": b"1", "b": b"2"}
        before = content(tmp_path)
        fail_at(monkeypatch, "pathlib.Path.replace", 2)
        self.check(tmp_path, before, {"a": writer(b"3"), "b": writer(b"4")})
        monkeypatch.undo()
        monkeypatch.setattr("os.link", refuse)
        monkeypatch.setattr("shutil.copy2", full_disk)
        self.check(tmp_path, before, {"a": writer(b"3"), "b": writer(b"4")}, match="No space")


def fail_at(
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    ordinal: int,
    error: BaseException | None = None,
) -> None:
    """Let the ``ordinal``-th call of a function fail, as on a full disk; the others work."""
    module, _, name = call.rpartition(".")
    owner: Any = Path if module == "pathlib.Path" else __import__(module)
    real: Callable[..., Any] = getattr(owner, name)
    count = 0

    def sometimes(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == ordinal:
            raise error or OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(owner, name, sometimes)


class TestSavingModels:
    CFG = cfg_text("[convolutional] filters=2 size=3 batch_normalize=1")

    def test_over_the_files_it_was_read_from(self, tmp_path: Path) -> None:
        cfg, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
        cfg.write_bytes(self.CFG)
        weights.write_bytes(weights_bytes(self.CFG))
        model = dn.load(cfg, weights)
        folded = dn.fold_batchnorm(model)
        dn.save(folded, cfg, weights, force=True)
        assert weights.stat().st_size == 20 + 4 * (2 + 2 * 27)
        # The map still shows the old content, so the old model can be written once more.
        dn.save(model, cfg, weights, force=True)
        assert content(tmp_path) == {
            "net.cfg": self.CFG,
            "net.weights": weights_bytes(self.CFG),
        }

    def test_the_two_files_must_be_two(self, tmp_path: Path) -> None:
        model = random_model(self.CFG)
        (tmp_path / "sub").mkdir()
        (tmp_path / "net.cfg").write_bytes(b"old")
        (tmp_path / "link.weights").symlink_to(tmp_path / "net.cfg")
        for other in ("link.weights", "sub/../link.weights"):
            with pytest.raises(dn.DarknetError, match="cannot be written under one name"):
                dn.save(model, tmp_path / "net.cfg", tmp_path / other, force=True)
        assert (tmp_path / "net.cfg").read_bytes() == b"old"

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        model = random_model(self.CFG)
        target = tmp_path / "missing" / "net.weights"
        with pytest.raises(dn.DarknetError, match=f"{target.parent}: there is no such folder"):
            dn.save(model, tmp_path / "net.cfg", target, force=True)
        assert content(tmp_path) == {}
