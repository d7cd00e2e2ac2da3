"""Videos frame by frame: times, orientation, what is damaged, and connections that break off."""

from __future__ import annotations

import pickle
import re
import shutil
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.pictures import opened_video
from tests.support.videos import ByColour, passing, picture, require_av, write_clip

av = require_av()

# Twice the error of the coarsest time base here, thousandths of a second.
CLOSE = 1e-3
VARIABLE = [0.0, 0.1, 0.13, 0.5, 0.55, 0.6, 1.4, 1.5]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", passing())


def test_frames_come_with_their_numbers_and_times(clip: Path) -> None:
    frames = list(dn.Video(clip))
    assert [each.number for each in frames] == list(range(20))
    assert [each.seconds for each in frames] == pytest.approx(np.arange(20) / 10, abs=CLOSE)
    for frame, scene in zip(frames, passing(), strict=True):
        # The codec loses some of the colour, most of it at edges.
        assert np.abs(frame.pixels.astype(int) - picture(scene)).mean() < 3


def test_a_video_says_what_it_is(clip: Path) -> None:
    video = dn.Video(clip)
    facts = video.facts
    assert (facts.width, facts.height, facts.codec, facts.turned) == (96, 64, "h264", 0)
    assert (facts.frames, facts.sound, video.live) == (20, None, False)
    assert (facts.rate, facts.seconds) == pytest.approx((10, 2.0), abs=0.1)
    assert [each.number for each in video] == [each.number for each in video]  # twice


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mov", ".mp4", ".webm"])
def test_containers(suffix: str, tmp_path: Path) -> None:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    base = Fraction(1, 10) if suffix == ".avi" else Fraction(1, 1000)
    path = write_clip(tmp_path / f"clip{suffix}", passing(5), codec=codec, base=base)
    frames = list(dn.Video(path))
    assert [each.seconds for each in frames] == pytest.approx(np.arange(5) / 10, abs=CLOSE)
    assert {each.label for each in ByColour()(frames[0].pixels)} == {"red", "blue"}


