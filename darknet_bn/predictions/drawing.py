"""Draw detections into a picture: boxes, each with its class and probability."""

from __future__ import annotations

import colorsys
import functools
import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard, overload

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ImageError, ShapeError
from darknet_bn.formats.reading import open_file, reported
from darknet_bn.kernels.pictures.resize import as_picture
from darknet_bn.pictures.images import CHANNELS, U8, from_bytes, require_pillow, to_bytes

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

Colour: TypeAlias = tuple[int, int, int]
Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom; the last two included

_GOLDEN = (math.sqrt(5) - 1) / 2  # of a turn: the next hue is far from all earlier ones
_FIRST_HUE = 0.58
_SHADES = ((0.80, 1.00), (0.95, 0.75), (0.50, 1.00))  # saturation and value, in turn
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
# WCAG asks for 4.5, which one of black and white always has; the strokes of small letters are
# thinner than a pixel, and lose a little of it.
_LEAST_CONTRAST = 5.5
_DARKER = 0.95
_SMALL_TEXT = 11  # pixels: in small pictures,
_SMALLEST_TEXT = 8  # and if a label would be wider than the picture


class Detected(Protocol):
    """An object to draw; any object with these attributes will do.

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

    Notes
    -----
    If there is an attribute ``classes`` too, as in a `Detection`, its items have ``label``,
    ``class_id`` and ``probability``, and the box gets the names of all of them.
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


@overload
def draw_detections(
    im: F32, detections: Iterable[Detected], *, font: str | os.PathLike[str] | None = None
) -> F32: ...
@overload
def draw_detections(
    im: U8, detections: Iterable[Detected], *, font: str | os.PathLike[str] | None = None
) -> U8: ...
def draw_detections(
    im: F32 | U8, detections: Iterable[Detected], *, font: str | os.PathLike[str] | None = None
) -> F32 | U8:
    """Draw detections into a copy of a picture.

    Lines and letters grow with the picture.  Labels stay inside the picture and, if there is room,
    do not cover each other; the more probable are drawn above the less probable.

    Parameters
    ----------
    im : float32 array (3, h, w) or (1, h, w), or uint8 array (h, w, 3)
        Values from 0 to 1; or the levels of a `VideoFrame`.
    detections : iterable of Detected
        Boxes outside the picture, or with a side that is not a number, are left out.
    font : path, optional
        A TrueType or OpenType font.  The default is Pillow's own, which has ASCII letters only:
        accents are dropped, and a name in another script becomes ``class 3``.

    Returns
    -------
    drawn : float32 array (3, h, w), or uint8 array (h, w, 3)
        In colour, even if the picture is grey, and without alpha; rounded to 8 bits.

    Raises
    ------
    ImageError
        Pillow is absent, or the font cannot be read.
    ShapeError
        ``im`` is not a picture.
    """
    canvas = canvas_of(im)
    draw_boxes(canvas, detections, font)
    drawn: U8 = np.array(canvas)
    return drawn if _is_levels(im) else from_bytes(drawn)


def canvas_of(im: F32 | U8) -> Image:
    """Return a copy of a picture, as `draw_detections` takes it, for Pillow to draw into.

    Raises
    ------
    ImageError
        Pillow is absent.
    ShapeError
        It is not a picture.
    """
    levels: U8
    if _is_levels(im):
        if im.ndim != 3 or im.shape[2] != 3 or not im.size:
            raise ShapeError(
                "this array is not a picture",
                expected="uint8 (h, w, 3), or floats (3, h, w) from 0 to 1",
                found=f"{im.dtype} {im.shape}",
            )
        levels = np.ascontiguousarray(im)
    else:
        planes: F32 = im  # type: ignore[assignment]  # what it is not, is refused here
        channels, height, width = as_picture(planes).shape
        if channels not in CHANNELS:
            raise ShapeError("a picture has 1, 3 or 4 channels", found=f"{channels}")
        levels = to_bytes(np.broadcast_to(planes[:3], (3, height, width)))
    canvas: Image = require_pillow().fromarray(levels)
    return canvas


def _is_levels(im: F32 | U8) -> TypeGuard[U8]:
    return isinstance(im, np.ndarray) and im.dtype == np.uint8


def draw_boxes(
    canvas: Image, detections: Iterable[Detected], font: str | os.PathLike[str] | None
) -> None:
    """Draw detections into an image of Pillow's, as `draw_detections` does."""
    from PIL import ImageDraw

    width, height = canvas.size
    draw = ImageDraw.Draw(canvas)
    line = max(1, round((width + height) / 450))
    shown = []
    for each in sorted(detections, key=lambda each: each.probability):
        box = _clipped(each, width, height)
        if box is not None:
            thin = min(line, 1 + min(box[2] - box[0], box[3] - box[1]) // 4)
            draw.rectangle(box, outline=class_colour(each.class_id), width=thin)
            shown.append((each, box))
    letters = _letters(canvas)
    path = None if font is None else os.fspath(font)
    labels = [
        (each, box, _label(_text(each, plain=path is None), letters, width, path))
        for each, box in reversed(shown)
    ]
    fields = _places([(box, label) for _, box, label in labels], width, height)
    for (each, _, label), field in reversed(list(zip(labels, fields, strict=True))):
        colour = class_colour(each.class_id)
        draw.rectangle(field, fill=colour)
        start = (field[0] + label.pad, field[1] + label.baseline)
        draw.text(start, label.text, fill=_ink(colour), font=label.font, anchor="ls")


def draw_label(canvas: Image, text: str, at: tuple[float, float]) -> None:
    """Write a text in black on white near a point of an image of Pillow's, inside the image."""
    from PIL import ImageDraw

    width, height = canvas.size
    label = _label(text, _letters(canvas), width, None)
    x = min(max(0, round(at[0])), max(0, width - label.width))
    y = min(max(0, round(at[1])), max(0, height - label.height))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((x, y, x + label.width - 1, y + label.height - 1), fill=_WHITE)
    draw.text((x + label.pad, y + label.baseline), text, fill=_BLACK, font=label.font, anchor="ls")


def _letters(canvas: Image) -> int:
    """Return the height of letters in an image."""
    return max(_SMALL_TEXT, round(sum(canvas.size) / 75))


# -- colours -------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def class_colour(class_id: int) -> Colour:
    """Return the colour of a class as red, green and blue from 0 to 255.

    It depends on the number only.
    """
    hue = (_FIRST_HUE + class_id * _GOLDEN) % 1
    saturation, value = _SHADES[class_id % len(_SHADES)]
    while True:
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        colour = round(255 * red), round(255 * green), round(255 * blue)
        if _contrast(colour, _ink(colour)) >= _LEAST_CONTRAST:
            return colour
        value *= _DARKER


@functools.lru_cache(maxsize=1024)
def _ink(field: Colour) -> Colour:
    """Return black or white, whichever stands out more."""
    return max((_BLACK, _WHITE), key=lambda ink: _contrast(field, ink))


def _contrast(one: Colour, other: Colour) -> float:
    """Return WCAG's contrast of two colours: the ratio of their luminances, each plus 0.05."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Colour) -> float:
    parts = np.array(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


# -- boxes ---------------------------------------------------------------------------------------


def _clipped(detected: Detected, width: int, height: int) -> Box | None:
    """Return the pixels of a box that are in the picture; None if there are none."""
    left, top, right, bottom = detected.left, detected.top, detected.right, detected.bottom
    if not (left <= right and top <= bottom):  # with NaN, too
        return None
    if right < 0 or bottom < 0 or left > width or top > height:
        return None
    x, y = min(round(max(left, 0)), width - 1), min(round(max(top, 0)), height - 1)
    far_x, far_y = round(min(right, width)) - 1, round(min(bottom, height)) - 1
    return x, y, max(x, far_x), max(y, far_y)


# -- labels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Label:
    """A text and its field in pixels: ``pad`` is left of it, its baseline ``baseline`` down."""

    text: str
    font: FreeTypeFont
    width: int
    height: int
    pad: int
    baseline: int


def _text(detected: Detected, *, plain: bool) -> str:
    """Return all classes with their probabilities in one line, the best first."""
    classes = getattr(detected, "classes", None) or [detected]
    best = sorted(classes, key=lambda each: -each.probability)
    return ", ".join(
        _name(each.label, each.class_id, each.probability, plain=plain) for each in best
    )


def _name(label: str, class_id: int, probability: float, *, plain: bool) -> str:
    name = " ".join(label.split())
    if plain and not name.isascii():
        letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        name = letters if any(c.isalnum() for c in letters) else f"class {class_id}"
    return f"{name} {probability:.0%}".strip()


def _label(text: str, letters: int, room: int, path: str | None) -> _Label:
    """Set a text in letters of this size in pixels, or smaller if it would be too wide."""
    font = _font(letters, path)
    pad = max(1, letters // 5)
    width = math.ceil(font.getlength(text)) + 2 * pad
    if width > room and letters > _SMALLEST_TEXT:
        fitting = letters * room // width
        return _label(text, max(_SMALLEST_TEXT, min(letters - 1, fitting)), room, path)
    _, above, _, below = font.getbbox(text + "Hg", anchor="ls")
    baseline = pad - math.floor(above)
    return _Label(text, font, width, baseline + math.ceil(below) + pad, pad, baseline)


@functools.lru_cache(maxsize=16)
def _font(size: int, path: str | None) -> FreeTypeFont:
    from PIL import ImageFont

    if path is None:
        # With a size it is a FreeTypeFont; without FreeType it is an ImportError.
        return ImageFont.load_default(size)  # type: ignore[return-value]
    what = "the font cannot be read"
    with open_file(path, ImageError, what=what) as stream, reported(path, ImageError, what):
        return ImageFont.truetype(stream, size)


def _places(labels: Sequence[tuple[Box, _Label]], width: int, height: int) -> list[Box]:
    """Find a field for each label: the first along its box that hides the least."""
    taken = np.empty((len(labels), 4))
    for i, (box, label) in enumerate(labels):
        fields = _fields(box, label, width, height)
        near, far = fields[:, None, :2], fields[:, None, 2:]
        shared = np.minimum(far, taken[:i, 2:]) - np.maximum(near, taken[:i, :2]) + 1
        hidden = shared.clip(0).prod(axis=2).sum(axis=1)
        taken[i] = fields[hidden.argmin()]
    return [(int(x), int(y), int(far_x), int(far_y)) for x, y, far_x, far_y in taken]


def _fields(box: Box, label: _Label, width: int, height: int) -> npt.NDArray[np.int64]:
    """Return (n, 4) fields along a box, all in the picture: above it, down its sides, below it."""
    left, top, right, bottom = box
    rows = [top - label.height, *range(top, bottom - label.height + 1, label.height), bottom + 1]
    x = np.array([left, right - label.width + 1] * len(rows))
    y = np.repeat(rows, 2)
    x = np.clip(x, 0, max(0, width - label.width))
    y = np.clip(y, 0, max(0, height - label.height))
    return np.column_stack((x, y, x + label.width - 1, y + label.height - 1))
