"""Writing: the old content or the new, in all files or in none, and nothing left over."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import darknet_bn as dn
from darknet_bn.formats.writing import Writer, write_files
from tests.support.builders import cfg_text, random_model, weights_bytes
from tests.support.written import content, writer


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

    def test_so_does_a_writer_that_fails_beside_a_check(self, tmp_path: Path) -> None:
        def broken(stream: BinaryIO) -> None:
            raise dn.ShapeError("no")

        with pytest.raises(dn.ShapeError, match=r"^no$"):
            write_files({tmp_path / "a": writer(b"1"), tmp_path / "b": broken}, int, force=True)
        assert content(tmp_path) == {}

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
        old.chmod(0o641)
        mask = os.umask(0o022)
        try:
            write_files({old: writer(b"1"), new: writer(b"2")}, force=True)
            assert os.umask(0o022) == 0o022
        finally:
            os.umask(mask)
        assert stat.S_IMODE(old.stat().st_mode) == 0o641
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
        arm: Callable[[], None] = lambda: None,
    ) -> None:
        for name, data in before.items():
            (folder / name).write_bytes(data)
        arm()
        with pytest.raises(error, match=match) as caught:
            write_files({folder / name: write for name, write in writers.items()}, force=True)
        assert content(folder) == before
        assert not getattr(caught.value, "hint", None)  # as nothing is left to put back

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
            ("pathlib.Path.open", 1),
            ("pathlib.Path.open", 2),
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
        name = "ab"[ordinal - 1]
        self.check(
            tmp_path,
            before,
            {"a": writer(b"1"), "b": writer(b"2")},
            match=re.escape(f"{tmp_path / name}: cannot be written: No space left on device"),
            arm=lambda: fail_at(monkeypatch, call, ordinal, once=True),
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
            with pytest.raises(
                dn.DarknetError, match=re.escape(f"{tmp_path / 'b'}: this is a folder")
            ):
                write_files(
                    {tmp_path / name: writer(b"1"), tmp_path / other: writer(b"2")}, force=True
                )
            assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
            assert (tmp_path / "a").read_bytes() == b"old"

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
        target = tmp_path / "missing" / "a"
        with pytest.raises(
            dn.DarknetError, match=re.escape(f"{target.parent}: the folder does not exist")
        ):
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

        def half(_: Path, target: Path) -> None:
            target.write_bytes(b"half")
            full_disk()

        monkeypatch.setattr("shutil.copy2", half)
        self.check(tmp_path, before, {"a": writer(b"3"), "b": writer(b"4")}, match="No space")


class TestTargets:
    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")
    def test_what_is_no_regular_file_stays(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a")
        (tmp_path / "link").symlink_to("a")
        for name in ("a", "link", "/dev/null"):
            with pytest.raises(dn.DarknetError, match="not a regular file, and is never replaced"):
                write_files({tmp_path / name: writer(b"1")}, force=True)
        assert stat.S_ISFIFO((tmp_path / "a").stat().st_mode)

    def test_a_file_that_appears_meanwhile_is_not_replaced(self, tmp_path: Path) -> None:
        def slow(stream: BinaryIO) -> None:
            stream.write(b"1")
            (tmp_path / "a").write_bytes(b"another program's")

        with pytest.raises(dn.DarknetError, match="a: the file already exists"):
            write_files({tmp_path / "a": slow}, force=False)
        assert content(tmp_path) == {"a": b"another program's"}

    def test_nor_do_the_others_appear_then(self, tmp_path: Path) -> None:
        def slow(stream: BinaryIO) -> None:
            (tmp_path / "b").write_bytes(b"another program's")

        with pytest.raises(dn.DarknetError, match="b: the file already exists") as caught:
            write_files({tmp_path / "a": writer(b"1"), tmp_path / "b": slow}, force=False)
        assert content(tmp_path) == {"b": b"another program's"}
        assert caught.value.hint is None

    def test_nor_on_a_file_system_without_second_names(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr("os.link")
        write_files({tmp_path / "b": writer(b"1")}, force=False)
        (tmp_path / "sub").mkdir()
        self.test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path / "sub")

    def test_a_name_as_long_as_the_system_allows(self, tmp_path: Path) -> None:
        name = "\N{GREEK SMALL LETTER MU}" * 125 + ".cfg"  # 254 bytes
        write_files({tmp_path / name: writer(b"1"), tmp_path / "b": writer(b"2")}, force=False)
        write_files({tmp_path / name: writer(b"3"), tmp_path / "b": writer(b"4")}, force=True)
        assert content(tmp_path) == {name: b"3", "b": b"4"}

    def test_the_old_file_is_named_if_it_cannot_be_put_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in "ab":
            (tmp_path / name).write_bytes(f"old {name}".encode())
        replace, count = os.replace, 0

        def fails(*args: Any) -> None:
            nonlocal count
            count += 1
            if count > 1:
                raise OSError(errno.EIO, "Input/output error")
            replace(*args)

        monkeypatch.setattr("os.replace", fails)
        with pytest.raises(dn.DarknetError, match="b: cannot be written: Input/output") as caught:
            write_files({tmp_path / "a": writer(b"1"), tmp_path / "b": writer(b"2")}, force=True)
        kept = {name: data for name, data in content(tmp_path).items() if ".old." in name}
        assert sorted(kept.values()) == [b"old a", b"old b"]
        for name, data in kept.items():
            assert f"{tmp_path / name} holds the {data.decode()}" in str(caught.value)

    def test_so_it_is_after_an_interruption(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").write_bytes(b"old a")
        calls = 0

        def fails(*_: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise KeyboardInterrupt
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr("os.replace", fails)
        with pytest.raises(
            dn.DarknetError, match="the old files could not all be restored: "
        ) as caught:
            write_files({tmp_path / "a": writer(b"1"), tmp_path / "b": writer(b"2")}, force=True)
        (kept,) = tmp_path.glob(".a.old.*")
        assert kept.read_bytes() == b"old a"
        assert (
            str(caught.value) == f"the old files could not all be restored: {kept} holds the old a"
        )
        assert isinstance(caught.value.__cause__, KeyboardInterrupt)


def fail_at(
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    ordinal: int,
    error: BaseException | None = None,
    once: bool = False,
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
            if once:
                monkeypatch.undo()
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
            with pytest.raises(dn.DarknetError, match="cannot have the same name"):
                dn.save(model, tmp_path / "net.cfg", tmp_path / other, force=True)
        assert (tmp_path / "net.cfg").read_bytes() == b"old"

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        model = random_model(self.CFG)
        target = tmp_path / "missing" / "net.weights"
        with pytest.raises(
            dn.DarknetError, match=re.escape(f"{target.parent}: the folder does not exist")
        ):
            dn.save(model, tmp_path / "net.cfg", target, force=True)
        assert content(tmp_path) == {}
