"""Read and write pictures, and resize, fit and crop them as Darknet does.  C: ``src/image.c``.

A picture is a float32 array (c, h, w): planes in the order red, green, blue, with values from 0 to
1, and no mean subtracted.  Pillow (``pip install 'darknet-bn[image]'``) only decodes and encodes
files; the code that resizes pictures is in `darknet_bn.kernels.pictures.resize`.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetWarning, ImageError, ShapeError, Where, one_line
from darknet_bn.formats.reading import open_file
from darknet_bn.formats.writing import write_files
from darknet_bn.kernels.floating import PICTURE_HINT
from darknet_bn.kernels.pictures.resize import (
    as_picture,
    center_crop_image,
    crop_image,
    letterbox_image,
    resize_image,
    resize_min,
)
from darknet_bn.optional import load_extra
from darknet_bn.pictures.suffixes import by_suffix
from darknet_bn.work import measured
from darknet_bn.work.cuts import fitting, pieces

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "CHANNELS",
    "MOST_PIXELS",
    "center_crop_image",
    "crop_image",
    "from_bytes",
    "image_format",
    "letterbox_image",
    "load_image",
    "resize_image",
    "resize_min",
    "save_image",
    "to_bytes",
]

MOST_PIXELS = 1 << 25
"""The pixels that any picture may have: an 8K frame, which takes half a GiB of memory."""
_MOST_OF_PHOTOGRAPHS = 89_478_485  # Pillow's limit, for files as large as photographs
_PIXELS_PER_BYTE = 50  # pixels per byte: photographs have 2 to 20, decompression bombs 1000

U8: TypeAlias = npt.NDArray[np.uint8]

# The formats of cameras, the web and Darknet's own decoder.  Others are refused: for an EPS,
# Pillow would run another program.
_READ = (
    *("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG"),
    *("PPM", "PSD", "TGA", "TIFF", "WEBP"),
)
_WRITTEN = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
CHANNELS = (1, 3, 4)
"""How many channels a picture may have: grey, colour, or colour and alpha."""

OPAQUE = "the picture has no alpha channel and is treated as opaque (alpha 1)"

_QUALITY = 95  # for JPEG and WebP; Pillow's own default, 75, smears thin lines
_ORIENTATION = 0x0112  # the EXIF tag
_TURNED = (5, 6, 7, 8)  # the values of the tag that exchange rows and columns


def load_image(source: str | os.PathLike[str] | bytes, channels: int = 3) -> F32:
    """Read a picture.

    Parameters
    ----------
    source : path, or bytes
        A file, or its content.
    channels : 3, 1 or 4
        Colour, grey, or colour and alpha.

    Returns
    -------
    im : float32 array (channels, h, w)
        Red, green and blue, or grey, from 0 to 1; alpha is 1 if the picture is opaque.

    Raises
    ------
    ImageError
        Pillow is not installed; the file cannot be read, is truncated, damaged or not a picture; it
        has more than ``MOST_PIXELS`` pixels, in which case nothing is decoded; its values have no
        known white; or ``source`` is an array, as OpenCV reads pictures.

    Warns
    -----
    DarknetWarning
        Alpha is asked for, but the picture has none: it is read as opaque.

    Notes
    -----
    C: ``load_image`` in ``src/image.c``.  With 1 or 3 channels the alpha channel is dropped, and
    the colour under it shows, as in Darknet.  Only the first picture of an animation is read, and
    only the high byte of 16-bit values.  Grey is ``(77 r + 150 g + 29 b) // 256``, as in
    ``stb_image.h``.  The orientation in EXIF data is applied, as in builds of Darknet with OpenCV.
    JPEG decoders may differ by a few levels of 255; Pillow uses the same one as OpenCV.
    """
    if channels not in CHANNELS:
        raise ImageError("pictures can be read with 1, 3 or 4 channels", found=f"{channels}")
    if isinstance(source, np.ndarray):
        raise ImageError(
            "an array is not a file",
            expected="a path, or the bytes of a file",
            found=f"{source.dtype} {source.shape}",
            hint=PICTURE_HINT.format(name="im"),
        )
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), channels, Where())
    where = Where(file=os.fspath(source))
    with open_file(source, ImageError, piped=True) as stream:
        return _decode(stream, channels, where)


def save_image(path: str | os.PathLike[str], im: F32, *, force: bool = False) -> None:
    """Write a picture to a file that appears whole, or not at all.

    Parameters
    ----------
    path : path
        The suffix says which format: see `image_format`.
    im : float32 array (3, h, w), (1, h, w) or, with alpha, (4, h, w)
        The picture, which is rounded to 8 bits; values below 0 and above 1 become 0 and 1.
    force : bool
        Whether to overwrite an existing file.

    Raises
    ------
    ImageError
        Pillow is not installed, the suffix is unknown, or the format cannot hold the picture.
    DarknetError
        The file already exists and ``force`` is off, or it cannot be written.
    ShapeError
        ``im`` is not a picture.
    """
    where = Where(file=os.fspath(path))
    kind = image_format(path)
    pixels = to_bytes(im)
    channels = pixels.shape[2]
    if channels not in CHANNELS:
        raise ShapeError("a picture has 1, 3 or 4 channels", where=where, found=f"{channels}")
    picture = require_pillow(where).fromarray(pixels if channels > 1 else pixels[:, :, 0])
    encoded = io.BytesIO()
    try:
        picture.save(encoded, kind, quality=_QUALITY)
    except (OSError, ValueError, KeyError) as error:  # KeyError: this Pillow lacks the encoder
        raise ImageError(f"cannot be written as {kind}: {error}", where=where) from error
    write_files({Path(path): lambda stream: stream.write(encoded.getbuffer())}, force=force)


def image_format(path: str | os.PathLike[str]) -> str:
    """Return the format in which `save_image` writes a file of this name.

    Raises
    ------
    ImageError
        The suffix is unknown.
    """
    return by_suffix(path, _WRITTEN, "picture")


def require_pillow(where: Where | None = None) -> types.ModuleType:
    """Return ``PIL.Image``.

    Raises
    ------
    ImageError
        Pillow is not installed; the message says how to install it.
    """
    image: types.ModuleType = load_extra("PIL.Image", error=ImageError, where=where)
    return image


def _decode(stream: BinaryIO, channels: int, where: Where) -> F32:
    """Read the planes of a picture; any failure becomes an ImageError."""
    pillow = require_pillow(where)
    with _one_line(pillow, stream, where):
        most = _most_pixels(stream)
        with _opened(pillow, stream) as picture:
            if picture.width * picture.height > most:
                raise ImageError(
                    "the picture is too large",
                    where=where,
                    expected=f"at most {most} pixels",
                    found=f"{picture.width} x {picture.height}",
                    hint="scale it down first; the network input is smaller anyway",
                )
            picture.load()
            opaque = channels == 4 and not has_alpha(picture)
            planes = planes_of(picture, channels, where)
    if opaque:
        place = f"{where}: " if where.file else ""
        text = f"{place}{OPAQUE}"
        warnings.warn(text, DarknetWarning, stacklevel=3)  # at the caller of `load_image`
    return planes


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return the width and height that `load_image` gives a picture; only its header is read.

    Raises
    ------
    ImageError
        As of `load_image`, as far as the header shows it.
    """
    where = Where(file=os.fspath(path))
    pillow = require_pillow(where)
    with (
        open_file(path, ImageError) as stream,
        _one_line(pillow, stream, where),
        _opened(pillow, stream) as picture,
    ):
        width, height = picture.size
        return (height, width) if _orientation(picture) in _TURNED else (width, height)


