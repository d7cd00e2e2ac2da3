"""Follow objects through a video: a number for each, by how much boxes overlap, and counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from darknet_bn.arrays import F64
from darknet_bn.errors import DarknetError
from darknet_bn.predictions.records import Detection
from darknet_bn.values import brief

Point: TypeAlias = tuple[float, float]
Line: TypeAlias = tuple[float, float, float, float]

PATIENCE = 1.0
"""Seconds for which an object may be hidden and keep its number."""

_TRAIL = 1.0  # seconds of its way that a track remembers
_INERTIA = 0.5  # how much of the old speed stays when a new one is seen
_BAND = 0.05  # of the diagonal of a box: nearer to a line than that, it is on no side of it


class _Pass(NamedTuple):
    """How tracks and detections are paired: what earlier passes leave is for later ones.

    Attributes
    ----------
    grown : float
        By how much of their size boxes are made larger on each side.
    least : float
        The IoU that they have at least.
    same_class : bool
    """

    grown: float
    least: float
    same_class: bool


_PASSES = (
    _Pass(0.0, 0.3, True),
    _Pass(0.5, 0.3, True),  # fast or small ones, which do not overlap from frame to frame
    _Pass(0.0, 0.5, False),  # a car that is called a truck for a moment
)


@dataclass(frozen=True)
class Track:
    """An object in a frame, with the number that it keeps.

    Attributes
    ----------
    number : int
        From 1, in the order in which objects appear.
    detection : Detection
        What was found of it in this frame.
    class_id, label : int, str
        The class that it was found as most often, and the name of that.
    trail : tuple of (x, y)
        Where its centre was in the last second, in pixels; the last is where it is.
    """

    number: int
    detection: Detection
    class_id: int
    label: str
    trail: tuple[Point, ...]

    def __repr__(self) -> str:
        """Return one line about it."""
        x, y = self.trail[-1]
        return brief(self, f"{self.number}, {self.label} at {x:.0f}, {y:.0f}")

    @property
    def probability(self) -> float:
        """The probability of the most probable class in this frame."""
        return self.detection.probability

    @property
    def left(self) -> float:
        """The left edge of the box in pixels."""
        return self.detection.left

    @property
    def top(self) -> float:
        """The top edge of the box in pixels."""
        return self.detection.top

    @property
    def right(self) -> float:
        """The right edge of the box in pixels."""
        return self.detection.right

    @property
    def bottom(self) -> float:
        """The bottom edge of the box in pixels."""
        return self.detection.bottom


@dataclass
class _Followed:
    """An object that is followed: its box (left, top, right, bottom), speed, and history."""

    number: int
    box: F64
    seen: float
    speed: F64 | None = None
    classes: Counter[tuple[int, str]] = field(default_factory=Counter)
    trail: list[tuple[float, Point]] = field(default_factory=list)

    def box_at(self, seconds: float) -> F64:
        """Return where the box is if it moves as before."""
        if self.speed is None:
            return self.box
        return self.box + np.tile(self.speed * (seconds - self.seen), 2)

    def take(self, found: Detection, box: F64, seconds: float) -> Track:
        """Note where it was found."""
        passed = seconds - self.seen
        if passed > 0 and self.trail:
            speed = (_centre(box) - _centre(self.box)) / passed
            if self.speed is None:
                self.speed = speed
            else:
                self.speed = _INERTIA * self.speed + (1 - _INERTIA) * speed
        self.box, self.seen = box, seconds
        self.classes[found.class_id, found.label] += 1
        x, y = _centre(box).tolist()
        self.trail.append((seconds, (x, y)))
        while self.trail[0][0] < seconds - _TRAIL:
            del self.trail[0]
        (number, label), _ = max(self.classes.items(), key=lambda each: each[1])
        return Track(self.number, found, number, label, tuple(at for _, at in self.trail))


class Tracker:
    """Gives the objects of a video numbers that they keep.

    Each object is expected to move as it did.  Where it should be is compared with where something
    was found: the pair that overlaps most is joined first, then the next, of the
    same class before others.  What is left over is a new object.  The same detections always get
    the same numbers.

    Parameters
    ----------
    patience : float
        For how many seconds an object that is not found keeps its number.  If frames are further
        apart than that, it has to be found in the next.

    Raises
    ------
    DarknetError
        The patience is not a number of at least 0.

    Examples
    --------
    >>> import darknet_bn as dn
    >>> detector, tracker = dn.Detector("yolov3-tiny"), dn.Tracker()
    >>> for frame in dn.Video("clip.mp4"):  # doctest: +SKIP
    ...     for track in tracker.update(detector(frame.pixels), frame.seconds):
    ...         print(frame.number, track.number, track.label)
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        if not (math.isfinite(patience) and patience >= 0):
            raise DarknetError(
                "the patience is not usable", expected="seconds, at least 0", found=f"{patience}"
            )
        self._patience = patience
        self._followed: list[_Followed] = []
        self._count = 0
        self._now = -math.inf

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"{self._count} objects so far")

    def update(self, found: Sequence[Detection], seconds: float) -> list[Track]:
        """Take what was found in the next frame.

        Parameters
        ----------
        found : sequence of Detection
        seconds : float
            The time of the frame, later than the one before.

        Returns
        -------
        tracks : list of Track
            One for each detection, in the same order.

        Raises
        ------
        DarknetError
            The time is not later.
        """
        if not seconds > self._now:
            raise DarknetError(
                "frames have to come in the order of their times",
                expected=f"more than {self._now:g} s",
                found=f"{seconds:g} s",
            )
        before, self._now = self._now, seconds
        self._followed = [
            each
            for each in self._followed
            # What was there in the frame before has not been missed yet, however long ago that is.
            if each.seen == before or seconds - each.seen <= self._patience + 1e-9
        ]
        boxes = np.array([_box(each) for each in found], np.float64).reshape(len(found), 4)
        whose = self._paired(found, boxes, seconds)
        tracks = []
        for at, each in enumerate(found):
            followed = whose.get(at)
            if followed is None:
                self._count += 1
                followed = _Followed(self._count, boxes[at], seconds)
                self._followed.append(followed)
            tracks.append(followed.take(each, boxes[at], seconds))
        return tracks

    def _paired(
        self, found: Sequence[Detection], boxes: F64, seconds: float
    ) -> dict[int, _Followed]:
        """Return whom each detection belongs to, by its index; new ones are left out."""
        if not (self._followed and len(found)):
            return {}
        expected = np.array([each.box_at(seconds) for each in self._followed])
        mine = np.array([_class_of(each.classes) for each in self._followed])
        same = mine[:, None] == np.array([each.class_id for each in found])
        pairs: dict[int, int] = {}
        for each in _PASSES:
            overlap = _overlaps(_grown(expected, each.grown), _grown(boxes, each.grown))
            overlap[list(pairs.values())] = overlap[:, list(pairs)] = 0
            if each.same_class:
                overlap[~same] = 0
            rows, columns = np.nonzero(overlap >= each.least)
            best = np.lexsort((columns, rows, -overlap[rows, columns]))
            for row, column in zip(rows[best].tolist(), columns[best].tolist(), strict=True):
                if row not in pairs.values() and column not in pairs:
                    pairs[column] = row
        return {column: self._followed[row] for column, row in pairs.items()}


