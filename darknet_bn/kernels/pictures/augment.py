"""Rotate, shift, stretch and recolour pictures for training.  C: ``src/image.c``.

A picture is (c, h, w): planes of values from 0 to 1.  Nothing here is random: all random values are
passed in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.kernels.floating import floating
from darknet_bn.kernels.pictures.resize import as_picture
from darknet_bn.work import measured
from darknet_bn.work.cuts import pieces

Numbers = npt.NDArray[np.intp]

_SMALL_BELLS = {  # windows for which OpenCV has a table
    1: (1.0,),
    3: (0.25, 0.5, 0.25),
    5: (0.0625, 0.25, 0.375, 0.25, 0.0625),
    7: (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125),
    9: tuple(share / 256 for share in (4, 13, 30, 51, 60, 51, 30, 13, 4)),
}
_ZERO, _TWO, _FOUR, _SIX = (np.float32(number) for number in (0, 2, 4, 6))
_BLACK = np.zeros(1, np.float32)
_BLACK.flags.writeable = False


class _Taps(NamedTuple):
    """Where each new pixel is along an axis: between which two old pixels, and how far along."""

    before: Numbers
    behind: Numbers
    share: F32


@floating
def rotate_crop_image(
    im: F32, rad: float, s: float, w: int, h: int, dx: float, dy: float, aspect: float
) -> F32:
    """Rotate and scale a picture around its centre, and cut a part out of the middle.

    Parameters
    ----------
    im : float32 array (c, H, W)
    rad : float
        The angle, in radians.
    s : float
        Scale: how many new pixels high an old pixel becomes.
    w, h : int
        The size of the part in pixels.
    dx, dy : float
        How far the part is to the right of and below the centre, in its own pixels.
    aspect : float
        How much narrower than high a pixel becomes.

    Returns
    -------
    part : float32 array (c, h, w)
        Black outside the picture.

    Notes
    -----
    C: ``rotate_crop_image`` in ``src/image.c``.
    """
    _, height, width = as_picture(im).shape
    u = ((np.arange(w) - w / 2) / s + dx / s) * aspect
    v = (np.arange(h) - h / 2) / s + dy / s
    if rad == 0:
        return _sample(im, _taps(v + height / 2), _taps(u + width / 2), _BLACK)
    cos, sin = math.cos(rad), math.sin(rad)
    x = _taps(cos * u - sin * v[:, None] + width / 2)
    y = _taps(sin * u + cos * v[:, None] + height / 2)
    part = np.zeros((len(im), h, w), np.float32)
    more = np.empty((h, w), np.float32)
    for rows, row_share in ((y.before, 1 - y.share), (y.behind, y.share)):
        for columns, column_share in ((x.before, 1 - x.share), (x.behind, x.share)):
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            share = row_share * column_share * inside
            place = np.where(inside, rows * width + columns, 0)
            for plane, out in zip(im.reshape(len(im), -1), part, strict=True):
                np.multiply(plane.take(place), share, out=more)
                out += more
    return part


@floating
def place_image(im: F32, w: int, h: int, dx: int, dy: int, canvas: F32) -> None:
    """Stretch a picture to a size, and put it onto another picture.

    Parameters
    ----------
    im : float32 array (c, H, W)
    w, h : int
        The size in pixels.
    dx, dy : int
        Position of its left upper corner; parts outside the canvas are dropped.
    canvas : float32 array (c, ch, cw)
        Changed in place.

    Notes
    -----
    C: ``place_image`` in ``src/image.c``.  Pixel x is read at ``x / w * W``, and the picture is
    black outside; so an enlarged picture gets dark right and lower edges.
    """
    _, height, width = as_picture(im).shape
    _, rows, columns = canvas.shape
    left, top = max(0, dx), max(0, dy)
    right, bottom = min(columns, dx + w), min(rows, dy + h)
    if left >= right or top >= bottom:
        return
    x = np.arange(left - dx, right - dx, dtype=np.float32) / np.float32(w) * np.float32(width)
    y = np.arange(top - dy, bottom - dy, dtype=np.float32) / np.float32(h) * np.float32(height)
    canvas[:, top:bottom, left:right] = _sample(im, _taps(y), _taps(x), _BLACK)


@floating
def crop_resize_image(
    im: F32, dx: int, dy: int, width: int, height: int, w: int, h: int, *, outside: F32
) -> F32:
    """Stretch a part of a picture to a size: bilinear, with borders aligned to borders.

    Parameters
    ----------
    im : float32 array (c, H, W)
    dx, dy, width, height : int
        The part; it may extend beyond the picture.
    w, h : int
        The new size in pixels.
    outside : float32 array (c,)
        The colour outside the picture.

    Returns
    -------
    resized : float32 array (c, h, w)

    Notes
    -----
    C: ``image_data_augmentation`` in AlexeyAB's ``src/image_opencv.cpp``, which applies OpenCV's
    ``resize`` with ``INTER_LINEAR`` to the part that it has cut out.
    """
    as_picture(im)
    return _sample(im, _centred(dy, height, h), _centred(dx, width, w), outside)


@floating
def flip_image(im: F32) -> F32:
    """Mirror a picture (c, h, w) left to right.  C: ``flip_image`` in ``src/image.c``."""
    return np.ascontiguousarray(im[:, :, ::-1])


@floating
def rgb_to_hsv(im: F32) -> F32:
    """Return hue, saturation and value for the colours of a picture.

    Parameters
    ----------
    im : float32 array (3, ...)
        Red, green, blue.

    Returns
    -------
    hsv : float32 array (3, ...)
        The hue goes from 0 to 1, from red back to red; the hue of grey is 0.

    Notes
    -----
    C: ``rgb_to_hsv`` in ``src/image.c``, where the hue of grey is NaN.
    """
    r, g, b = im
    value = np.maximum(np.maximum(r, g), b)
    delta = value - np.minimum(np.minimum(r, g), b)
    saturation, hue = np.zeros_like(value), np.zeros_like(value)
    np.divide(delta, value, out=saturation, where=value != 0)
    red, green = r == value, g == value
    apart = np.where(red, g - b, np.where(green, b - r, r - g))
    np.divide(apart, delta, out=hue, where=delta != 0)
    hue += np.where(red, np.where(hue < 0, _SIX, _ZERO), np.where(green, _TWO, _FOUR))
    hue *= np.float32(1 / 6)
    return np.stack((hue, saturation, value))


@floating
def hsv_to_rgb(im: F32) -> F32:
    """Return the colours for hue, saturation and value.

    Parameters
    ----------
    im : float32 array (3, ...)
        As returned by `rgb_to_hsv`.

    Returns
    -------
    rgb : float32 array (3, ...)

    Notes
    -----
    C: ``hsv_to_rgb`` in ``src/image.c``.
    """
    hue, saturation, value = im
    sixths = hue * _SIX
    most = value * saturation
    rgb = np.empty_like(im)
    for channel, start in zip(rgb, (5, 3, 1), strict=True):
        place = sixths + np.float32(start)
        place -= _SIX * (place >= _SIX)
        np.minimum(place, _FOUR - place, out=place)
        np.clip(place, 0, 1, out=place)
        place *= most
        np.subtract(value, place, out=channel)
    return rgb


@floating
def distort_image(im: F32, hue: float, saturation: float, exposure: float) -> F32:
    """Shift the hue of a picture, and scale its saturation and brightness.

    Parameters
    ----------
    im : float32 array (c, h, w)
        If it does not have three channels, only the brightness of the first channel changes.
    hue : float
        Added, from -1 to 1; 1 is a full turn.
    saturation, exposure : float
        Factors.

    Returns
    -------
    distorted : float32 array (c, h, w)
        Values from 0 to 1.

    Notes
    -----
    C: ``distort_image`` and ``constrain_image`` in ``src/image.c``; pjreddie's version accepts only
    three channels.
    """
    result = np.array(as_picture(im), order="C")
    if len(im) != 3:
        result[0] *= np.float32(exposure)
    elif (hue, saturation, exposure) != (0, 1, 1):
        pixels = result.reshape(3, -1)
        for some in pieces(pixels.shape[1], measured.RECOLOURED):
            band = pixels[:, some]
            hsv = rgb_to_hsv(band)
            hsv[0] += np.float32(hue)
            hsv[0] -= hsv[0] > 1
            hsv[0] += hsv[0] < 0
            hsv[1] *= np.float32(saturation)
            hsv[2] *= np.float32(exposure)
            band[:] = hsv_to_rgb(hsv)
    return np.clip(result, 0, 1, out=result)


@floating
def gaussian_blur(im: F32, size: int) -> F32:
    """Blur a picture.

    Parameters
    ----------
    im : float32 array (c, h, w)
    size : int
        The side of the window in pixels; odd.

    Returns
    -------
    blurred : float32 array (c, h, w)

    Notes
    -----
    As OpenCV's ``GaussianBlur`` without a sigma, which AlexeyAB's ``src/image_opencv.cpp`` uses:
    the sigma follows from the size, and borders mirror the inside.
    """
    half, window = size // 2, _bell(size)
    blurred = as_picture(im)
    for axis in (1, 2):
        frame = [(0, 0)] * 3
        frame[axis] = (half, half)
        framed, length = np.pad(blurred, frame, mode="reflect"), im.shape[axis]
        blurred = np.zeros_like(im)
        for number, share in enumerate(window):
            blurred += framed[(slice(None),) * axis + (slice(number, number + length),)] * share
    return blurred


def _bell(size: int) -> F32:
    if size in _SMALL_BELLS:
        return np.array(_SMALL_BELLS[size], np.float32)
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    bell = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    shares: F32 = (bell / bell.sum()).astype(np.float32)
    return shares


def _taps(place: F32 | F64) -> _Taps:
    """Return where the pixels at given places come from."""
    exact = place.astype(np.float32)
    before = np.floor(exact)
    number = before.astype(np.intp)
    return _Taps(number, number + 1, exact - before)


def _centred(first: int, old: int, new: int) -> _Taps:
    """Return where the new pixels come from if ``old`` pixels become ``new`` ones."""
    place = (np.arange(new, dtype=np.float64) + 0.5) * (old / new) - 0.5
    before, behind, share = _taps(np.clip(place, 0, old - 1))
    return _Taps(before + first, behind + first, share)


def _sample(im: F32, rows: _Taps, columns: _Taps, outside: F32) -> F32:
    """Return the picture at places in a grid; ``outside`` (c,), or (1,), is the colour around."""
    c, height, width = im.shape
    used, places = np.unique(np.clip(np.concatenate(rows[:2]), 0, height - 1), return_inverse=True)
    upper, lower = np.split(places.ravel(), 2)
    sampled = np.empty((c, len(upper), len(columns.share)), np.float32)
    row_share = rows.share[:, None]
    for plane, out, colour in zip(im, sampled, np.broadcast_to(outside, (c,)), strict=True):
        seen = plane[used]
        part = _take(seen, columns.before, 1, columns.before, width, colour)
        part *= 1 - columns.share
        more = _take(seen, columns.behind, 1, columns.behind, width, colour)
        more *= columns.share
        part += more
        np.multiply(_take(part, upper, 0, rows.before, height, colour), 1 - row_share, out=out)
        more = _take(part, lower, 0, rows.behind, height, colour)
        more *= row_share
        out += more
    return sampled


def _take(
    plane: F32, numbers: Numbers, axis: int, places: Numbers, size: int, outside: np.float32
) -> F32:
    """Take rows or columns of a plane by number; places outside get a single colour."""
    taken = plane.take(numbers, axis, mode="clip")
    beyond = (places < 0) | (places >= size)
    if beyond.any():
        taken[(slice(None),) * axis + (beyond,)] = outside
    return taken
