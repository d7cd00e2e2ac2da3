"""What is opened: regular files only, and those that change while they are open are noticed."""

from __future__ import annotations

import io
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.data.labels import read_labels
from darknet_bn.formats.npz import read_npy
from darknet_bn.formats.reading import Stored, StoredFile, StoredStream, open_file, read_file
from darknet_bn.predictions.records import ClassScore
from tests.support.builders import cfg_text, random_model, weights_bytes

CFG = cfg_text("[convolutional] filters=6 size=3 pad=1 activation=leaky batch_normalize=1")

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """If a FIFO is opened after all, stop instead of waiting for ever."""

    def stop(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _dataset(path: Path) -> object:
    return dn.load_dataset(path, random_model(CFG), train=False)


def _picture_of_a_list(path: Path) -> object:
    (path.parent / "list.txt").write_text(f"{path.name}\n")
    (path.parent / "set.data").write_text("train=list.txt\nnames=list.txt\n")
    return dn.load_dataset(path.parent / "set.data", random_model(CFG), train=True)


def _list(path: Path) -> object:
    (path.parent / "set.data").write_text(f"valid={path.name}\n")
    return _dataset(path.parent / "set.data")


def _tree(path: Path) -> object:
    cfg = path.parent / "tree.cfg"
    cfg.write_bytes(cfg_text(f"[softmax] tree={path.name}"))
    return dn.load(cfg, None)


READERS: dict[str, Callable[[Path], object]] = {
    "f.cfg": lambda path: dn.load(path, None),
    "f.weights": lambda path: dn.load(CFG, path),
    "f.safetensors": dn.load_arrays,
    "f.npz": dn.load_arrays,
    "f.pt": dn.load_arrays,
    "f.pth": dn.load_arrays,
    "f.onnx": dn.load_arrays,
    "compared.onnx": lambda path: dn.OnnxFile(path, random_model(CFG)),
    "compared.param": lambda path: dn.NcnnFile(path, random_model(CFG)),
    "compared.tflite": lambda path: dn.LiteRtFile(path, random_model(CFG)),
    "fixture.npz": dn.load_fixture,
    "set.npz": _dataset,
    "x.npy": read_npy,
    "f.names": dn.load_names,
    "f.data": dn.load_data,
    "f.tree": _tree,
    "list.of": _list,
    "f.txt": lambda path: read_labels(path, 1),
    "f.jpg": dn.load_image,
    "in-a-list.jpg": _picture_of_a_list,
    "f.ttf": lambda path: dn.draw_detections(
        np.zeros((3, 9, 9), np.float32),
        [dn.Detection((ClassScore(0, "x", 1.0),), 1.0, (0.5, 0.5, 1.0, 1.0), (9, 9))],
        font=path,
    ),
}

PROGRAMS = {".param": "ncnn", ".tflite": "ai_edge_litert"}  # that read a kind of file themselves


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "folder"])
def test_only_regular_files_are_read(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    path = Path(name)
    if path.suffix in PROGRAMS:
        package = PROGRAMS[path.suffix]
        pytest.importorskip(package, reason=f"{package} is not installed")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(dn.DarknetError) as caught:
        READERS[name](path.absolute())
    message = str(caught.value)
    assert message.isprintable()
    named = f"this is a {kind}, not a file" in message or " does not exist" in message
    assert named or "the folder has no pictures with labels (expected .data, " in message, message


def test_what_becomes_a_fifo_after_it_was_looked_at_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.touch()
    found = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr("darknet_bn.formats.reading.os.stat", lambda name: found)
    with pytest.raises(dn.DarknetError, match="this is a FIFO, not a file"):
        open_file(path)


def _pipe(content: bytes) -> str:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return f"/dev/fd/{reading}"


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="the system has no /dev/fd")
class TestPipes:
    """Those that the process has open already."""

    def test_texts_come_out_of_them(self) -> None:
        assert len(dn.load(_pipe(CFG), None).network.nodes) == 1
        assert dn.load_names(_pipe(b"a\nb\n")) == ("a", "b")
        assert dn.load_data(_pipe(b"classes=2\n")).classes == 2

    def test_files_of_which_parts_are_read_do_not(self) -> None:
        with pytest.raises(dn.WeightsError, match="this is a FIFO, not a file"):
            dn.load(CFG, _pipe(weights_bytes(CFG)))

    def test_a_folder_is_none(self, tmp_path: Path) -> None:
        handle = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(dn.CfgError, match=r"folder|Is a directory"):
                dn.load(f"/dev/fd/{handle}", None)
        finally:
            os.close(handle)


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(3_000_000))
    assert len(read_file(path, 2_000_000)) == 2_000_001
    assert len(read_file(path, 3_000_000)) == 3_000_000
    assert len(read_file(path, 0)) == 1


