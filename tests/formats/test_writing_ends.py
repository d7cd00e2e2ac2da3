"""Writing that does not get to its end: the program is killed, or told twice to stop."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from darknet_bn.formats.writing import write_files
from tests.support.crashes import dies
from tests.support.written import content, writer


class TestDeath:
    """A program that is killed, before any of its calls, leaves no set of old and new."""

    OLD, NEW = (
        {"net.weights": b"old w", "net.cfg": b"old c"},
        {"net.weights": b"w", "net.cfg": b"c"},
    )

    @pytest.mark.parametrize("before", [{}, {"net.weights": b"old w"}, OLD])
    def test_a_pair_is_whole_or_has_no_cfg(self, tmp_path: Path, before: dict[str, bytes]) -> None:
        found = []
        for last in range(1, 100):
            folder = tmp_path / str(last)
            folder.mkdir()
            for name, data in before.items():
                (folder / name).write_bytes(data)

            def save(folder: Path = folder) -> None:
                write_files(
                    {folder / name: writer(self.NEW[name]) for name in self.NEW}, force=True
                )

            if not dies(save, last):
                break
            left = {name: data for name, data in content(folder).items() if name[0] != "."}
            found.append(left)
            assert "net.cfg" not in left or left in (before, self.NEW)
            if "net.cfg" in before and "net.cfg" not in left:  # the text is not lost
                (kept,) = folder.glob(".net.cfg.old.*")
                assert kept.read_bytes() == b"old c"
        assert before in found
        assert self.NEW in found
        assert content(folder) == self.NEW

    def test_a_file_alone_is_never_away(self, tmp_path: Path) -> None:
        """Nobody would read it with others: there is no reason to take it away first."""
        target = tmp_path / "a"
        for last in range(1, 100):
            target.write_bytes(b"old")
            if not dies(lambda: write_files({target: writer(b"1")}, force=True), last):
                break
            assert target.read_bytes() in (b"old", b"1")
            assert not list(tmp_path.glob(".a.old.*"))
        assert last > 3
        assert target.read_bytes() == b"1"

    def test_what_is_left_is_known_by_its_name(self, tmp_path: Path) -> None:
        names: list[str] = []

        def note(stream: BinaryIO) -> None:
            names.append(os.path.basename(stream.name))

        target = tmp_path / f"{'0123456789' * 5}.cfg"
        write_files({target: note}, force=False)
        write_files({target: note}, force=True)
        for name in names:  # of a long name the first forty letters
            assert re.fullmatch(rf"\.{'0123456789' * 4}\.new\.[0-9a-f]{{8}}", name)
        assert len(set(names)) == 2

    def test_contents_reach_the_disk_before_names_do(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        real_fsync: Callable[[int], None],
    ) -> None:
        """As a power cut would have it: what a name leads to is there before the name is."""
        monkeypatch.setattr(os, "fsync", real_fsync)
        calls: list[str] = []
        opened: dict[int, str] = {}

        def note(call: str, name: Callable[..., str]) -> None:
            real = getattr(os, call)

            def noting(*args: Any, **options: Any) -> Any:
                result = real(*args, **options)
                if call == "open":
                    opened[result] = os.path.basename(args[0])
                else:
                    calls.append(f"{call} {name(*args)}")
                return result

            monkeypatch.setattr(os, call, noting)

        def kind(name: object) -> str:
            base = os.path.basename(os.fspath(name))  # type: ignore[call-overload]
            return re.sub(r"^\.(.*?)\.(new|old)\..*", r"\2 \1", base)

        def flushed(handle: int) -> str:
            name = os.readlink(f"/proc/self/fd/{handle}")
            assert os.path.isdir(name) or os.stat(name).st_size  # nothing is left in a buffer
            return "folder" if os.path.isdir(name) else kind(name)

        note("fsync", flushed)
        note("replace", lambda a, b: f"{kind(a)} to {kind(b)}")
        note("unlink", lambda a, **_: kind(a))
        note("link", lambda a, b, **_: f"{kind(a)} as {kind(b)}")
        for name, data in self.OLD.items():
            (tmp_path / name).write_bytes(data)
        write_files({tmp_path / name: writer(self.NEW[name]) for name in self.NEW}, force=True)
        assert calls == [
            "fsync new net.weights",
            "fsync new net.cfg",
            "link net.weights as old net.weights",
            "link net.cfg as old net.cfg",
            "unlink net.cfg",
            "fsync folder",
            "replace new net.weights to net.weights",
            "fsync folder",
            "replace new net.cfg to net.cfg",
            "fsync folder",
            "unlink old net.weights",
            "unlink old net.cfg",
        ]


@pytest.mark.parametrize("opened", [False, True])
def test_a_work_that_is_given_up_twice_leaves_nothing(tmp_path: Path, opened: bool) -> None:
    """The second Ctrl-C comes while the first waits for the thread that writes."""
    begun, go_on, written = threading.Event(), threading.Event(), []

    def wait() -> None:
        begun.set()
        go_on.wait(60)

    def slow(stream: BinaryIO) -> None:
        if opened:
            wait()
        written.append(stream.write(b"1"))

    def interrupted() -> None:
        begun.wait(60)
        raise KeyboardInterrupt

    shut_down, open_path = ThreadPoolExecutor.shutdown, Path.open

    def impatient(self: ThreadPoolExecutor, wait: bool = True) -> None:
        shut_down(self, wait=False)
        raise KeyboardInterrupt

    def open_late(path: Path, *args: Any) -> Any:
        wait()
        return open_path(path, *args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ThreadPoolExecutor, "shutdown", impatient)
        if not opened:
            patch.setattr(Path, "open", open_late)
        write_files({tmp_path / "a": slow, tmp_path / "b": slow}, interrupted, force=False)
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("writing"):
            thread.join(60)
    assert content(tmp_path) == {}
    assert written == [1]  # the other file is not begun any more


@pytest.mark.parametrize("removed", [0, 1])
def test_a_signal_after_the_last_rename_leaves_no_second_name(
    tmp_path: Path, removed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [tmp_path / "a", tmp_path / "b"]
    for name in names:
        name.write_bytes(b"old")
    unlink, hits = Path.unlink, []

    def hit(path: Path, missing_ok: bool = False) -> None:
        if ".old." in path.name:
            hits.append(path)
            if len(hits) == removed + 1:
                raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", hit)
    with pytest.raises(KeyboardInterrupt):
        write_files(dict.fromkeys(names, writer(b"new")), force=True)
    assert content(tmp_path) == {"a": b"new", "b": b"new"}