def _opened(pillow: Any, stream: BinaryIO) -> Image:
    pillow.init()
    opened: Image = pillow.open(stream, formats=[each for each in _READ if each in pillow.OPEN])
    return opened


class _QuietPillow:
    """Silence for Pillow's warnings about odd metadata, which do not concern us.

    Filters of warnings belong to all threads, so the first thread that decodes sets one and the
    last removes it: if each did both, they would restore each other's filters.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._filters = contextlib.ExitStack()

    @contextlib.contextmanager
    def hold(self, refused: type[Warning]) -> Iterator[None]:
        """In the block, silence these warnings, except for one that is raised."""
        with self._lock:
            if self._holders == 0:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                warnings.simplefilter("error", refused)
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._filters.close()


_quiet_pillow = _QuietPillow()


def _most_pixels(stream: BinaryIO) -> int:
    """Return how many pixels a picture may have: more for a file that is large itself."""
    if not stream.seekable():
        return MOST_PIXELS
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return max(MOST_PIXELS, min(_MOST_OF_PHOTOGRAPHS, _PIXELS_PER_BYTE * size))


@contextlib.contextmanager
def _one_line(pillow: Any, stream: BinaryIO, where: Where) -> Iterator[None]:
    """In the block, turn Pillow's warnings and exceptions into one ImageError."""
    bomb = (pillow.DecompressionBombWarning, pillow.DecompressionBombError)
    with _quiet_pillow.hold(pillow.DecompressionBombWarning):
        try:
            yield
        except ImageError:
            raise
        except MemoryError as error:
            raise ImageError("there is not enough memory for the picture", where=where) from error
        except bomb as error:
            raise ImageError(
                "the picture is too large",
                where=where,
                expected=f"at most {_most_pixels(stream)} pixels",
                hint="scale it down first; the network input is smaller anyway",
            ) from error
        except pillow.UnidentifiedImageError as error:
            empty = stream.seekable() and stream.seek(0, os.SEEK_END) == 0
            raise ImageError(
                "the file is empty" if empty else "not a picture, or its header is damaged",
                where=where,
                expected=f"one of {', '.join(_READ)}",
            ) from error
        except Exception as error:  # damaged files make decoders raise nearly anything
            reason = one_line(error) or type(error).__name__
            raise ImageError(f"the picture is damaged or cut off: {reason}", where=where) from error


