"""Draw what was found in a frame of a video: boxes, where tracks came from, and a line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from darknet_bn.pictures.images import U8
from darknet_bn.predictions.drawing import (
    Detected,
    canvas_of,
    class_colour,
    draw_boxes,
    draw_label,
)
from darknet_bn.predictions.tracks import LineCounter, Track

if TYPE_CHECKING:
    from PIL.Image import Image

_SMOOTH = 2  # points of a trail on each side that a drawn one is the mean of
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


class _Numbered:
    """A track as it is drawn: its label begins with its number."""

    def __init__(self, track: Track) -> None:
        self.label = f"#{track.number} {track.label}"
        self.class_id, self.probability = track.class_id, track.probability
        self.left, self.top = track.left, track.top
        self.right, self.bottom = track.right, track.bottom


def draw_tracks(
    pixels: U8,
    found: Sequence[Detected],
    counter: LineCounter | None = None,
    *,
    font: str | os.PathLike[str] | None = None,
) -> U8:
    """Draw detections or tracks into a copy of a frame.

    Parameters
    ----------
    pixels : uint8 array (h, w, 3)
    found : sequence of Detection or Track
        The trail of a track is drawn too.
    counter : LineCounter, optional
        Its line is drawn, with how many have crossed it.
    font : path, optional
        As of `draw_detections`.

    Returns
    -------
    drawn : uint8 array (h, w, 3)

    Raises
    ------
    ImageError, ShapeError
        As of `draw_detections`.
    """
    canvas = canvas_of(pixels)
    for each in found:
        if isinstance(each, Track):
            _draw_trail(canvas, each)
    if counter is not None:
        _draw_line(canvas, counter)
    draw_boxes(
        canvas, [_Numbered(each) if isinstance(each, Track) else each for each in found], font
    )
    if counter is not None:
        _draw_counts(canvas, counter)  # above all boxes
    return np.array(canvas)


def _draw_trail(canvas: Image, track: Track) -> None:
    from PIL import ImageDraw

    if len(track.trail) > 1:
        width = max(1, round(sum(canvas.size) / 450))
        # The means of several: boxes tremble from frame to frame.
        last = len(track.trail)
        around = [track.trail[max(0, at - _SMOOTH) : at + _SMOOTH + 1] for at in range(last)]
        points = [tuple(np.mean(each, axis=0).tolist()) for each in around]
        ImageDraw.Draw(canvas).line(points, class_colour(track.class_id), width, joint="curve")


def _draw_line(canvas: Image, counter: LineCounter) -> None:
    from PIL import ImageDraw

    draw, width = ImageDraw.Draw(canvas), max(1, round(sum(canvas.size) / 450))
    x1, y1, x2, y2 = counter.line
    draw.line((x1, y1, x2, y2), _BLACK, 3 * width)
    draw.line((x1, y1, x2, y2), _WHITE, width)


def _draw_counts(canvas: Image, counter: LineCounter) -> None:
    """Write at the first point of a line how many have crossed it in each direction."""
    ways: dict[str, int] = {}
    for each in counter.counts.values():
        for way, number in each.items():
            ways[way] = ways.get(way, 0) + number
    text = ", ".join(f"{number} {way}" for way, number in sorted(ways.items())) or "0"
    draw_label(canvas, text, counter.line[:2])