def _class_of(classes: Mapping[tuple[int, str], int]) -> int:
    return max(classes.items(), key=lambda each: each[1])[0][0]


def _box(found: Detection) -> tuple[float, float, float, float]:
    return found.left, found.top, found.right, found.bottom


def _centre(box: F64) -> F64:
    return (box[:2] + box[2:]) / 2


def _grown(boxes: F64, part: float) -> F64:
    more = part * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - more, boxes[:, 2:] + more], axis=1)


def _overlaps(these: F64, those: F64) -> F64:
    """Return the IoU of each of these boxes (m, 4) with each of those (n, 4), as (m, n)."""
    near = np.maximum(these[:, None, :2], those[None, :, :2])
    far = np.minimum(these[:, None, 2:], those[None, :, 2:])
    shared = (far - near).clip(0).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).clip(0).prod(axis=1) for each in (these, those)]
    whole = areas[0][:, None] + areas[1] - shared
    overlap: F64 = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return overlap


# -- counting ------------------------------------------------------------------------------------


class Crossing(NamedTuple):
    """An object that has crossed a line.

    Attributes
    ----------
    track : Track
    direction : str
        ``left`` or ``right`` over a line that is more upright than level, ``up`` or ``down`` over
        any other.
    """

    track: Track
    direction: str


