"""Pictures from files and into files: what Darknet reads, and what users have."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from darknet_bn import DarknetError, ShapeError
from darknet_bn.errors import DarknetWarning, ImageError
from darknet_bn.pictures.images import image_format, letterbox_image, load_image, save_image
from tests.support.debian import Image as DarknetImage
from tests.support.debian import program
from tests.support.pictures import COLOURS, PNGS, PREPROCESS, U8, encoded, planes, png

GREY: U8 = COLOURS[:, :, 0].copy()


# -- what the programs gave ----------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "b"])
@pytest.mark.parametrize("path", PNGS, ids=lambda path: path.stem)
def test_a_png_gives_the_bits_of_darknet(path: Path, letter: str) -> None:
    with np.load(path.with_suffix(".npz")) as arrays:
        expected = arrays[f"{letter}_load_image_color"]
    im = load_image(path)
    assert im.dtype == np.float32
    assert im.flags.c_contiguous
    np.testing.assert_array_equal(im, expected)


@pytest.mark.parametrize("letter", ["a", "b"])
@pytest.mark.parametrize("name", ["dog_crop_77x53.png", "noise_13x9.png"])
def test_a_shared_png_gives_the_bits_of_darknet(shared: Path, name: str, letter: str) -> None:
    path = shared / "golden/preprocess" / name
    with np.load(path.with_suffix(".npz")) as arrays:
        np.testing.assert_array_equal(load_image(path), arrays[f"{letter}_load_image_color"])


@pytest.mark.parametrize("letter", ["a", "b"])
def test_a_jpeg_is_near_that_of_darknet(shared: Path, letter: str) -> None:
    path = shared / "golden/preprocess/dog_crop_45x91.jpg"
    with np.load(path.with_suffix(".npz")) as arrays:
        expected = arrays[f"{letter}_load_image_color"]
    # Decoders round the inverse cosine transform and the colours each in their own way: the two
    # programs are up to 3 levels of 255 apart themselves.
    np.testing.assert_allclose(load_image(path), expected, rtol=0, atol=0.012)


def test_a_letterbox_is_exactly_what_pjreddie_feeds(shared: Path) -> None:
    models = shared / "golden/models"
    report = json.loads((models / "yolov3-tiny/dog_oracle_a.json").read_text(encoding="utf-8"))
    expected = report["own_path"]["input"]["sha256_of_float32_little_endian"]
    boxed = letterbox_image(load_image(models / "inputs/dog_a_decoded.png"), 416, 416)
    assert hashlib.sha256(boxed.astype("<f4").tobytes()).hexdigest() == expected


# -- kinds of pictures ---------------------------------------------------------------------------

RNG = np.random.default_rng(8)
WORDS = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)  # all bits of a 16-bit picture
PALETTE = np.array([[10, 20, 30], [200, 0, 90], [7, 255, 128]], np.uint8)
INDICES: U8 = RNG.integers(0, 3, (6, 5), dtype=np.uint8)
ALPHA: U8 = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
ALPHA[0, 0] = 0  # all transparent, and yet its colour counts


def palette_picture() -> Image.Image:
    picture = Image.fromarray(INDICES).convert("L")
    picture.putpalette(PALETTE.tobytes())
    return picture


def with_alpha(pixels: U8) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.putalpha(Image.fromarray(ALPHA))
    return picture


def animation() -> bytes:
    frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "lime", "blue")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def words_png(colour: int, words: npt.NDArray[np.uint16]) -> bytes:
    height, width = words.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in words)
    return png(width, height, 16, colour, rows)


COLOUR_WORDS = RNG.integers(0, 65536, (6, 5, 3), dtype=np.uint16)
RED = np.broadcast_to(np.array([255, 0, 0], np.uint8), (6, 5, 3))
CYAN_WHITE_BLACK = np.array([[[0, 255, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
INKS = Image.frombytes("CMYK", (3, 1), bytes([255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]))

KINDS = {
    "1 bit": (encoded(Image.fromarray(GREY > 99), "PNG"), planes((GREY > 99) * np.uint8(255))),
    "grey": (encoded(Image.fromarray(GREY), "PNG"), planes(GREY)),
    "grey with alpha": (encoded(with_alpha(GREY), "PNG"), planes(GREY)),
    "palette": (encoded(palette_picture(), "PNG"), planes(PALETTE[INDICES])),
    "palette with alpha": (
        encoded(palette_picture(), "PNG", transparency=b"\0\x80\xff"),
        planes(PALETTE[INDICES]),
    ),
    "colour": (encoded(Image.fromarray(COLOURS), "PNG"), planes(COLOURS)),
    "colour with alpha": (encoded(with_alpha(COLOURS), "PNG"), planes(COLOURS)),
    "colour, BMP": (encoded(Image.fromarray(COLOURS), "BMP"), planes(COLOURS)),
    "colour, TGA": (encoded(Image.fromarray(COLOURS), "TGA"), planes(COLOURS)),
    "colour, WebP": (encoded(Image.fromarray(COLOURS), "WEBP", lossless=True), planes(COLOURS)),
    "inks": (encoded(INKS, "TIFF"), planes(CYAN_WHITE_BLACK)),
    "animation": (animation(), planes(RED)),
    # Both decoders of Darknet keep the high byte of 16 bits.
    "grey, 16 bit": (words_png(0, WORDS), planes(WORDS >> 8)),
    "grey, 16 bit, TIFF": (encoded(Image.fromarray(WORDS), "TIFF"), planes(WORDS >> 8)),
    "colour, 16 bit": (words_png(2, COLOUR_WORDS), planes(COLOUR_WORDS >> 8)),
    "grey, 16 bit, PGM": (
        b"P5 5 6 65535\n" + WORDS.astype(">u2").tobytes(),
        planes(WORDS >> 8),
    ),
    "grey, 32 bit": (
        encoded(Image.fromarray(WORDS.astype(np.int32)), "TIFF"),
        planes(WORDS >> 8),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_gives_its_colours(kind: str) -> None:
    data, expected = KINDS[kind]
    np.testing.assert_array_equal(load_image(data), expected)


ALPHAS = {
    "grey with alpha": ALPHA,
    "colour with alpha": ALPHA,
    "palette with alpha": np.array([0, 128, 255], np.uint8)[INDICES],
}


@pytest.mark.parametrize("kind", ALPHAS)
def test_with_four_channels_the_last_is_alpha(kind: str) -> None:
    data, expected = KINDS[kind]
    im = load_image(data, 4)
    np.testing.assert_array_equal(im[:3], expected)
    np.testing.assert_array_equal(im[3], (ALPHAS[kind] / 255).astype(np.float32))


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - ALPHAS.keys()))
def test_a_picture_without_alpha_is_opaque_with_a_warning(kind: str) -> None:
    data, expected = KINDS[kind]
    with pytest.warns(DarknetWarning) as caught:
        im = load_image(data, 4)
    np.testing.assert_array_equal(im, [*expected, np.ones_like(expected[0])])
    text = "the picture has no alpha channel and is treated as opaque (alpha 1)"
    assert [str(each.message) for each in caught] == [text]
    assert caught[0].filename == __file__


def test_the_warning_names_the_file() -> None:
    path = PREPROCESS / "gradient_31x17.png"
    with pytest.warns(
        DarknetWarning, match=rf"^{re.escape(str(path))}: the picture has no alpha channel"
    ):
        load_image(path, 4)


def test_alpha_is_turned_with_the_colours() -> None:
    picture = with_alpha(COLOURS)
    exif = Image.Exif()
    exif[0x0112] = 6
    im = load_image(encoded(picture, "PNG", exif=exif), 4)
    np.testing.assert_array_equal(im, np.rot90(load_image(encoded(picture, "PNG"), 4), -1, (1, 2)))


def test_darknet_reads_the_same_four_channels() -> None:
    kinds = (ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int)
    read = program("load_image", *kinds, returns=DarknetImage)
    path = PREPROCESS / "rgba_10x15.png"
    theirs = read(str(path).encode(), 0, 0, 4)
    planes_of = np.ctypeslib.as_array(theirs.data, (theirs.c, theirs.h, theirs.w))
    np.testing.assert_array_equal(load_image(path, 4), planes_of)


def test_four_channels_are_written_and_read(tmp_path: Path) -> None:
    im = load_image(KINDS["colour with alpha"][0], 4)
    save_image(tmp_path / "out.png", im)
    np.testing.assert_array_equal(load_image(tmp_path / "out.png", 4), im)
    with pytest.raises(ImageError, match="cannot be written as JPEG"):
        save_image(tmp_path / "out.jpg", im)


def test_floats_from_0_to_1_are_taken_as_they_are() -> None:
    values = np.random.default_rng(9).random((6, 5), np.float32)
    data = encoded(Image.fromarray(values), "TIFF")
    np.testing.assert_array_equal(load_image(data), [values] * 3)
    np.testing.assert_array_equal(load_image(data, 1), [values])


def test_inks_in_a_jpeg() -> None:
    field = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    im = load_image(encoded(field, "JPEG", quality=100))
    # A field of one colour loses nothing but the rounding of the transform, one level of 255.
    np.testing.assert_allclose(
        im, np.broadcast_to([[[0]], [[1]], [[1]]], im.shape), atol=1.01 / 255
    )


@pytest.mark.parametrize("kind", ["grey", "1 bit", "grey with alpha", "grey, 16 bit"])
def test_grey_stays_as_it_is_in_one_channel(kind: str) -> None:
    data, expected = KINDS[kind]
    np.testing.assert_array_equal(load_image(data, 1), expected[:1])


def test_colours_become_grey_as_in_stb_image() -> None:
    colours = np.array([[[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]]])
    data = encoded(Image.fromarray(colours.astype(np.uint8)), "PNG")
    # (77 r + 150 g + 29 b) // 256
    expected = np.array([[[255, 76, 149, 28, 8]]], np.float32) / np.float32(255)
    np.testing.assert_array_equal(load_image(data, 1), expected)


# -- orientation ---------------------------------------------------------------------------------

# The EXIF standard says for each orientation where the stored row 0 and column 0 belong.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored(pixels: U8, orientation: int) -> U8:
    """How a camera stores upright pixels (h, w, 3)."""
    height, width = pixels.shape[:2]
    row_side, column_side = SIDES[orientation]
    if row_side in ("left", "right"):  # a stored row is an upright column
        out = np.empty((width, height, 3), np.uint8)
        for i in range(width):
            line = pixels[:, i if row_side == "left" else width - 1 - i]
            out[i] = line if column_side == "top" else line[::-1]
        return out
    out = np.empty_like(pixels)
    for i in range(height):
        line = pixels[i if row_side == "top" else height - 1 - i]
        out[i] = line if column_side == "left" else line[::-1]
    return out


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", SIDES)
def test_pictures_are_turned_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.repeat(np.repeat(COLOURS[:2, :3], 16, axis=0), 16, axis=1)
    picture = Image.fromarray(stored(pixels, orientation))
    options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    im = load_image(encoded(picture, kind, exif=exif, **options))
    # JPEG smears colours over the edges of the fields, so look at the middle of each.
    exact = kind != "JPEG"
    seen, expected = (
        (im, planes(pixels)) if exact else (im[:, 8::16, 8::16], planes(COLOURS[:2, :3]))
    )
    np.testing.assert_allclose(seen, expected, rtol=0, atol=0 if exact else 0.02)
    assert im.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(COLOURS), "PNG", exif=exif)
    np.testing.assert_array_equal(load_image(data), planes(COLOURS))


def test_damaged_exif_data_are_ignored() -> None:
    for junk in (
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0nothing of the kind",
        b"Exif\0\0II*\0",
    ):
        data = encoded(Image.fromarray(COLOURS), "PNG", exif=junk)
        np.testing.assert_array_equal(load_image(data), planes(COLOURS))


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="the system has no /dev/fd")
def test_a_pipe_can_be_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, PNGS[0].read_bytes())
    os.close(writing)
    try:
        np.testing.assert_array_equal(load_image(f"/dev/fd/{reading}"), load_image(PNGS[0]))
    finally:
        os.close(reading)


# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".ppm", ".PNG"])
def test_what_is_written_is_read_again(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    im = planes(COLOURS)
    save_image(path, im, force=True)
    np.testing.assert_array_equal(load_image(path), im)
    save_image(path, im[:1], force=True)
    np.testing.assert_array_equal(load_image(path, 1), im[:1])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_what_is_written_with_loss_is_near(suffix: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    im = np.stack(np.broadcast_arrays(ramp, ramp[:, None], np.float32(0.5)))
    save_image(tmp_path / f"out{suffix}", im, force=True)
    # Quality 95 of a smooth picture loses some levels of 255; a wrong plane would be far off.
    np.testing.assert_allclose(load_image(tmp_path / f"out{suffix}"), im, rtol=0, atol=0.05)


def test_values_are_rounded_and_kept_in_range(tmp_path: Path) -> None:
    im = np.array([[[-1, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1e9, np.inf]]], np.float32)
    save_image(tmp_path / "out.png", im, force=True)
    levels = np.rint(load_image(tmp_path / "out.png", 1) * 255)
    assert levels.tolist() == [[[0, 0, 1, 255, 255, 255]]]


def test_a_single_pixel_keeps_its_colour(tmp_path: Path) -> None:
    im = planes(COLOURS)[:, :1, :1]
    save_image(tmp_path / "out.png", im, force=True)
    np.testing.assert_array_equal(load_image(tmp_path / "out.png"), im)


@pytest.mark.parametrize("name", ["out", "out.txt", "out.png.old", ".png"])
def test_the_name_must_tell_the_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for refused in (
        lambda: image_format(path),
        lambda: save_image(path, planes(COLOURS), force=True),
    ):
        with pytest.raises(ImageError, match=r"which picture format.*expected \.bmp, \.jpeg"):
            refused()
    assert not list(tmp_path.iterdir())


def test_the_format_follows_the_suffix(tmp_path: Path) -> None:
    assert image_format("a/b.c/dog.JPG") == "JPEG"
    for suffix in ("bmp", "jpg", "png", "ppm", "tif", "webp"):
        path = tmp_path / f"out.{suffix}"
        save_image(path, planes(COLOURS), force=True)
        with Image.open(path) as picture:
            assert picture.format == image_format(path)


def test_what_a_format_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.webp"
    path.write_bytes(b"old")
    with pytest.raises(ImageError, match="cannot be written as WEBP"):
        save_image(path, np.zeros((3, 1, 20_000), np.float32), force=True)
    assert path.read_bytes() == b"old"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DarknetError, match="the folder does not exist"):
        save_image(tmp_path / "no" / "out.png", planes(COLOURS), force=True)


@pytest.mark.parametrize("channels", [2, 5])
def test_only_grey_and_colour_are_written(channels: int, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="1, 3 or 4 channels"):
        save_image(tmp_path / "out.png", np.zeros((channels, 2, 2), np.float32), force=True)


def test_threads_that_decode_leave_the_filters_of_warnings_alone() -> None:
    data = encoded(Image.fromarray(COLOURS), "PNG")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: load_image(data), range(200)))
    assert list(warnings.filters) == before