class TestFilesThatChange:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "net.weights"
        path.write_bytes(weights_bytes(CFG))
        return path

    def test_one_that_is_shortened_is_an_error_not_a_crash(self, path: Path) -> None:
        model = dn.load(CFG, path)
        os.truncate(path, 100)
        with pytest.raises(dn.WeightsError) as caught:
            dn.forward(model, np.zeros((1, 3, 8, 8), np.float32))
        assert str(caught.value).startswith(f"{path}: the file was changed by another program")
        assert caught.value.found == "100 bytes"

    def test_one_that_is_written_over_is_an_error_not_half_a_model(self, path: Path) -> None:
        model = dn.load(CFG, path)
        with path.open("r+b") as stream:
            stream.write(b"x" * 50)
        os.utime(path, ns=(1, 1))  # however coarse the clock of the file system is
        with pytest.raises(dn.WeightsError, match="the file was changed by another program"):
            dict(model.params[0])

    def test_one_that_is_replaced_stays_what_it_was(self, path: Path) -> None:
        model = dn.load(CFG, path)
        before = dict(dn.load(CFG, path.read_bytes()).params[0])
        path.with_name("new").write_bytes(bytes(path.stat().st_size))
        path.with_name("new").replace(path)
        for name, array in model.params[0].items():
            np.testing.assert_array_equal(array, before[name])

    def test_what_was_read_before_stays(self, path: Path) -> None:
        model = dn.load(CFG, path)
        weights = model.params[0]["weights"]
        os.truncate(path, 0)
        assert model.params[0]["weights"] is weights
        with pytest.raises(dn.WeightsError):
            model.params[0]["biases"]

    @pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
    def test_files_of_named_arrays(self, suffix: str, tmp_path: Path) -> None:
        from darknet_bn.convert.models import READERS

        path = tmp_path / f"a{suffix}"
        dn.save_arrays(random_model(CFG), path)
        container = READERS[suffix](path)
        os.truncate(path, path.stat().st_size - 40)
        with pytest.raises(dn.WeightsError, match="the file was changed by another program"):
            [entry.read() for entry in container.entries.values()]

    def test_the_file_is_closed_with_the_model(self, path: Path) -> None:
        def opened() -> int:
            handles = os.listdir("/proc/self/fd")
            names = (f"/proc/self/fd/{each}" for each in handles)
            return sum(os.path.realpath(each) == str(path) for each in names)

        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("the system does not tell what is open")
        model = dn.load(CFG, path)
        assert opened() == 1
        del model
        assert opened() == 0


class TestStored:
    @pytest.fixture(params=["memory", "file"])
    def stored(self, request: Any, tmp_path: Path) -> Stored:
        if request.param == "memory":
            return Stored(bytes(range(20)))
        (tmp_path / "f").write_bytes(bytes(range(20)))
        return StoredFile(tmp_path / "f")

    def test_bytes_end_where_the_file_does(self, stored: Stored) -> None:
        assert stored.size == 20
        assert stored.bytes(3, 5) == b"\3\4"
        assert stored.bytes(18, 99) == b"\x12\x13"
        assert stored.bytes(20, 30) == stored.bytes(90, 99) == stored.bytes(5, 5) == b""
        assert stored.bytes(-3, 2) == b"\0\1"
        assert stored.bytes(5, 3) == b""

    def test_arrays_are_read_only(self, stored: Stored) -> None:
        array = stored.array(2, np.dtype("<u2"), 3)
        assert array.tolist() == [0x0302, 0x0504, 0x0706]
        assert not array.flags.writeable
        assert stored.array(20, np.dtype("<u2"), 0).size == 0

    def test_what_the_system_gives_in_parts_is_read_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class InParts(io.FileIO):
            def readinto(self, buffer: Any) -> int:
                return super().readinto(memoryview(buffer)[:7])

        monkeypatch.setattr(io, "FileIO", InParts)
        (tmp_path / "f").write_bytes(bytes(range(20)))
        assert StoredFile(tmp_path / "f").bytes(1, 19) == bytes(range(1, 19))

    def test_as_a_stream(self, stored: Stored) -> None:
        stream = StoredStream(stored, 10)
        assert (stream.readable(), stream.seekable()) == (True, True)
        assert stream.seek(-4, os.SEEK_END) == stream.tell() == 16
        assert stream.read() == b"\x10\x11\x12\x13"
        assert stream.read(5) == b""
        assert stream.seek(1) == 1
        assert stream.read(0) == b""
        assert stream.seek(2) == 2
        assert stream.seek(3, os.SEEK_CUR) == 5
        assert stream.read(10) == bytes(range(5, 15))
        with pytest.raises(OSError, match="before the file"):
            stream.seek(-21, os.SEEK_END)

    def test_a_stream_reads_no_more_at_a_time_than_it_may(self, stored: Stored) -> None:
        stream = StoredStream(stored, 10)
        for size in (11, -1, None):
            stream.seek(0)
            with pytest.raises(ValueError, match="its list of members has more than 0 MiB"):
                stream.read(size)
        stream.limited = False
        assert len(stream.read()) == 20


def test_a_system_without_nonblocking_files_reads_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    monkeypatch.delattr(os, "O_NONBLOCK")
    with open_file(path) as stream:
        assert stream.read() == b"abc"


def test_a_kind_of_file_that_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").touch()
    monkeypatch.setattr(stat, "S_ISREG", lambda mode: False)
    with pytest.raises(dn.DarknetError, match="this is a special file, not a file"):
        open_file(tmp_path / "f")
