"""Written videos: times, sound and colours as in what they come from; whole, or not there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.pictures.ahead import ReadAhead
from darknet_bn.pictures.video_files import WRITTEN
from tests.support.videos import COLOURS, passing, picture, require_av, write_clip

av = require_av()

VARIABLE = [0.0, 0.1, 0.13, 0.5, 0.55, 0.6, 1.4, 1.5]


def still(count: int = 5, size: tuple[int, int] = (96, 64)) -> Iterator[dn.VideoFrame]:
    scene = [("red", (4, 4, 20, 20)), ("green", (30, 4, 20, 20)), ("blue", (56, 4, 20, 20))]
    return (dn.VideoFrame(at, at / 10, picture(scene, size)) for at in range(count))


def times_of(path: Path, kind: str) -> list[float]:
    """The times of the packets of a file, in their order."""
    with av.open(str(path)) as file:
        (stream,) = (each for each in file.streams if each.type == kind)
        return sorted(
            float(packet.pts * packet.time_base)
            for packet in file.demux(stream)
            if packet.pts is not None
        )


@pytest.mark.parametrize("suffix", WRITTEN)
def test_frames_come_back_at_their_times(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    assert dn.write_video(path, still()) == (5, pytest.approx(0.4), None, None)
    frames = list(dn.Video(path))
    # Containers made for the web have times in thousandths of a second.
    assert [each.seconds for each in frames] == pytest.approx(np.arange(5) / 10, abs=1e-3)
    assert dn.Video(path).facts.rate == pytest.approx(10, rel=0.03)
    for name, left in (("red", 4), ("green", 30), ("blue", 56)):
        inside = frames[2].pixels[8:20, left + 4 : left + 16].astype(int)
        # Two conversions of colours and the codec; another matrix is off by 20 and more.
        assert np.abs(inside - COLOURS[name]).max() <= 6, name


@pytest.mark.parametrize("size", [(97, 64), (96, 63), (97, 63), (1, 1)])
def test_odd_sizes_get_another_row_or_column(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    dn.write_video(path, still(2, size))
    wide, high = (each + each % 2 for each in size)
    frame, _ = dn.Video(path)
    assert frame.pixels.shape == (high, wide, 3)


@pytest.mark.parametrize("sound", ["aac", "libopus", "libmp3lame", "ac3"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_sound_is_copied_and_stays_in_time(sound: str, suffix: str, tmp_path: Path) -> None:
    source = write_clip(tmp_path / f"in{suffix}", passing(8), VARIABLE, sound=sound, turned=90)
    video = dn.Video(source, sound=True)
    out = tmp_path / f"out{suffix}"
    written = dn.write_video(out, ReadAhead(video, lambda number: True), like=video)
    assert written.frames == 8
    assert written.sound == {"libopus": "opus", "libmp3lame": "mp3float"}.get(sound, sound)
    assert written.without_sound is None
    heard = [times_of(each, "audio") for each in (source, out)]
    seen = [times_of(each, "video") for each in (source, out)]
    assert seen[0] == pytest.approx(VARIABLE, abs=0.03)
    # Picture and sound are apart as before: at most a tick of the coarsest clock more.
    drift = np.subtract(*seen).mean()
    assert np.subtract(*seen) == pytest.approx(drift, abs=1.1e-3)
    assert np.subtract(*heard) == pytest.approx(drift, abs=1.1e-3)
    assert len(heard[0]) > 40


def test_sound_that_a_container_does_not_take_is_left_out(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", passing(8), sound="aac")
    video = dn.Video(source, sound=True)
    written = dn.write_video(tmp_path / "out.webm", video, like=video)
    assert (written.sound, written.without_sound) == (None, "webm does not take aac")
    silent = dn.Video(source)
    written = dn.write_video(tmp_path / "out.mp4", silent, like=silent)
    assert (written.sound, written.without_sound) == (None, "it was not asked for")


def test_pixels_keep_their_shape(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mkv", passing(3), aspect=Fraction(4, 3))
    video = dn.Video(source)
    assert video.facts.aspect == Fraction(4, 3)
    dn.write_video(tmp_path / "out.mkv", video, like=video)
    assert dn.Video(tmp_path / "out.mkv").facts.aspect == Fraction(4, 3)


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        dn.write_video(tmp_path / name, still(20))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_frames_whose_times_do_not_grow_follow_each_other(tmp_path: Path) -> None:
    frames = [each.with_pixels(each.pixels) for each in still(4)]
    for each in frames:
        each.seconds = 0.2
    dn.write_video(tmp_path / "out.mkv", frames)
    assert len(set(times_of(tmp_path / "out.mkv", "video"))) >= 1
    assert len(list(dn.Video(tmp_path / "out.mkv"))) == 4


def test_a_frame_of_another_size_is_scaled(tmp_path: Path) -> None:
    frames = [*still(2), *still(2, (48, 32))]
    dn.write_video(tmp_path / "out.mp4", frames)
    assert {each.pixels.shape for each in dn.Video(tmp_path / "out.mp4")} == {(64, 96, 3)}


# -- whole, or not there -------------------------------------------------------------------------


class Broken(Exception):
    pass


def until(error: BaseException, count: int) -> Iterator[dn.VideoFrame]:
    yield from still(count)
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), dn.ConnectionLost("gone")])
def test_an_early_end_leaves_a_whole_file(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(type(error)):
        dn.write_video(path, until(error, 7))
    assert len(list(dn.Video(path))) == 7
    assert os.listdir(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        (until(KeyboardInterrupt(), 0), KeyboardInterrupt),
        (until(Broken(), 5), Broken),
        ((), dn.ImageError),
    ],
)
def test_any_other_end_leaves_no_file(
    frames: Iterable[dn.VideoFrame], error: type[BaseException], tmp_path: Path
) -> None:
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(error):
        dn.write_video(tmp_path / "out.mp4", frames, force=True)
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"old"


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(dn.DarknetError, match="already exists"):
        dn.write_video(tmp_path / "out.mp4", still())
    assert (tmp_path / "out.mp4").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["out.avi", "out", "out.png"])
def test_the_name_says_the_format(name: str, tmp_path: Path) -> None:
    with pytest.raises(dn.ImageError, match="does not say which video format") as caught:
        dn.write_video(tmp_path / name, still())
    assert ".mp4" in str(caught.value)


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    frames = [dn.VideoFrame(0, 0.0, np.zeros((4, 20000, 3), np.uint8))]  # wider than H.264 allows
    with pytest.raises(dn.ImageError) as caught:
        dn.write_video(tmp_path / "out.mp4", frames)
    assert str(caught.value).startswith(f"{tmp_path / 'out.mp4'}: cannot be written: ")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


# -- reading ahead -------------------------------------------------------------------------------


def test_frames_that_are_read_ahead_are_the_same(tmp_path: Path) -> None:
    video = dn.Video(write_clip(tmp_path / "in.mp4", passing()))
    plain = list(video)
    for depth in (1, 3, None):
        ahead = list(ReadAhead(video, lambda number: number % 2 == 0, depth))
        assert [each.number for each in ahead] == list(range(20))
        for one, other in zip(plain, ahead, strict=True):
            assert one.seconds == other.seconds
            np.testing.assert_array_equal(one.pixels, other.pixels)


def test_no_more_than_a_few_are_read_ahead(tmp_path: Path) -> None:
    made: list[int] = []

    class Counting(dn.Video):
        def __iter__(self) -> Iterator[dn.VideoFrame]:
            for frame in super().__iter__():
                made.append(frame.number)
                yield frame

    ahead = ReadAhead(Counting(write_clip(tmp_path / "in.mp4", passing())), lambda number: True, 3)
    for frame in ahead:
        assert len(made) <= frame.number + 1 + 3 + 1  # those that wait, and one that wants to
    assert len(made) == 20


def test_an_error_comes_where_frames_are_taken(tmp_path: Path) -> None:
    class Bad(dn.Video):
        def __iter__(self) -> Iterator[dn.VideoFrame]:
            yield from still(2)
            raise Broken

    frames = ReadAhead(Bad(write_clip(tmp_path / "in.mp4", passing())), lambda number: True)
    with pytest.raises(Broken):
        for _ in frames:
            pass


def test_whoever_stops_early_stops_the_thread(tmp_path: Path) -> None:
    ahead = ReadAhead(dn.Video(write_clip(tmp_path / "in.mp4", passing())), lambda number: True, 2)
    for frame in ahead:
        if frame.number == 3:
            break
    ahead.close()
    ahead._thread.join(30)
    assert not ahead._thread.is_alive()