def test_times_that_vary_are_kept(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", passing(8), VARIABLE)
    assert [each.seconds for each in dn.Video(path)] == pytest.approx(VARIABLE, abs=CLOSE)


@pytest.mark.parametrize("turned", [0, 90, 180, -90])
def test_frames_are_upright_as_players_show_them(turned: int, tmp_path: Path) -> None:
    scene = [("red", (4, 4, 20, 10)), ("blue", (70, 40, 20, 20))]
    path = write_clip(tmp_path / "clip.mov", [scene] * 3, turned=turned)
    video = dn.Video(path)
    wanted = np.rot90(picture(scene), turned // 90)
    assert (video.facts.height, video.facts.width) == wanted.shape[:2]
    assert video.facts.turned == turned % 360
    for frame in video:
        assert frame.pixels.shape == wanted.shape
        assert np.abs(frame.pixels.astype(int) - wanted).mean() < 3  # as above


def test_a_mirrored_frame_is_shown_mirrored(tmp_path: Path) -> None:
    scene = [("red", (4, 4, 20, 10)), ("blue", (70, 40, 20, 20))]
    path = write_clip(tmp_path / "clip.mov", [scene] * 3, turned=90)
    data = path.read_bytes()
    turned = struct.pack(">9i", 0, -ONE, 0, ONE, 0, 0, 0, 64 * ONE, 1 << 30)
    if turned not in data:  # where the picture is put does not matter
        turned = data[data.index(struct.pack(">5i", 0, -ONE, 0, ONE, 0)) :][:36]
    mirrored = struct.pack(">5i", 0, ONE, 0, ONE, 0) + turned[20:]  # x and y change places
    path.write_bytes(data.replace(turned, mirrored))
    (frame, *_) = dn.Video(path)
    wanted = picture(scene).swapaxes(0, 1)
    assert np.abs(frame.pixels.astype(int) - wanted).mean() < 3  # as above


ONE = 1 << 16  # in the display matrix


# -- what other programs read --------------------------------------------------------------------


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip as phones make them: turned, with a rate that varies, and sound."""
    path = tmp_path_factory.mktemp("phone") / "phone.mp4"
    return write_clip(path, passing(8), VARIABLE, turned=-90, sound="aac")


def test_opencv_reads_the_same_frames_at_the_same_times(phone: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    capture = cv2.VideoCapture(str(phone))
    for frame in dn.Video(phone):
        there, pixels = capture.read()
        assert there
        np.testing.assert_array_equal(frame.pixels, pixels[:, :, ::-1])
        assert capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 == pytest.approx(frame.seconds, abs=CLOSE)
    assert not capture.read()[0]


def test_ffmpeg_reads_the_same_frames_at_the_same_times(phone: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("the program ffmpeg is absent")
    frames = list(dn.Video(phone))
    words = ["-i", str(phone), "-vsync", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = run("ffmpeg", *words)
    theirs = np.frombuffer(raw, np.uint8).reshape(-1, *frames[0].pixels.shape)
    # Another version of FFmpeg may round differently.
    assert np.abs(theirs.astype(int) - [each.pixels for each in frames]).max() <= 3
    shown = run("ffprobe", "-select_streams", "v", "-show_entries", "frame=pts_time", phone)
    times = [float(each) for each in re.findall(rb"pts_time=([\d.]+)", shown)]
    assert [each.seconds for each in frames] == pytest.approx(times, abs=CLOSE)


def run(program: str, *words: object) -> bytes:
    words = (program, "-v", "error", *map(str, words))
    return subprocess.run(words, capture_output=True, check=True).stdout


# -- what is no video, or a part of one ----------------------------------------------------------


def problem_of(place: object, **options: object) -> str:
    with pytest.raises(dn.ImageError) as caught:
        list(dn.Video(place, **options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    def made(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    text = made("text.mp4", b"this is a text\n" * 100)
    assert problem_of(text) == f"{text}: not a video, or its header is damaged"
    empty = made("empty.mp4", b"")
    assert problem_of(empty) == f"{empty}: the file is empty (expected a video)"
    assert problem_of(tmp_path) == f"{tmp_path}: cannot be read: this is a folder, not a file"
    absent = tmp_path / "absent.mp4"
    assert problem_of(absent) == f"{absent}: cannot be read: No such file or directory"
    head = made("head.mp4", b"\0\0\0\x20ftypisom" + bytes(100))
    assert problem_of(head) == f"{head}: not a video, or its header is damaged"


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\n{there}\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile {there}\n",
    ],
)
def test_a_file_that_names_others_is_refused(content: bytes, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_bytes(content.replace(b"{there}", str(clip).encode()))
    assert problem_of(path) == f"{path}: not a video, or its header is damaged"


def test_a_name_is_not_a_protocol_of_ffmpeg(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip.parent)
    shutil.copy(clip, "concat:clip.mp4")
    assert len(list(dn.Video("concat:clip.mp4"))) == 20
    assert "No such file" in problem_of("concat:clip.mp4|clip.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=48000)
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        piece.sample_rate = 48000
        file.mux([each for part in (piece, None) for each in stream.encode(part)])
    assert problem_of(path) == f"{path}: there are no pictures in it, only sound"


def test_a_file_that_is_cut_off_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", passing(20) * 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    told: list[str] = []
    video = dn.Video(path, tell=told.append)
    frames = list(video)
    assert 20 < len(frames) < 50
    (problem,) = video.problems
    assert told == [f"{path}: {problem}"]
    assert re.fullmatch(r"the video ends at \d\.\d of \d\.\d s: it is cut off", problem)


def test_damaged_pieces_are_left_out_and_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", passing(20) * 2)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + len(data) // 4
    data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    video = dn.Video(path, tell=lambda text: None)
    assert len(list(video)) >= 20
    assert not video.problems or "damaged" in video.problems[0]


def test_frames_that_are_made_of_damaged_bytes_are_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.ts", passing(40), form="mpegts", size=(320, 240))
    video = dn.Video(path, tell=lambda text: None)
    whole = path.read_bytes()
    assert (len(list(video)), video.problems) == (40, ())
    size = 188  # of a packet, each with a number that tells if the one before is missing
    start = len(whole) // size // 2 * size
    path.write_bytes(whole[:start] + whole[start + 10 * size :])
    assert 30 < len(list(video)) <= 40
    assert "some frames are damaged" in video.problems[0]


def test_damage_anywhere_ends_in_frames_or_in_one_line(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "clip.mp4", passing(5)).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "bad.mp4"
    for _ in range(60):
        bad = bytearray(data[: rng.integers(1, len(data) + 1)])
        for at in rng.integers(0, len(bad), 20):
            bad[at] = rng.integers(256)
        path.write_bytes(bad)
        try:
            assert len(list(dn.Video(path, tell=lambda text: None))) >= 1
        except dn.ImageError as error:
            assert "\n" not in str(error)


def test_frames_that_are_too_large_are_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_video, "MOST_PIXELS", 96 * 64 - 1)
    assert problem_of(clip) == (
        f"{clip}: the frames are too large (expected at most 6143 pixels, found 96 x 64)"
    )


def test_a_camera_that_is_not_there() -> None:
    assert problem_of(987).startswith("987: the camera cannot be opened: ")


def test_without_pyav_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert problem_of("0") == "0: PyAV is needed for videos; pip install 'darknet-bn[video]'"


# -- values --------------------------------------------------------------------------------------


def test_a_frame_can_be_pickled_without_its_sound(phone: Path) -> None:
    video = dn.Video(phone, sound=True)
    frames = list(video)
    assert sum(len(each.sound) for each in frames) > 50
    again = pickle.loads(pickle.dumps(frames[3]))
    assert (again.number, again.seconds, again.sound) == (3, frames[3].seconds, ())
    np.testing.assert_array_equal(again.pixels, frames[3].pixels)
    copy = pickle.loads(pickle.dumps(video))
    assert [each.seconds for each in copy] == [each.seconds for each in frames]


def test_pixels_are_made_when_they_are_asked_for() -> None:
    calls = []
    frame = dn.VideoFrame(0, 0.0, lambda: calls.append(1) or np.zeros((2, 2, 3), np.uint8))
    assert not calls
    assert frame.pixels is frame.pixels
    assert calls == [1]
    assert frame.with_pixels(np.ones((2, 2, 3), np.uint8)).seconds == 0.0
    assert calls == [1]
