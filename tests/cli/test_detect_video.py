"""``detect`` on a video: what it prints and writes, follows and counts, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.cli import progress
from tests.support.streams import Server
from tests.support.videos import RATE, ByColour, passing, require_av, write_clip

from .conftest import Cli, Terminal, lines_of

av = require_av()

pytestmark = pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a model called ``net``."""
    for suffix in (".cfg", ".weights"):
        (tmp_path / f"net{suffix}").write_bytes(tiny.with_suffix(suffix).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def by_colour(monkeypatch: pytest.MonkeyPatch) -> ByColour:
    """Let shapes be found by their colour, whatever the model is."""
    detector = ByColour()
    monkeypatch.setattr(dn.Detector, "__call__", lambda self, pixels: detector(pixels))
    return detector


def rows_of(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_each_frame_has_what_the_detector_finds_in_it(cli: Cli) -> None:
    write_clip(Path("clip.mp4"), passing(4))
    answer = cli("detect", "net", "clip.mp4", "--thresh", "0.6", "--json-lines")
    detector = dn.Detector("net", threshold=0.6)
    rows = rows_of(answer.out)
    assert (answer.code, len(rows)) == (0, 4)
    assert sum(len(row["objects"]) for row in rows) > 4
    for row, frame in zip(rows, dn.Video("clip.mp4"), strict=True):
        assert (row["frame"], row["seconds"]) == (frame.number, round(frame.seconds, 6))
        sides = [
            [round(each.left, 2), round(each.top, 2)]
            for each in detector(frame.pixels)
            for _ in each.classes
        ]
        assert [[each["box"]["left"], each["box"]["top"]] for each in row["objects"]] == sides


def test_text_has_the_time_and_what_was_found(cli: Cli, by_colour: ByColour) -> None:
    write_clip(Path("clip.mp4"), [*passing(2), []], [0.0, 0.5, 1.0], sound="aac")
    answer = cli("detect", "net", "clip.mp4")
    video, *lines = lines_of(answer.out)
    assert re.fullmatch(r"video: 96 x 64, h264, 2\.\d+ frames/s, 1\.\d s, sound aac", video)
    assert lines == [
        "0.000 s: red 90%, blue 90%",
        "0.500 s: red 90%, blue 90%",
        "frames: 3, of which 3 were looked at",
        "found: blue in 2, red in 2",
    ]
    quiet = cli("detect", "net", "clip.mp4", "--track", "-q")
    assert quiet.out.splitlines() == [
        "0.000 s: #1 red 90%, #2 blue 90%",
        "0.500 s: #1 red 90%, #2 blue 90%",
    ]
    assert (answer.code, answer.err, quiet.code, quiet.err) == (0, "", 0, "")


def test_boxes_follow_and_tracks_keep_their_numbers_through_a_crossing(
    cli: Cli, by_colour: ByColour
) -> None:
    write_clip(Path("clip.mp4"), passing())
    answer = cli("detect", "net", "clip.mp4", "--line", "0.5,0,0.5,1", "--json")
    facts = answer.json
    assert len(facts["frames"]) == 20
    for row, scene in zip(facts["frames"], passing(), strict=True):
        for each in row["objects"]:
            assert (each["name"], each["track"]) in {("red", 1), ("blue", 2)}
            if each["name"] == "blue":  # which nothing hides
                left, top, width, height = dict(scene)["blue"]
                box = each["box"]
                # The codec moves an edge by less than a pixel.
                assert [box["left"], box["top"]] == pytest.approx([left, top], abs=1)
                assert [box["width"], box["height"]] == pytest.approx([width, height], abs=2)
    assert facts["tracks"] == {"blue": 1, "red": 1}
    assert facts["crossed"] == {"red": {"right": 1}, "blue": {"left": 1}}
    assert facts["line"] == [48.0, 0.0, 48.0, 64.0]
    crossings = [each for row in facts["frames"] for each in row["crossed"]]
    assert {(each["track"], each["direction"]) for each in crossings} == {(1, "right"), (2, "left")}


def test_a_short_gap_changes_no_number(cli: Cli, by_colour: ByColour) -> None:
    scenes = [[] if 6 <= at < 12 else [("red", (2 + 4 * at, 20, 14, 14))] for at in range(20)]
    write_clip(Path("clip.mp4"), scenes)
    facts = cli("detect", "net", "clip.mp4", "--line", "48,0,48,64", "--json").json
    assert facts["tracks"] == {"red": 1}
    assert facts["crossed"] == {"red": {"right": 1}}


def test_what_is_written_has_the_boxes_the_times_and_the_sound(
    cli: Cli, by_colour: ByColour
) -> None:
    times = [0.0, 0.1, 0.13, 0.5, 0.55, 0.6, 1.4, 1.5]
    write_clip(Path("phone.mp4"), passing(times=times), times, turned=-90, sound="aac")
    answer = cli("detect", "net", "phone.mp4", "-o", "out.mp4", "--track")
    assert lines_of(answer.out)[1:] == [
        "frames: 8, of which 8 were looked at",
        "found: blue in 8, red in 8",
        "tracks: 1 blue, 1 red",
        "written: 8 frames to out.mp4, with its sound (aac)",
    ]
    video = dn.Video("out.mp4")
    assert (video.facts.width, video.facts.height, video.facts.turned) == (64, 96, 0)
    assert video.facts.sound == "aac"
    frames = list(video)
    assert [each.seconds for each in frames] == pytest.approx(times, abs=1e-3)
    for frame, source in zip(frames, dn.Video("phone.mp4"), strict=True):
        for found in ByColour()(source.pixels):  # around it, something is drawn
            edge = frame.pixels[round(found.top) : round(found.bottom), round(found.left)]
            before = source.pixels[round(found.top) : round(found.bottom), round(found.left)]
            assert np.abs(edge.astype(int) - before).mean() > 30


def test_frames_in_between_keep_the_boxes(cli: Cli, by_colour: ByColour) -> None:
    scenes = [[("red", (20, 20, 20, 20))]] * 5
    write_clip(Path("clip.mp4"), scenes)
    answer = cli("detect", "net", "clip.mp4", "-o", "out.mp4", "--every", "3")
    assert "frames: 5, of which 2 were looked at" in answer.out
    assert by_colour.calls == 2
    frames = [each.pixels.astype(int) for each in dn.Video("out.mp4")]
    assert len(frames) == 5
    assert max(np.abs(each - frames[0]).mean() for each in frames) < 3  # what the codec loses


def test_sound_that_does_not_fit_is_said(cli: Cli, by_colour: ByColour) -> None:
    write_clip(Path("clip.mp4"), passing(3), sound="aac")
    answer = cli("detect", "net", "clip.mp4", "-o", "out.webm")
    assert answer.out.splitlines()[-1] == (
        "written: 3 frames to out.webm, without its sound: webm does not take aac"
    )


def test_a_cut_file_is_one_line_and_one(cli: Cli, by_colour: ByColour) -> None:
    data = write_clip(Path("clip.mkv"), passing(20) * 3).read_bytes()
    Path("cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    answer = cli("detect", "net", "cut.mkv", "-o", "out.mp4")
    assert answer.code == 1
    assert re.fullmatch(
        r"warning: cut.mkv: the video ends at \d\.\d of \d\.\d s: it is cut off\n", answer.err
    )
    assert len(list(dn.Video("out.mp4"))) > 20
    facts = cli("detect", "net", "cut.mkv", "--json").json
    assert len(facts["problems"]) == 1


@pytest.mark.parametrize("out", [[], ["-o", "out.mp4"]])
def test_what_is_no_video_is_one_line(cli: Cli, out: list[str]) -> None:
    Path("clip.mp4").write_text("this is a text\n" * 50)
    answer = cli("detect", "net", "clip.mp4", *out)
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == "clip.mp4: not a video, or its header is damaged"
    assert not Path("out.mp4").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("clip.mp4 -o out.avi", "does not say which video format to write"),
        ("clip.mp4 -o clip.mp4 --force", "this file is an input, and is never overwritten"),
        ("clip.mp4 -o old.mp4", "old.mp4: the file already exists; use --force to overwrite it"),
        ("clip.mp4 clip.mp4", "a video is looked at alone: clip.mp4"),
        ("clip.mp4 --csv", "--csv is for pictures, not for a video"),
        ("clip.mp4 --labels x", "--labels is for pictures, not for a video"),
        ("clip.mp4 --recursive", "--recursive is for pictures, not for a video"),
        ("a.png --track", "--track is for a video, not for pictures"),
        ("a.png --every 1", "--every is for a video, not for pictures"),
        ("clip.mp4 --line 1,2,3", "'1,2,3' is not X1,Y1,X2,Y2"),
        ("clip.mp4 --line 1,2,1,2", "'1,2,1,2' is not a line between two points"),
        ("clip.mp4 --line 1,2,nan,2", "'1,2,nan,2' is not a line between two points"),
        ("clip.mp4 --line 0,70,50,70", "the line is not in the picture, which has 96 x 64 pixels"),
        ("clip.mp4 --every 0", "0 is not in the range x>=1"),
    ],
)
def test_what_cannot_be_meant_is_refused(cli: Cli, words: str, message: str) -> None:
    write_clip(Path("clip.mp4"), passing(2))
    Path("old.mp4").write_bytes(b"old")
    answer = cli("detect", "net", *words.split())
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert Path("old.mp4").read_bytes() == b"old"


def test_an_existing_file_is_replaced_if_forced(cli: Cli, by_colour: ByColour) -> None:
    write_clip(Path("clip.mp4"), passing(2))
    Path("old.mp4").write_bytes(b"old")
    assert cli("detect", "net", "clip.mp4", "-o", "old.mp4", "--force").code == 0
    assert len(list(dn.Video("old.mp4"))) == 2


def test_a_stream_that_breaks_off_for_good_leaves_what_there_was(
    cli: Cli, by_colour: ByColour, tmp_path: Path
) -> None:
    data = write_clip(tmp_path / "clip.ts", passing(10), form="mpegts").read_bytes()
    server = Server([data])
    answer = cli("detect", "net", server.address, "-o", "out.mp4", "--retries", "0", "--json")
    assert answer.code == 1
    assert "secret" not in answer.out + answer.err
    facts = answer.json
    (problem,) = facts["problems"]
    assert problem in answer.err
    # Frames may be left out, if this machine is slower than they come.
    assert facts["read"] + facts["left_out"] == 10
    assert facts["read"] == facts["written"]["frames"] == len(list(dn.Video("out.mp4")))


# -- progress, and an early end ------------------------------------------------------------------


def test_the_bar_shows_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    for name in ("_DELAY", "_PERIOD"):
        monkeypatch.setattr(progress, name, 0)
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = progress.Bar("detecting", 4000, time_left=True)
    for seconds in (1.5, 1.5, 2997.0):
        now[0] += seconds
        bar.step()
    bar.hide()
    shown = [each.strip() for each in terminal.getvalue().split("\r")]
    assert "detecting [------------------------------] 1/4000, 1:39:58 left" in shown
    assert "detecting [------------------------------] 2/4000, 1:39:57 left" in shown


def test_the_bar_counts_what_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    for name in ("_DELAY", "_PERIOD"):
        monkeypatch.setattr(progress, name, 0)
    bar = progress.Bar("detecting", None, time_left=True)
    for _ in range(12):
        bar.step()
    bar.hide()
    assert terminal.getvalue().split("\r")[-3].rstrip() == "detecting ... 12"


STOPPED = """
import os, signal, sys
import darknet_bn as dn
from darknet_bn.cli.program import main
from tests.support.videos import ByColour

number, after = getattr(signal, sys.argv.pop(1)), int(sys.argv.pop(1))
by_colour = ByColour()

def call(self, pixels):
    if by_colour.calls == after:
        os.kill(os.getpid(), number)
    return by_colour(pixels)

dn.Detector.__call__ = call
main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("after", [0, 7])
def test_an_interrupted_video_is_whole_and_it_is_said_how_far_it_came(
    name: str, code: int, after: int, place: Path
) -> None:
    write_clip(Path("clip.mp4"), passing(), sound="aac")
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", STOPPED, name, str(after), "detect", "net", "clip.mp4"]
    done = subprocess.run(
        [*words, "-o", "out.mp4", "--json-lines", "-q"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    rows = rows_of(done.stdout)
    assert [row["frame"] for row in rows] == list(range(after))
    assert sorted(os.listdir(place)) == sorted(
        ["clip.mp4", "model", "net.cfg", "net.weights", *(["out.mp4"] if after else [])]
    )
    if after:
        seconds = (after - 1) / RATE
        assert done.stderr.splitlines() == [
            f"stopped after {after} of about 20 frames, at {seconds:.1f} s; out.mp4 has these"
        ]
        frames = list(dn.Video("out.mp4", tell=pytest.fail))
        assert len(frames) == after
        assert dn.Video("out.mp4").facts.sound == "aac"
    else:
        assert done.stderr == "stopped after 0 of about 20 frames, at 0.0 s\n"
