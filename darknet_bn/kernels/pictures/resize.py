"""Resize, fit and crop pictures in float32, bit for bit as Darknet does.  C: ``src/image.c``.

A picture is (c, h, w): planes of values from 0 to 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError
from darknet_bn.kernels.floating import floating


@floating
def resize_image(im: F32, w: int, h: int, *, mend_last_row: bool = False) -> F32:
    """Stretch a picture: bilinear, with corner pixels aligned to corner pixels.

    Parameters
    ----------
    im : float32 array (c, H, W)
    w, h : int
        The new size in pixels.
    mend_last_row : bool
        Darknet leaves the last row nearly black if ``(h-1) * ((H-1)/(h-1))`` rounds to less than
        ``H-1``, as for 333 rows to 320 and about one in 25 pairs of heights.  The default is to do
        the same; True uses the last row of ``im``.

    Returns
    -------
    resized : float32 array (c, h, w)

    Raises
    ------
    ShapeError
        ``im`` is not a picture, or the size is not at least 1 x 1.

    Notes
    -----
    C: ``resize_image`` in ``src/image.c``, bit for bit.  If ``h`` is 1, C divides by 0 and gives
    NaN; here the first row is used.
    """
    c, height, width = as_picture(im).shape
    _check_size(w, h)
    if (h, w) == (height, width):
        return im.copy()
    left, dx = _places(width, w)
    left[-1], dx[-1] = width - 1, 0
    right = np.minimum(left + 1, width - 1)
    upper, dy = _places(height, h)
    if mend_last_row:
        upper[-1] = height - 1
    lower = np.minimum(upper + 1, height - 1)
    from_upper, from_lower = (1 - dy)[:, None], dy[:, None].copy()
    from_lower[-1] = 0  # C skips this term, which causes the dark row
    if mend_last_row:
        from_upper[-1] = 1
    used = np.unique(np.concatenate((upper, lower)))
    upper, lower = np.searchsorted(used, upper), np.searchsorted(used, lower)
    resized = np.empty((c, h, w), np.float32)
    for plane, out in zip(im, resized, strict=True):  # one plane at a time stays in cache
        rows = plane[used] if len(used) < height else plane
        part = rows.take(left, 1)
        part *= 1 - dx
        more = rows.take(right, 1)
        more *= dx
        part += more
        np.multiply(part.take(upper, 0), from_upper, out=out)
        more = part.take(lower, 0)
        more *= from_lower
        out += more
    return resized


def _places(old: int, new: int) -> tuple[npt.NDArray[np.intp], F32]:
    """Return, for each new pixel, the old one at or before it, and how far past that one it is."""
    if new == 1:
        return np.zeros(1, np.intp), np.zeros(1, np.float32)
    scale = np.float32(old - 1) / np.float32(new - 1)
    place = np.arange(new, dtype=np.float32) * scale
    before = place.astype(np.intp)
    return before, place - before.astype(np.float32)


@floating
def letterbox_image(im: F32, w: int, h: int, *, mend_last_row: bool = False) -> F32:
    """Fit a picture into a size without distortion, between bars of grey 0.5.

    Parameters
    ----------
    im : float32 array (c, H, W)
    w, h : int
        The new size in pixels.
    mend_last_row : bool
        As in `resize_image`.

    Returns
    -------
    boxed : float32 array (c, h, w)
        All grey if the picture is so narrow that less than one row or column of it remains.

    Raises
    ------
    ShapeError
        As in `resize_image`.

    Notes
    -----
    C: ``letterbox_image`` in ``src/image.c``.
    """
    c, height, width = as_picture(im).shape
    _check_size(w, h)
    if np.float32(w) / np.float32(width) < np.float32(h) / np.float32(height):
        new_w, new_h = w, height * w // width
    else:
        new_w, new_h = width * h // height, h
    boxed = np.full((c, h, w), 0.5, np.float32)
    if new_w and new_h:
        x, y = (w - new_w) // 2, (h - new_h) // 2
        resized = resize_image(im, new_w, new_h, mend_last_row=mend_last_row)
        boxed[:, y : y + new_h, x : x + new_w] = resized
    return boxed


@floating
def crop_image(im: F32, dx: int, dy: int, w: int, h: int) -> F32:
    """Cut out a part of a picture; outside it, the nearest border pixel is repeated.

    Parameters
    ----------
    im : float32 array (c, H, W)
    dx, dy : int
        The column and row of ``im`` at which the part begins; may be negative.
    w, h : int
        The size of the part in pixels.

    Returns
    -------
    part : float32 array (c, h, w)

    Raises
    ------
    ShapeError
        ``im`` is not a picture, or the size is not at least 1 x 1.

    Notes
    -----
    C: ``crop_image`` in ``src/image.c``.
    """
    _, height, width = as_picture(im).shape
    _check_size(w, h)
    rows = np.clip(np.arange(dy, dy + h), 0, height - 1)
    columns = np.clip(np.arange(dx, dx + w), 0, width - 1)
    return im[:, rows[:, None], columns]


@floating
def center_crop_image(im: F32, w: int, h: int, *, mend_last_row: bool = False) -> F32:
    """Cut out the largest centred square, and stretch it to a size.

    Parameters
    ----------
    im : float32 array (c, H, W)
    w, h : int
        The new size in pixels.
    mend_last_row : bool
        As in `resize_image`.

    Returns
    -------
    resized : float32 array (c, h, w)

    Raises
    ------
    ShapeError
        As in `resize_image`.

    Notes
    -----
    C: ``center_crop_image`` in ``src/image.c`` of pjreddie's Darknet.
    """
    _, height, width = as_picture(im).shape
    side = min(height, width)
    square = crop_image(im, (width - side) // 2, (height - side) // 2, side, side)
    return resize_image(square, w, h, mend_last_row=mend_last_row)


@floating
def resize_min(im: F32, m: int, *, mend_last_row: bool = False) -> F32:
    """Scale a picture so that its shorter side becomes ``m`` pixels.

    Parameters
    ----------
    im : float32 array (c, H, W)
    m : int
        The new length of the shorter side in pixels.
    mend_last_row : bool
        As in `resize_image`.

    Returns
    -------
    resized : float32 array (c, h, w)
        The longer side is rounded down.

    Raises
    ------
    ShapeError
        As in `resize_image`.

    Notes
    -----
    C: ``resize_min`` in ``src/image.c``.
    """
    _, height, width = as_picture(im).shape
    if width < height:
        return resize_image(im, m, height * m // width, mend_last_row=mend_last_row)
    return resize_image(im, width * m // height, m, mend_last_row=mend_last_row)


@floating
def as_picture(im: F32) -> F32:
    """Return the array if it is a valid picture.

    Raises
    ------
    ShapeError
        It is not float32, does not have three axes, or is empty.
    """
    if im.dtype != np.float32 or im.ndim != 3 or im.size == 0:
        raise ShapeError(
            "this is not a picture",
            expected="a float32 array (c, h, w)",
            found=f"{im.dtype} {im.shape}",
        )
    return im


def _check_size(w: int, h: int) -> None:
    if w < 1 or h < 1:
        raise ShapeError(
            "the size of the picture is not valid", expected="at least 1 x 1", found=f"{w} x {h}"
        )
