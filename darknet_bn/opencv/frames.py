"""From a picture to a blob, as ``cv2.dnn.blobFromImage`` makes it.

Pixels of eight bits come out the same to the bit: OpenCV resizes them in integers, with weights of
11 bits.  For floating-point pixels OpenCV has several implementations, which differ by some 4e-6 of
the largest value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32, F64
from darknet_bn.errors import ImageError

Size = tuple[int, int]
Picture = npt.NDArray[Any]

_ONE = 2048  # the weight 1 in OpenCV's integers
_CHANNELS = (1, 3, 4)


def blob_of(
    frame: npt.ArrayLike, size: Size, scale: F64, mean: F64, *, swap: bool, crop: bool
) -> F32:
    """Return a picture as a blob (1, c, height, width).

    Parameters
    ----------
    frame : array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)
        The pixels, as uint8 or other numbers.
    size : (width, height)
        The size of the blob.
    scale, mean : float64 arrays (4,)
        The blob is ``scale * (pixel - mean)``, with one number of each per channel of the blob.
    swap : bool
        Whether to swap the first and the third channel.
    crop : bool
        Whether the picture keeps its shape and loses what sticks out at two sides; if not, it is
        stretched.

    Raises
    ------
    ImageError
        It is not a picture.
    """
    pixels = np.asarray(frame)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in _CHANNELS or not pixels.size:
        raise ImageError(
            "the frame is not a picture",
            expected="an array (height, width, 3), or with 1 or 4 channels, or none",
            found=f"{np.shape(frame)}",
        )
    if pixels.dtype.kind not in "uif":
        raise ImageError(
            "the frame does not hold numbers", expected="uint8", found=f"{pixels.dtype}"
        )
    pixels = _fitted(pixels, size, crop=crop)
    if swap and pixels.shape[2] > 1:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    blob = pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    channels = (len(blob), 1, 1)
    blob -= mean[: len(blob)].astype(np.float32).reshape(channels)
    blob *= scale[: len(blob)].astype(np.float32).reshape(channels)
    return blob[None]


def _fitted(pixels: Picture, size: Size, *, crop: bool) -> Picture:
    height, width = pixels.shape[:2]
    if size == (width, height):
        return pixels
    if not crop:
        return resized(pixels, size, (size[0] / width, size[1] / height))
    # OpenCV computes the factor in float32, and takes sizes to the nearest even number.
    ratios = np.array(size, np.float32) / np.array([width, height], np.float32)
    factor = float(ratios.max())
    whole = round(width * factor), round(height * factor)
    left, top = ((each - part) // 2 for each, part in zip(whole, size, strict=True))
    pixels = resized(pixels, whole, (factor, factor))
    return pixels[top : top + size[1], left : left + size[0]]


def resized(pixels: Picture, size: Size, factors: tuple[float, float]) -> Picture:
    """Return a picture resized, interpolated between the four nearest pixels.

    Parameters
    ----------
    pixels : array (h, w, c)
    size : (width, height)
    factors : (in x, in y)
        The scale in each direction; it is near the ratio of the sizes, but may differ.

    Returns
    -------
    pixels : array (height, width, c), of uint8 if the picture is, else of float32
    """
    scale_x, scale_y = 1 / factors[0], 1 / factors[1]
    (width, height), (h, w) = size, pixels.shape[:2]
    integers = pixels.dtype == np.uint8
    if scale_x == 2 and scale_y == 2 and h >= 2 * height and w >= 2 * width:
        return _halved(pixels, size)
    x, across = _between(w, width, scale_x)
    y, down = _between(h, height, scale_y)
    edge = (x < 0) | (x >= w - 1)  # OpenCV limits columns to the picture here, and rows below
    across[edge] = 0
    x = np.clip(x, 0, w - 1)
    rows = [np.clip(each, 0, h - 1) for each in (y, y + 1)]
    columns = x, np.minimum(x + 1, w - 1)
    ahead, below = _weights(across, integers)[:, :, None], _weights(down, integers)
    wide = np.int32 if integers else np.float32
    upper, lower = (
        np.take(pixels[row], columns[0], 1).astype(wide) * ahead[0]
        + np.take(pixels[row], columns[1], 1).astype(wide) * ahead[1]
        for row in rows
    )
    before, after = (each[:, None, None] for each in below)
    if not integers:
        return _like(upper * before + lower * after, pixels)
    mixed = (((upper >> 4) * before) >> 16) + (((lower >> 4) * after) >> 16)
    result: Picture = ((mixed + 2) >> 2).astype(np.uint8)
    return result


def _between(count: int, wanted: int, scale: float) -> tuple[npt.NDArray[np.intp], F32]:
    """Return for each new pixel the index of the one before it, and its distance from that."""
    at = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    before = np.floor(at)
    return before.astype(np.intp), at - before


def _weights(towards: F32, integers: bool) -> npt.NDArray[Any]:
    """Return the weights (2, k) of two neighbours."""
    weights = np.stack([1 - towards, towards])
    return np.rint(weights * _ONE).astype(np.int32) if integers else weights


def _halved(pixels: Picture, size: Size) -> Picture:
    """Return the means of squares of four pixels, as OpenCV makes a picture half as large."""
    wide = pixels[: 2 * size[1], : 2 * size[0]]
    wide = wide.astype(np.int32 if pixels.dtype == np.uint8 else np.float32)
    total = wide[::2, ::2] + wide[::2, 1::2] + wide[1::2, ::2] + wide[1::2, 1::2]
    if pixels.dtype == np.uint8:
        return ((total + 2) >> 2).astype(np.uint8)
    return _like(total * np.float32(0.25), pixels)


def _like(values: F32, pixels: Picture) -> Picture:
    """Return the values, rounded if the pixels are integers."""
    return values if pixels.dtype.kind == "f" else np.rint(values)
