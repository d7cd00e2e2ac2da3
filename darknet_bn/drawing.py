"""Draw what was detected into a picture: boxes, each with its class and probability."""

from __future__ import annotations

import colorsys
import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ImageError, ShapeError, Where
from darknet_bn.images import from_bytes, to_bytes
from darknet_bn.kernels.image import as_picture

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Colour: TypeAlias = tuple[int, int, int]
Rectangle: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom; the last two included

_GOLDEN = (math.sqrt(5) - 1) / 2  # of a turn: the next hue lies far from all before it
_FIRST_HUE = 0.58
_SHADES = ((0.80, 1.00), (0.95, 0.75), (0.50, 1.00))  # saturation and value, in turn
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_SMALLEST_TEXT = 9  # pixels; below, letters cannot be told apart


class Detected(Protocol):
    """What is to be drawn; any object with these attributes will do.

    Attributes
    ----------
    label : str
        The name of the class.
    class_id : int
        Decides the colour.
    probability : float
        From 0 to 1.
    left, top, right, bottom : float
        The box in pixels, from the upper left corner of the picture; it may reach outside.
    """

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def class_id(self) -> int: ...  # noqa: D102
    @property
    def probability(self) -> float: ...  # noqa: D102
    @property
    def left(self) -> float: ...  # noqa: D102
    @property
    def top(self) -> float: ...  # noqa: D102
    @property
    def right(self) -> float: ...  # noqa: D102
    @property
    def bottom(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class _Label:
    """A line of text in a coloured field that is not placed yet."""

    text: str
    font: FreeTypeFont
    width: int
    height: int
    pad: int


def draw_detections(
    im: F32, detections: Iterable[Detected], *, font: str | os.PathLike[str] | None = None
) -> F32:
    """Draw detections into a copy of a picture.

    Lines and letters grow with the picture.  Labels lie inside the picture and, where there is
    room, not on each other; the more probable lie above the less probable.

    Parameters
    ----------
    im : float32 array (3, h, w) or (1, h, w)
        From 0 to 1.
    detections : iterable of Detected
        Boxes outside of the picture, or with a side that is not a number, are left out.
    font : path, optional
        A TrueType or OpenType font.  Pillow's own, the default, has the letters of ASCII only:
        accents are dropped, and ``class 3`` stands for a name in another script.

    Returns
    -------
    drawn : float32 array (3, h, w)
        In colour, also where the picture is grey; rounded to 8 bits.

    Raises
    ------
    ImageError
        Pillow is absent, or the font cannot be read.
    ShapeError
        ``im`` is no picture.
    """
    channels, height, width = as_picture(im).shape
    if channels not in (1, 3):
        raise ShapeError("a picture has 1 or 3 channels", found=f"{channels}")
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise ImageError(
            "Pillow is needed for pictures", hint="pip install 'darknet-bn[image]'"
        ) from error
    canvas = Image.fromarray(to_bytes(np.broadcast_to(im, (3, height, width))))
    draw = ImageDraw.Draw(canvas)
    line = max(1, round((width + height) / 450))
    likeliest_last = sorted(detections, key=lambda each: each.probability)
    boxes = [(each, _clipped(each, width, height)) for each in likeliest_last]
    shown = [(each, box) for each, box in boxes if box is not None]
    for each, box in shown:
        thinner = min(line, 1 + min(box[2] - box[0], box[3] - box[1]) // 4)
        draw.rectangle(box, outline=class_colour(each.class_id), width=thinner)
    text_height = max(_SMALLEST_TEXT, round((width + height) / 75))
    placed: list[tuple[Detected, _Label, Rectangle]] = []
    for each, box in reversed(shown):
        label = _label(_text(each, plain=font is None), text_height, width, font)
        field = _place(label, box, width, height, [other for _, _, other in placed])
        placed.append((each, label, field))
    for each, label, field in reversed(placed):
        colour = class_colour(each.class_id)
        draw.rectangle(field, fill=colour)
        baseline = (field[0] + label.pad, field[3] - label.pad - label.font.getmetrics()[1] + 1)
        draw.text(baseline, label.text, fill=_ink(colour), font=label.font, anchor="ls")
    return from_bytes(np.asarray(canvas))


def class_colour(class_id: int) -> Colour:
    """Return the colour of a class as red, green and blue from 0 to 255.

    It depends on the number only; neighbours differ much, and the first 1000 all differ.
    """
    hue = (_FIRST_HUE + class_id * _GOLDEN) % 1
    saturation, value = _SHADES[class_id % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _ink(field: Colour) -> Colour:
    """Return black or white, whichever stands out more: WCAG's contrast by relative luminance."""
    linear = ((np.array(field) / 255 + 0.055) / 1.055) ** 2.4
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return _BLACK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else _WHITE


def _clipped(detected: Detected, width: int, height: int) -> Rectangle | None:
    """Return the pixels of a box that lie in the picture; None if there are none."""
    sides = (detected.left, detected.top, detected.right, detected.bottom)
    left, top, right, bottom = sides
    if any(math.isnan(side) for side in sides) or right < left or bottom < top:
        return None
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return None
    x0 = min(round(max(left, 0)), width - 1)
    y0 = min(round(max(top, 0)), height - 1)
    x1 = max(x0, round(min(right, width)) - 1)
    y1 = max(y0, round(min(bottom, height)) - 1)
    return x0, y0, x1, y1


def _text(detected: Detected, *, plain: bool) -> str:
    """Return class and probability in one line; in ASCII if ``plain``."""
    name = " ".join(detected.label.split())
    if plain and not name.isascii():
        letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        name = letters if any(c.isalnum() for c in letters) else f"class {detected.class_id}"
    return f"{name} {detected.probability:.0%}".strip()


def _label(text: str, height: int, room: int, path: str | os.PathLike[str] | None) -> _Label:
    """Set a text in letters of a height, or in smaller ones if it is wider than the room."""
    font = _font(height, path)
    pad = max(1, height // 6)
    needed = math.ceil(font.getlength(text)) + 2 * pad
    if needed > room and height > _SMALLEST_TEXT:
        smaller = max(_SMALLEST_TEXT, min(height - 1, height * room // needed))
        return _label(text, smaller, room, path)
    ascent, descent = font.getmetrics()
    return _Label(text, font, needed, ascent + descent + pad, pad)


def _font(size: int, path: str | os.PathLike[str] | None) -> FreeTypeFont:
    from PIL import ImageFont

    if path is None:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)  # it is, whenever a size is given
        return font
    try:
        return ImageFont.truetype(os.fspath(path), size)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"the font cannot be read: {error}", where=Where(file=os.fspath(path))
        ) from error


def _place(
    label: _Label, box: Rectangle, width: int, height: int, taken: Sequence[Rectangle]
) -> Rectangle:
    """Find the field of a label: the first place with the least of it on other labels."""
    left, top, right, bottom = box
    w, h = label.width, label.height
    rows = (top - h, top, bottom - h + 1, bottom + 1)
    step = max(1, h)
    more = (top + step * each for each in range(1, 1 + max(0, bottom - top) // step))
    best, least = None, math.inf
    for y in (*rows[:2], *more, *rows[2:]):
        for x in (left, right - w + 1):
            field = _inside(x, y, w, h, width, height)
            hidden = sum(_overlap(field, other) for other in taken)
            if hidden < least:
                best, least = field, hidden
            if not least:
                break
    assert best is not None
    return best
