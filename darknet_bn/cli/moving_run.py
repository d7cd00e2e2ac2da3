"""The run of ``darknet-bn detect`` over a video, a stream or a camera."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import click

import darknet_bn as dn
from darknet_bn.cli import models, output, progress, signals
from darknet_bn.cli.detecting import Chosen, objects
from darknet_bn.cli.failures import FINDING
from darknet_bn.cli.moving import Answer, Line, Options
from darknet_bn.cli.options import require_free
from darknet_bn.cli.terminal import is_terminal

if TYPE_CHECKING:
    from darknet_bn.pictures.ahead import ReadAhead
    from darknet_bn.pictures.video_files import WrittenVideo
    from darknet_bn.predictions.tracks import Crossing

_LONGEST = 30.0  # seconds between two tries to connect
_WHOLE = 1.0  # a line none of whose numbers is above this is given in parts of the picture


def detect(
    ctx: click.Context,
    words: Sequence[str],
    source: models.Source,
    choose: Callable[[], Chosen],
    video: Options,
    answer: Answer,
    inputs: Iterable[str | None],
) -> NoReturn:
    """Detect objects in a video, and exit the command.

    Raises
    ------
    click.exceptions.Exit
        0 if the whole video was read, 1 if a part of it was missing or a stream broke off for
        good; 130 after Ctrl-C, 143 after SIGTERM.
    DarknetError
        It cannot be read at all, or the output not be written.
    """
    from darknet_bn.pictures.ahead import ReadAhead
    from darknet_bn.pictures.video_files import video_format

    (word,) = words
    if answer.out is not None:
        video_format(answer.out)
        require_free([answer.out], force=answer.force, inputs=(word, *inputs))
    run: _Run | None = None

    def tell(text: str) -> None:
        if run is not None:
            run.bar.hide()
        output.warning(text)

    pauses = [min(2.0**each, _LONGEST) for each in range(video.retries)]
    moving = dn.Video(word, sound=answer.out is not None, pauses=pauses, tell=tell)
    facts = moving.facts
    line = None if video.line is None else _in_pixels(video.line, moving)
    chosen = choose()
    if not answer.as_json:
        say = output.aside if answer.as_lines else output.note
        chosen.tell(say)
        say(f"video: {_described(moving)}")
    ahead = ReadAhead(moving, lambda number: answer.out is not None or number % video.every == 0)
    run = _Run(chosen, video, answer, facts.frames, line)
    run.go(ahead, moving)
    run.show(source, moving, ahead)
    run.end(ctx, moving)


@dataclass
class _Run:
    """The look at a video: its options, and what has come of it."""

    chosen: Chosen
    video: Options
    answer: Answer
    count: int | None
    line: Line | None
    frames: int = 0
    computed: int = 0
    last: float = 0.0
    told: list[dict[str, Any]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    tracked: dict[int, str] = field(default_factory=dict)
    written: WrittenVideo | None = None
    stopped: BaseException | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.bar = progress.Bar("detecting", self.count, time_left=True)
        self._tracker = dn.Tracker() if self.video.track else None
        self.counter = None if self.line is None else dn.LineCounter(self.line)

    def go(self, ahead: ReadAhead, moving: dn.Video) -> None:
        """Look at all frames, and write them; what ends it early is kept."""
        from darknet_bn.pictures.video_files import write_frames

        begin = time.monotonic()
        try:
            if self.answer.out is None:
                for _ in self._looked_at(ahead):
                    pass
            else:
                out, force = self.answer.out, self.answer.force
                self.written, self.stopped = write_frames(
                    out, self._looked_at(ahead), moving, force=force
                )
        except (KeyboardInterrupt, dn.ConnectionLost) as error:
            self.stopped = error
        finally:
            ahead.close()
            self.bar.hide()
        self.seconds = time.monotonic() - begin

    def _looked_at(self, frames: Iterable[dn.VideoFrame]) -> Iterator[dn.VideoFrame]:
        """Yield the frames, with what is in them drawn into them if they are to be written."""
        from darknet_bn.predictions.track_drawing import draw_tracks

        found: Sequence[dn.Detection | dn.Track] = ()
        for frame in frames:
            if frame.number % self.video.every == 0 or not self.computed:
                found = self._look_at(frame)
            if self.answer.out is not None:
                drawn = draw_tracks(frame.pixels, found, self.counter, font=self.answer.font)
                frame = frame.with_pixels(drawn)
            self.frames += 1
            self.last = frame.seconds
            yield frame
            self.bar.step()

    def _look_at(self, frame: dn.VideoFrame) -> Sequence[dn.Detection | dn.Track]:
        seen = self.chosen.detector(frame.pixels)
        tracks = None if self._tracker is None else self._tracker.update(seen, frame.seconds)
        crossed = [] if self.counter is None or tracks is None else self.counter.update(tracks)
        self.computed += 1
        self.seen.update({score.label for each in seen for score in each.classes})
        self.tracked |= {each.number: each.label for each in tracks or ()}
        if self.answer.as_json or self.answer.as_lines:
            entry = _entry(frame, seen, tracks, crossed)
            if self.answer.as_lines:
                self._print(output.json_line(entry))
            else:
                self.told.append(entry)
        elif seen and self.answer.out is None:
            shown = tracks if tracks is not None else seen
            self._print(f"{frame.seconds:.3f} s: {', '.join(map(_in_words, shown))}")
        return seen if tracks is None else tracks

    def _print(self, line: str) -> None:
        self.bar.hide()
        output.text(output.printable(line))

    def show(self, source: models.Source, moving: dn.Video, ahead: ReadAhead) -> None:
        """Print what has come of it."""
        answer, counts = self.answer, {} if self.counter is None else self.counter.counts
        if answer.as_json:
            out = self.written
            facts = self.chosen.facts(source) | {"video": _facts(moving)}
            facts |= {"every": self.video.every, "frames": self.told}
            facts |= {"read": self.frames, "left_out": ahead.left_out}
            facts["tracks"] = _by_class(self.tracked.values()) if self.video.track else None
            facts |= {"line": self.line, "crossed": counts if self.line else None}
            facts["problems"] = [*moving.problems, *self._broken()]
            facts["interrupted"] = isinstance(self.stopped, KeyboardInterrupt)
            facts["seconds"] = self.seconds
            facts["written"] = out and {
                "file": answer.out,
                "frames": out.frames,
                "sound": out.sound,
            }
            output.print_json(facts)
            return
        say = output.aside if answer.as_lines else output.note
        for line in self._lines(ahead, counts):
            say(output.printable(line))
        output.took(self.seconds, self.computed, "frame")

    def _lines(self, ahead: ReadAhead, counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
        from darknet_bn.values import counted

        were = "was" if self.computed == 1 else "were"
        yield f"frames: {self.frames}, of which {self.computed} {were} looked at"
        if ahead.left_out:
            yield f"left out: {ahead.left_out} frames that came faster than they were looked at"
        them = ", ".join(f"{name} in {number}" for name, number in sorted(self.seen.items()))
        yield f"found: {them or 'nothing'}"
        if self.video.track:
            tracks = _by_class(self.tracked.values())
            yield f"tracks: {', '.join(f'{n} {name}' for name, n in tracks.items()) or 'none'}"
        if self.counter is not None:
            ways = (
                f"{name} {', '.join(f'{n} {way}' for way, n in sorted(each.items()))}"
                for name, each in sorted(counts.items())
            )
            yield f"crossed the line: {'; '.join(ways) or 'none'}"
        if self.written is not None:
            sound = f", with its sound ({self.written.sound})" if self.written.sound else ""
            if self.written.without_sound is not None:
                sound = f", without its sound: {self.written.without_sound}"
            count = counted(self.written.frames, "frame")
            yield f"written: {count} to {self.answer.out}{sound}"

    def _broken(self) -> list[str]:
        return [str(self.stopped)] if isinstance(self.stopped, dn.ImageError) else []

    def end(self, ctx: click.Context, moving: dn.Video) -> NoReturn:
        """Exit the command with its code."""
        for line in self._broken():
            output.error(line)
        if isinstance(self.stopped, KeyboardInterrupt):
            if is_terminal(sys.stderr):
                click.echo(err=True)  # it shows ^C
            of = f" of about {self.count}" if self.count and self.count > self.frames else ""
            message = f"stopped after {self.frames}{of} frames, at {self.last:.1f} s"
            if self.written is not None:
                message += f"; {self.answer.out} has these"
            click.echo(output.printable(message), err=True)
            ctx.exit(signals.exit_code(self.stopped))
        ctx.exit(FINDING if moving.problems or self.stopped else 0)


def _entry(
    frame: dn.VideoFrame,
    seen: Sequence[dn.Detection],
    tracks: Sequence[dn.Track] | None,
    crossed: Iterable[Crossing],
) -> dict[str, Any]:
    """Return the facts about a frame for JSON."""
    numbers = [None] * len(seen) if tracks is None else [each.number for each in tracks]
    them = [
        entry | {"track": number}
        for each, number in zip(seen, numbers, strict=True)
        for entry in objects([each])
    ]
    crossings = [
        {"track": each.track.number, "name": each.track.label, "direction": each.direction}
        for each in crossed
    ]
    entry = {"frame": frame.number, "seconds": round(frame.seconds, 6), "objects": them}
    return entry | {"crossed": crossings}


def _in_pixels(line: Line, moving: dn.Video) -> Line:
    """Return a line in pixels, after checking that it is in the picture."""
    width, height = moving.facts.width, moving.facts.height
    if max(line) <= _WHOLE:
        line = line[0] * width, line[1] * height, line[2] * width, line[3] * height
    if max(line[0], line[2]) > width or max(line[1], line[3]) > height:
        raise click.BadParameter(
            f"the line is not in the picture, which has {width} x {height} pixels",
            param_hint="'--line'",
        )
    return line


def _in_words(each: dn.Detection | dn.Track) -> str:
    """Return what and how probable it is, and the number of a track."""
    if isinstance(each, dn.Track):
        return f"#{each.number} {each.label} {each.probability:.0%}"
    return ", ".join(f"{score.label} {score.probability:.0%}" for score in each.classes)


def _by_class(labels: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(labels).items()))


def _described(moving: dn.Video) -> str:
    """Return what a video says of itself, in one line."""
    facts = moving.facts
    parts = [f"{facts.width} x {facts.height}", facts.codec]
    if facts.rate is not None:
        parts.append(f"{facts.rate:.4g} frames/s")
    if facts.seconds is not None:
        parts.append(f"{facts.seconds:.1f} s")
    if facts.turned:
        parts.append(f"turned by {facts.turned} degrees")
    if facts.sound is not None:
        parts.append(f"sound {facts.sound}")
    return ", ".join(parts)


def _facts(moving: dn.Video) -> dict[str, Any]:
    facts = moving.facts
    names = ("width", "height", "rate", "frames", "seconds", "codec", "turned", "sound")
    return {"file": moving.place} | {name: getattr(facts, name) for name in names}
