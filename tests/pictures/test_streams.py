"""Streams that break off: connected to again, after growing pauses, with times as on a clock."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.pictures import places
from darknet_bn.pictures.ahead import ReadAhead
from tests.support.streams import Server
from tests.support.videos import passing, require_av, write_clip

av = require_av()

QUICK = (0.0, 0.0, 0.0)  # seconds between tries


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a camera sends in two seconds: it has no length."""
    path = tmp_path_factory.mktemp("stream") / "clip.ts"
    return write_clip(path, passing(20), form="mpegts", sound="aac").read_bytes()


def lost_after(
    contents: Sequence[bytes], pauses: Sequence[float] = QUICK, sound: bool = False
) -> tuple[list[dn.VideoFrame], list[str], str]:
    """The frames of a stream until it cannot be connected to, what was told, and the error."""
    told: list[str] = []
    frames: list[dn.VideoFrame] = []
    server = Server(contents)
    video = dn.Video(server.address, pauses=pauses, tell=told.append, sound=sound)
    assert video.live
    with pytest.raises(dn.ConnectionLost) as caught:
        for frame in video:
            frames.append(frame)
    shown = server.address.replace("secret", "***")
    assert all(each.startswith(f"{shown}: ") for each in told)
    assert "secret" not in str(caught.value)
    assert server.connections == len(contents)
    return frames, [each.removeprefix(f"{shown}: ") for each in told], str(caught.value)


def test_a_stream_that_ends_is_connected_to_again(stream: bytes) -> None:
    frames, told, error = lost_after([stream, stream])
    assert [each.number for each in frames] == list(range(40))
    seconds = np.diff([each.seconds for each in frames])
    assert seconds == pytest.approx([0.1] * 19 + [seconds[19]] + [0.1] * 19, abs=1e-3)
    # The gap has the length that it had on the clock, but is at least a frame.
    assert 0.099 < seconds[19] < 30
    assert told[:2] == [
        "the connection broke off after frame 19 (it ended); try 1 of 3 in 0 s",
        "connected again, at frame 20",
    ]
    assert [each.rpartition("; ")[2] for each in told[2:]] == [
        f"try {at} of 3 in 0 s" for at in (1, 2, 3)
    ]
    assert "the connection broke off after frame 39, for good" in error
    assert "Connection refused" in error


def test_one_that_breaks_off_in_the_middle_too(stream: bytes) -> None:
    frames, told, _ = lost_after([stream[: len(stream) // 2], stream, stream[: len(stream) // 3]])
    assert 25 < len(frames) < 50
    assert [each.number for each in frames] == list(range(len(frames)))
    assert sum(each.startswith("connected again") for each in told) == 2
    assert np.diff([each.seconds for each in frames]).min() > 0


def test_a_server_without_frames_is_not_connected_to_for_ever(stream: bytes) -> None:
    frames, told, _ = lost_after([stream, b"", b"", b"nothing"])
    assert len(frames) == 20
    assert len(told) == 3  # the tries count on, since no frame came


def test_without_tries_it_ends_at_once(stream: bytes) -> None:
    frames, told, error = lost_after([stream], pauses=())
    assert (len(frames), told) == (20, [])
    assert error.endswith("broke off after frame 19, for good (found it ended)")


def test_sound_goes_with_the_frames_of_its_connection(stream: bytes) -> None:
    frames, _, _ = lost_after([stream, stream], sound=True)
    times = [float(packet.pts * packet.time_base) for frame in frames for packet in frame.sound]
    assert len(times) > 150
    assert np.diff(times).min() > 0
    assert abs(times[-1] - frames[-1].seconds) < 0.2


def test_pauses_are_kept(stream: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("darknet_bn.pictures.video.time.sleep", slept.append)
    lost_after([stream], pauses=(1, 2, 4))
    assert slept == [1, 2, 4]


def test_nobody_there_is_an_error_at_once() -> None:
    server = Server([])
    with pytest.raises(dn.ImageError, match=r"cannot be opened: Connection refused"):
        list(dn.Video(server.address.replace("user:secret@", "")))


@pytest.mark.parametrize("scheme", ["http", "rtsp", "tcp"])
def test_a_server_that_says_nothing(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WAIT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/camera"
        with pytest.raises(dn.ImageError) as caught:
            list(dn.Video(address))
    assert str(caught.value) == f"{address}: cannot be opened: no answer within 0.2 s"


# -- files on a server ---------------------------------------------------------------------------


class Dropping(http.server.SimpleHTTPRequestHandler):
    """Serves files; the first answers break off in the middle."""

    drops = 1

    def copyfile(self, source: object, outputfile: object) -> None:
        data = source.read()  # type: ignore[attr-defined]
        if type(self).drops:
            type(self).drops -= 1
            data = data[: len(data) * 2 // 3]
        outputfile.write(data)  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # FFmpeg asks http_proxy, if the machine has one
    handler = functools.partial(Dropping, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serve = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    serve.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_file_on_a_server_goes_on_where_it_broke_off(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "clip.mkv", passing(20) * 2)
    monkeypatch.setattr(Dropping, "drops", 1)
    told: list[str] = []
    video = dn.Video(f"{served}/clip.mkv", pauses=QUICK, tell=told.append)
    assert not video.live
    frames = list(video)
    assert [each.number for each in frames] == list(range(40))
    assert [each.seconds for each in frames] == pytest.approx(np.arange(40) / 10, abs=1e-3)
    assert ["try 1 of 3" in each for each in told] == [True, False]
    assert told[1].endswith(": connected again, at frame " + told[1].rpartition(" ")[2])
    assert video.problems == ()


def test_what_is_not_on_the_server(served: str) -> None:
    with pytest.raises(dn.ImageError, match=r"clip.mp4: cannot be opened: .*404 Not Found"):
        list(dn.Video(f"{served}/clip.mp4"))


def test_a_stream_does_not_wait_for_who_reads_it(stream: bytes) -> None:
    server = Server([stream])
    video = dn.Video(server.address, pauses=(), sound=True)
    ahead = ReadAhead(video, lambda number: True, depth=4)
    frames: list[dn.VideoFrame] = []
    heard = 0
    with pytest.raises(dn.ConnectionLost):
        for frame in ahead:
            if not frames:
                ahead._thread.join(60)  # it reads all meanwhile
            frames.append(frame)
            heard += len(frame.sound)
    assert len(frames) + ahead.left_out == 20
    assert [each.number for each in frames][-4:] == [16, 17, 18, 19]  # the newest
    assert len(frames) < 8
    assert heard > 80  # the sound of all