def planes_of(picture: Image, channels: int, where: Where) -> F32:
    """Return (channels, h, w) of a decoded picture of any mode, turned as the EXIF data say."""
    width, height = picture.size
    orientation = _orientation(picture)
    sides = (width, height) if orientation in _TURNED else (height, width)
    planes = np.empty((channels, *sides), np.float32)
    lying = _as_stored(planes, orientation)
    planes[3:] = 255  # opaque, if nothing else is known
    if picture.mode == "F":
        lying[:3] = _within(np.asarray(picture), 1, where)
        planes[3:] = 1
        return planes
    if picture.mode.startswith("I;16"):
        lying[:3] = np.asarray(picture) >> 8
    elif picture.mode == "I":  # how Pillow returns the 16 bits of a PPM and of some other formats
        lying[:3] = _within(np.asarray(picture), 65535, where) >> 8
    else:
        rows = fitting(measured.PICTURE_STRIP, width)
        for some in pieces(height, rows):  # in strips: the whole would be in memory four times
            levels = _levels(picture.crop((0, some.start, width, some.stop)), channels)
            lying[: len(levels), some] = levels
    planes /= np.float32(255)
    return planes


def has_alpha(picture: Image) -> bool:
    """Tell whether a picture of Pillow's says how opaque its pixels are."""
    return picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info


def _levels(picture: Image, channels: int) -> npt.NDArray[np.uint8]:
    """Return the levels (channels, h, w) of a picture in a colour mode."""
    kind = "RGBA" if channels == 4 and has_alpha(picture) else "RGB"
    colours: npt.NDArray[np.uint8] = np.asarray(picture.convert(kind)).transpose(2, 0, 1)
    return colours if channels > 1 else grey_of(colours)


def grey_of(colours: U8) -> U8:
    """Return the grey levels (1, h, w) of red, green and blue ones (3, h, w), as ``stb_image.h``.

    Parameters
    ----------
    colours : uint8 array (3, h, w)
    """
    r, g, b = colours.astype(np.uint16)
    grey: npt.NDArray[np.uint16] = (77 * r + 150 * g + 29 * b) >> 8  # they add up to 256
    return grey[None].astype(np.uint8)


def _within(values: npt.NDArray[Any], white: int, where: Where) -> npt.NDArray[Any]:
    """Return values of 32 bits if they are between black and a usual white level."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):
        raise ImageError(
            "it is unclear which of its 32-bit values is white",
            where=where,
            expected=f"values from 0 to {white}",
            found=f"{low:.6g} to {high:.6g}",
        )
    return values


def _orientation(picture: Image) -> int:
    """Return how a picture is oriented in its file, as the EXIF data say."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data are not a reason to refuse the picture
        return 1
    return found if isinstance(found, int) else 1


def _as_stored(upright: F32, orientation: int) -> F32:
    """Return a view of planes (c, h, w) with the orientation that they have in the file."""
    if orientation in (3, 4, 7, 8):
        upright = upright[:, ::-1]
    if orientation in (2, 3, 6, 7):
        upright = upright[:, :, ::-1]
    return upright.swapaxes(1, 2) if orientation in _TURNED else upright


def _unit(levels: npt.NDArray[Any]) -> F32:
    """Divide levels from 0 to 255 as C does, in float32; the result is C-contiguous."""
    values = np.array(levels, np.float32, order="C")
    values /= np.float32(255)
    return values


def to_bytes(im: F32) -> U8:
    """Round a picture (c, h, w) to uint8 (h, w, c), as files and windows take it.

    Values below 0 and above 1 become 0 and 255.  Pictures from 8-bit files come back unchanged.
    """
    levels = np.clip(as_picture(im), 0, 1) * np.float32(255)
    return np.ascontiguousarray(np.rint(levels).astype(np.uint8).transpose(1, 2, 0))


def from_bytes(pixels: U8) -> F32:
    """Return uint8 (h, w, c) as a picture (c, h, w).

    Parameters
    ----------
    pixels : uint8 array (h, w, c)
        Channels in the order red, green, blue, as in Pillow.  OpenCV's arrays are blue, green, red:
        pass ``pixels[:, :, ::-1]``.

    Raises
    ------
    ShapeError
        It is a different kind of array.
    """
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3):
        array = isinstance(pixels, np.ndarray)
        raise ShapeError(
            "this array is not a picture of bytes",
            expected="uint8 (h, w, c)",
            found=f"{pixels.dtype} {pixels.shape}" if array else type(pixels).__name__,
        )
    return _unit(pixels.transpose(2, 0, 1))