class LineCounter:
    """Counts the objects whose centre crosses a line.

    One that stays on the line, or trembles there, is not counted: its centre has to go to the other
    side by a twentieth of the box's diagonal.  One that comes back is counted again.

    Parameters
    ----------
    line : (x1, y1, x2, y2)
        Two points, in pixels.

    Attributes
    ----------
    counts : dict from str to dict from str to int
        For each class, how many have crossed in each direction.

    Raises
    ------
    DarknetError
        The two points are the same, or are not numbers.
    """

    def __init__(self, line: Line) -> None:
        x1, y1, x2, y2 = line
        if not all(map(math.isfinite, line)) or (x1, y1) == (x2, y2):
            raise DarknetError(
                "this is not a line", expected="two different points", found=f"{line}"
            )
        self.line = line
        self.counts: dict[str, dict[str, int]] = {}
        self._sides: dict[int, tuple[bool, Point]] = {}

    def __repr__(self) -> str:
        """Return one line about it."""
        number = sum(sum(each.values()) for each in self.counts.values())
        return brief(self, f"{number} crossings of {', '.join(f'{each:g}' for each in self.line)}")

    def update(self, tracks: Iterable[Track]) -> list[Crossing]:
        """Take the tracks of the next frame.

        Parameters
        ----------
        tracks : iterable of Track

        Returns
        -------
        crossings : list of Crossing
            Those that have crossed since the frame before: each a ``track`` and a ``direction``.
        """
        crossings = []
        for track in tracks:
            at = track.trail[-1]
            distance = _distance(self.line, at)
            size = math.hypot(track.right - track.left, track.bottom - track.top)
            before = self._sides.get(track.number)
            side = distance > 0
            if abs(distance) <= _BAND * size:
                continue
            self._sides[track.number] = side, at
            if before is None or before[0] == side or not _meet(self.line, before[1], at):
                continue
            crossing = Crossing(track, self._direction(before[1], at))
            of_class = self.counts.setdefault(track.label, {})
            of_class[crossing.direction] = of_class.get(crossing.direction, 0) + 1
            crossings.append(crossing)
        return crossings

    def _direction(self, start: Point, end: Point) -> str:
        x1, y1, x2, y2 = self.line
        if abs(y2 - y1) >= abs(x2 - x1):
            # Which side is right does not depend on where along the line it crosses.
            return "right" if (_distance(self.line, end) > 0) == (y2 < y1) else "left"
        return "down" if (_distance(self.line, end) > 0) == (x2 > x1) else "up"


def _distance(line: Line, at: Point) -> float:
    """Return how far a point is from a line; positive on the right hand of who goes along it."""
    x1, y1, x2, y2 = line
    cross = (x2 - x1) * (at[1] - y1) - (y2 - y1) * (at[0] - x1)
    return cross / math.hypot(x2 - x1, y2 - y1)


def _meet(line: Line, start: Point, end: Point) -> bool:
    """Return whether the way from one point to another, on both sides of the line, meets it."""
    x1, y1, x2, y2 = line
    way = (*start, *end)
    return _cross(way, (x1, y1)) * _cross(way, (x2, y2)) <= 0


def _cross(line: Line, at: Point) -> float:
    x1, y1, x2, y2 = line
    return (x2 - x1) * (at[1] - y1) - (y2 - y1) * (at[0] - x1)
