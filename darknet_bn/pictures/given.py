"""A picture in any form that a program may have it in."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError, DarknetWarning, ImageError, Where, one_line
from darknet_bn.pictures.images import (
    CHANNELS,
    OPAQUE,
    from_bytes,
    grey_of,
    has_alpha,
    load_image,
    planes_of,
)

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | npt.NDArray[Any] | Image"
Order = Literal["rgb", "bgr"]

_EXPECTED = (
    "a path, the bytes of a file, an array uint8 (h, w, 3) or float (3, h, w), or a PIL image"
)


def as_planes(picture: Picture, channels: int = 3, order: Order = "rgb") -> F32:
    """Return a picture as `load_image` reads it, in whatever form it is.

    Parameters
    ----------
    picture : path, bytes, array, or PIL image
        A file, or the content of one; an array uint8 (h, w, c) or (h, w), as Pillow and OpenCV have
        them, or of floats (c, h, w) from 0 to 1, as `load_image` has them.
    channels : 3, 1 or 4
        As in `load_image`.  Arrays of floats must have as many.
    order : "rgb" or "bgr"
        Of the channels of arrays; OpenCV's is the latter.

    Returns
    -------
    im : float32 array (channels, h, w)

    Raises
    ------
    ImageError
        It is none of these, or cannot be read.
    DarknetError
        There is no such order.

    Warns
    -----
    DarknetWarning
        As in `load_image`.
    """
    require_order(order)
    if isinstance(picture, (str, os.PathLike, bytes)):
        return load_image(picture, channels)
    if isinstance(picture, bytearray):
        return load_image(bytes(picture), channels)
    if isinstance(picture, np.ndarray):
        if np.issubdtype(picture.dtype, np.floating):
            return _of_floats(picture, channels, order)
        return _of_levels(picture, channels, order)
    pillow = sys.modules.get("PIL.Image")  # if nobody has imported it, this is none of its images
    if pillow is not None and isinstance(picture, pillow.Image):
        return _of_pillow(picture, channels)
    raise ImageError("this is not a picture", expected=_EXPECTED, found=type(picture).__name__)


def require_order(order: str) -> None:
    """Refuse an order of channels that there is not."""
    if order not in ("rgb", "bgr"):
        raise DarknetError(
            "unknown order of channels", expected="'rgb' or 'bgr'", found=f"{order!r}"
        )


def _of_floats(array: npt.NDArray[Any], channels: int, order: Order) -> F32:
    if array.ndim != 3 or array.shape[0] != channels or not array.size:
        hint = None
        if array.ndim == 3 and array.shape[2] == channels:
            hint = "the channels come first: im.transpose(2, 0, 1)"
        raise _unlike(array, f"floats ({channels}, h, w), from 0 to 1", hint)
    if order == "bgr":
        array = array[_turned(channels)]
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def _of_levels(array: npt.NDArray[Any], channels: int, order: Order) -> F32:
    levels = array[:, :, None] if array.ndim == 2 else array
    known = levels.dtype == np.uint8 and levels.ndim == 3 and levels.shape[2] in CHANNELS
    if not known or not levels.size:
        hint = None
        if levels.dtype == np.uint8 and levels.ndim == 3 and levels.shape[0] in CHANNELS:
            hint = "the channels come last: im.transpose(1, 2, 0)"
        elif levels.ndim == 4:
            hint = "list(im) is a list of pictures"
        raise _unlike(array, "uint8 (h, w, 3), or floats (3, h, w) from 0 to 1", hint)
    given = levels.shape[2]
    if order == "bgr":
        levels = levels[:, :, _turned(given)]
    if given == channels:
        return from_bytes(levels)
    if channels == 1:
        return from_bytes(grey_of(levels[:, :, :3].transpose(2, 0, 1)).transpose(1, 2, 0))
    colours = from_bytes(levels[:, :, :3] if given > 1 else np.repeat(levels, 3, 2))
    if channels == 3:
        return colours
    _warn_opaque()
    return np.concatenate([colours, np.ones_like(colours[:1])])


def _of_pillow(picture: Image, channels: int) -> F32:
    try:
        picture.load()
        planes = planes_of(picture, channels, Where())
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("there is not enough memory for the picture") from error
    except Exception as error:  # damaged files make decoders raise nearly anything
        reason = one_line(error) or type(error).__name__
        raise ImageError(f"the picture is damaged or cut off: {reason}") from error
    if channels == 4 and not has_alpha(picture):
        _warn_opaque()
    return planes


def _turned(channels: int) -> list[int]:
    """Return where red, green and blue are if they come the other way round; alpha stays last."""
    return [2, 1, 0, 3][:channels] if channels > 1 else [0]


def _warn_opaque() -> None:
    warnings.warn(OPAQUE, DarknetWarning, stacklevel=4)


def _unlike(array: npt.NDArray[Any], expected: str, hint: str | None) -> ImageError:
    return ImageError(
        "the array is not a picture",
        expected=expected,
        found=f"{array.dtype} {array.shape}",
        hint=hint,
    )
