"""Names that Windows has no files under: refused there, and there only."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import darknet_bn as dn
from darknet_bn.formats import systems
from darknet_bn.formats.reading import open_file
from darknet_bn.formats.writing import require_writable, write_files
from tests.support.builders import cfg_text, random_model

CFG = cfg_text("[convolutional] batch_normalize=1 filters=2 size=3 pad=1 activation=leaky")


class TestNames:
    DEVICES = ("con.weights", "NUL.weights", "aux.a.weights", "com1.weights", "lpt³.weights")
    FORBIDDEN = ("a:b.weights", "a?.weights", 'a".weights', "a\x1f.weights", "a|b.weights")
    ENDS = ("a./b.weights", "a /b.weights")

    @pytest.mark.parametrize("name", [*DEVICES, *FORBIDDEN, *ENDS, "con/a.weights"])
    def test_names_of_windows_are_refused_there_only(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        path = tmp_path / name
        dn.save(random_model(CFG), None, path)
        dn.load(CFG, path)
        path.unlink()
        monkeypatch.setattr(systems, "WINDOWS", True)
        for work in (lambda: require_writable([path], force=True), lambda: open_file(path)):
            with pytest.raises(dn.DarknetError, match=r"no (name of a )?file of Windows can"):
                work()

    @pytest.mark.parametrize(
        "name",
        [
            *("C:\\a\\..\\b.cfg", "C:b.cfg", "\\\\?\\C:\\b.cfg", "\\\\server\\share\\b.cfg"),
            *("../b.cfg", "./.b.cfg", "console.cfg", "com0.cfg", "com10.cfg", "nul_.cfg"),
            *("b.con", "a b.cfg"),
        ],
    )
    def test_all_others_are_taken(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(systems, "WINDOWS", True)
        assert systems.impossible(name) is None

    @pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
    def test_some_have_no_name_anywhere(self, name: str) -> None:
        with pytest.raises(dn.DarknetError, match="no file can have this name"):
            require_writable([name], force=True)

    def test_a_name_that_is_too_long_is_refused_before_any_work(self, tmp_path: Path) -> None:
        path = tmp_path / ("a" * 252 + ".cfg")
        with pytest.raises(dn.DarknetError) as caught:
            require_writable([path], force=True)
        assert caught.value.problem == "the name is too long for the file system"
        assert (caught.value.found, caught.value.hint) == ("256 bytes", "choose a shorter name")
        with pytest.raises(dn.DarknetError, match="there is no such folder"):
            require_writable([path / "a.cfg"], force=True)
        with pytest.raises(dn.DarknetError, match=r"name too long; choose a shorter name"):
            open_file(path)

    @pytest.mark.parametrize(("length", "told"), [(245, False), (246, True)])
    def test_a_path_that_only_windows_finds_too_long(
        self, length: int, told: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Until it is complete, ``a.cfg`` has a name that is 14 characters longer."""
        folder = tmp_path / "x"
        folder = folder.with_name("x" * (1 + length - len(str(folder / "a.cfg"))))
        folder.mkdir()

        def refuse(*_: object, **__: object) -> None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

        monkeypatch.setattr(systems, "WINDOWS", True)
        monkeypatch.setattr("pathlib.Path.open", refuse)
        with pytest.raises(dn.DarknetError) as caught:
            write_files({folder / "a.cfg": lambda stream: None}, force=True)
        assert (caught.value.hint is not None) == told
        assert not told or "Windows takes paths of 259 characters" in str(caught.value)

    def test_a_file_that_is_marked_as_read_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").write_bytes(b"1")
        monkeypatch.setattr(os, "access", lambda *_: False)
        require_writable([tmp_path / "a"], force=True)  # the folder counts on POSIX
        monkeypatch.setattr(systems, "WINDOWS", True)
        require_writable([tmp_path / "b"], force=True)
        with pytest.raises(dn.DarknetError, match="the file is marked as read-only"):
            require_writable([tmp_path / "a"], force=True)
