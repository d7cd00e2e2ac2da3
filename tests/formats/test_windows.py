"""Windows, simulated: what it lacks is done without, open files and odd names lose nothing."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert import models as convert_models
from darknet_bn.convert.onnx import file as onnx_file
from darknet_bn.formats import systems
from darknet_bn.formats.reading import StoredFile, let_go, open_file
from darknet_bn.formats.writing import require_writable, write_files
from darknet_bn.work import memory, threads
from tests.support import windows
from tests.support.builders import cfg_text, random_model, weights_bytes

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/map_files"), reason="Linux tells which files are open"
)

CFG = cfg_text("[convolutional] batch_normalize=1 filters=2 size=3 pad=1 activation=leaky")
X = np.ones((1, 3, 8, 8), np.float32)


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows.be_windows(monkeypatch)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A model, by the name of its two files without their suffixes."""
    (tmp_path / "net.cfg").write_bytes(CFG)
    (tmp_path / "net.weights").write_bytes(weights_bytes(CFG))
    return tmp_path / "net"


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


class TestSimulation:
    """It finds what it is there to find."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda path: os.replace(path, f"{path}.new"),
            lambda path: os.replace(f"{path}.other", path),
            lambda path: path.unlink(),
        ],
    )
    def test_an_open_file_stays(
        self, change: Callable[[Path], None], tmp_path: Path, simulated: None
    ) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"1")
        (tmp_path / "a.other").write_bytes(b"2")
        with open(path, "rb"), pytest.raises(PermissionError):
            change(path)
        assert path.read_bytes() == b"1"
        change(path)

    def test_so_does_one_that_is_mapped(self, tmp_path: Path, simulated: None) -> None:
        path = tmp_path / "a.npy"
        np.save(path, X)
        mapped = np.load(path, mmap_mode="r")
        with pytest.raises(PermissionError):
            path.unlink()
        del mapped
        path.unlink()


class TestOpenFiles:
    def test_a_model_may_be_saved_in_its_place(self, pair: Path, simulated: None) -> None:
        model = dn.load(str(pair))
        before = dn.forward(dn.load(str(pair)), X)
        dn.save(dn.fold_batchnorm(model), f"{pair}.cfg", f"{pair}.weights", force=True)
        assert names(pair.parent) == ["net.cfg", "net.weights"]
        after = dn.forward(model, X)  # it stays what it was, though its file is another one
        np.testing.assert_array_equal(after[0], before[0])
        assert "rolling_mean" not in dn.load(str(pair)).params[0]

    @pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
    def test_so_may_files_of_arrays(self, suffix: str, pair: Path, simulated: None) -> None:
        path = pair.with_suffix(suffix)
        dn.save_arrays(dn.load(str(pair)), path)
        other = dn.load_arrays(path)
        dn.save_arrays(random_model(CFG, seed=5), path, force=True)
        np.testing.assert_array_equal(
            other.params[0]["weights"], dn.load(str(pair)).params[0]["weights"]
        )
        assert names(pair.parent) == sorted(["net.cfg", "net.weights", path.name])

    def test_a_training_goes_on_over_the_weights_it_was_read_from(
        self, pair: Path, simulated: None
    ) -> None:
        weights = f"{pair}.backup"
        dn.save_checkpoint(dn.train_state(dn.load(str(pair))), weights)
        model = dn.load(f"{pair}.cfg", weights)
        state = dn.load_checkpoint(model, weights)
        assert state is not None
        dn.save_checkpoint(state, weights, force=True)
        assert names(pair.parent) == [
            "net.backup",
            "net.backup.state",
            "net.cfg",
            "net.weights",
        ]

    def test_what_was_looked_at_before_it_had_its_name_is_removed(
        self, tmp_path: Path, simulated: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = []

        def look(path: str) -> StoredFile:
            kept.append(StoredFile(path))
            raise dn.WeightsError("no")

        monkeypatch.setattr(convert_models, "StoredFile", look)
        with pytest.raises(dn.WeightsError, match="no"):
            dn.convert_file(random_model(CFG), tmp_path / "a.weights")
        assert len(kept) == 1
        assert names(tmp_path) == []

    def test_arrays_beside_a_file_are_proven_and_nothing_is_left(
        self, pair: Path, simulated: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ONNX Runtime maps them as long as it runs the file."""
        monkeypatch.setattr(onnx_file, "_LARGEST", onnx_file._ROOM + 100)
        monkeypatch.setattr(onnx_file, "_ALIGNED", 64)
        model = dn.load(str(pair))
        target = pair.with_suffix(".onnx")
        exported = dn.export_onnx(model, target, inputs={"x": X}, layers=True, proof=f"{pair}.json")
        assert exported.beside is not None
        assert exported.proof is not None
        assert exported.proof.ok
        assert Path(f"{pair}.json").read_text(encoding="utf-8").startswith('{\n "schema": 1,\n')
        left = ["net.cfg", "net.json", "net.onnx", exported.beside.name, "net.weights"]
        assert names(pair.parent) == left

    @pytest.mark.parametrize("held", ["net.cfg", "net.weights"])
    def test_what_another_program_has_open_is_not_lost(
        self, held: str, pair: Path, simulated: None
    ) -> None:
        before = {name: (pair.parent / name).read_bytes() for name in names(pair.parent)}
        model = random_model(CFG, seed=5)
        with open(pair.parent / held, "rb"), pytest.raises(dn.DarknetError) as caught:
            dn.save(model, f"{pair}.cfg", f"{pair}.weights", force=True)
        assert str(caught.value) == (
            f"{pair.parent / held}: cannot be written: Access is denied; "
            "if another program has it open, close it there"
        )
        after = {name: (pair.parent / name).read_bytes() for name in names(pair.parent)}
        # A second name of an open file cannot be taken away; it says what it is.
        left = {name for name in after if name.startswith(f".{held}.old.")}
        assert {name: after[name] for name in after.keys() - left} == before
        assert len(left) <= 1

    def test_content_is_kept_for_all_who_read(self, tmp_path: Path) -> None:
        path = tmp_path / "f"
        path.write_bytes(bytes(range(20)))
        one, other = StoredFile(path), StoredFile(path)
        os.link(path, tmp_path / "second")
        let_go(tmp_path / "second")
        path.unlink()
        assert one.bytes(3, 5) == other.bytes(3, 5) == b"\3\4"
        assert one.array(2, np.dtype("<u2"), 3).tolist() == [0x0302, 0x0504, 0x0706]
        assert one.identity() is None
        let_go(path)
        let_go(tmp_path / "second")  # a second time is nothing

    def test_one_that_was_changed_cannot_be_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "f"
        path.write_bytes(bytes(20))
        stored = StoredFile(path)
        os.truncate(path, 10)
        with pytest.raises(dn.WeightsError, match="changed by another program"):
            let_go(path)
        assert stored.identity() is not None

    def test_elsewhere_nothing_is_read_into_memory(
        self, pair: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(StoredFile, "let_go", pytest.fail)
        model = dn.load(str(pair))
        dn.save(model, f"{pair}.cfg", f"{pair}.weights", force=True)


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
            with pytest.raises(dn.DarknetError, match=r"Windows (reserves the name|cannot)"):
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
        with pytest.raises(dn.DarknetError, match="the folder does not exist"):
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
        assert not told or "Windows allows paths of 259 characters" in str(caught.value)

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


class TestAbsent:
    """What is not there is done without."""

    def test_memory_has_no_limit(self, simulated: None) -> None:
        memory.require_memory(1 << 60, "it")

    def test_all_processors_are_taken(
        self, simulated: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DARKNET_BN_THREADS", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 3)
        assert threads._wanted() == 3

    def test_bytes_are_read_as_they_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Unless told not to, Windows would end a text at 0x1a, and convert line ends."""
        (tmp_path / "f").write_bytes(b"a\r\n\x1ab")
        flags: list[int] = []
        real = os.open

        def opened(path: str, flag: int, *rest: int) -> int:
            flags.append(flag)
            return real(path, flag, *rest)

        monkeypatch.setattr(os, "open", opened)
        monkeypatch.delattr(os, "O_NONBLOCK")
        monkeypatch.setattr(os, "O_BINARY", os.O_DSYNC, raising=False)  # harmless, but seen
        with open_file(tmp_path / "f") as stream:
            assert stream.read() == b"a\r\n\x1ab"
        assert flags[0] & os.O_DSYNC

    def test_signals(self, simulated: None) -> None:
        assert not hasattr(signal, "SIGALRM")
        from darknet_bn.cli.signals import raised

        with raised():
            pass
