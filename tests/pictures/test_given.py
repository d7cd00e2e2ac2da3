"""A picture is the same planes in whatever form a program has it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import darknet_bn as dn
from darknet_bn.pictures.given import as_planes
from tests.support.paths import FIXTURES

PNGS = FIXTURES / "preprocess"
RGB, RGBA, GREY = (PNGS / f"{name}.png" for name in ("gradient_31x17", "rgba_10x15", "gray_21x12"))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("path", [RGB, RGBA, GREY], ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:the picture has no alpha", "ignore:.*png. the picture has no")
def test_files_bytes_and_images_of_pillow_are_the_same(path: Path, channels: int) -> None:
    expected = dn.load_image(path, channels)
    content = path.read_bytes()
    for form in (path, str(path), content, bytearray(content), Image.open(path)):
        found = as_planes(form, channels)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("path", "mode"), [(RGB, "RGB"), (RGBA, "RGBA"), (GREY, "L")], ids=["RGB", "RGBA", "L"]
)
@pytest.mark.filterwarnings("ignore:the picture has no alpha", "ignore:.*png. the picture has no")
def test_arrays_of_levels_are_the_same(path: Path, mode: str, channels: int) -> None:
    with Image.open(path) as picture:
        levels = np.asarray(picture.convert(mode))
    expected = dn.load_image(path, channels)
    np.testing.assert_array_equal(as_planes(levels, channels), expected)
    if mode == "L":
        np.testing.assert_array_equal(as_planes(levels[:, :, None], channels), expected)
        np.testing.assert_array_equal(as_planes(levels, channels, "bgr"), expected)
    else:
        turned = levels[:, :, [2, 1, 0, 3][: levels.shape[2]]]
        np.testing.assert_array_equal(as_planes(turned, channels, "bgr"), expected)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_arrays_of_floats_are_the_same(kind: type) -> None:
    expected = dn.load_image(RGB)
    np.testing.assert_array_equal(as_planes(expected.astype(kind)), expected)
    np.testing.assert_array_equal(as_planes(expected[::-1].astype(kind), order="bgr"), expected)


def test_the_orientation_of_an_image_of_pillow_counts() -> None:
    with Image.open(RGB) as picture:
        exif = Image.Exif()
        exif[0x0112] = 6
        stream = io.BytesIO()
        picture.convert("RGB").save(stream, "PNG", exif=exif)
    turned = as_planes(Image.open(io.BytesIO(stream.getvalue())))
    np.testing.assert_array_equal(turned, dn.load_image(stream.getvalue()))
    assert turned.shape == (3, 31, 17)


def test_alpha_that_is_not_there_is_warned_of() -> None:
    with Image.open(RGB) as picture:
        levels = np.asarray(picture.convert("RGB"))
        for form in (picture, levels):
            with pytest.warns(dn.DarknetWarning, match="no alpha channel and is treated as opaque"):
                assert (as_planes(form, 4)[3] == 1).all()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (None, r"this is not a picture \(expected a path, .* or a PIL image, found NoneType\)"),
        (3, "found int"),
        (np.zeros((3, 4, 5), np.uint8), r"channels come last: im.transpose\(1, 2, 0\)"),
        (np.zeros((4, 5, 3), np.float32), r"channels come first: im.transpose\(2, 0, 1\)"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"list\(im\) is a list of pictures"),
        (np.zeros((4, 5, 3), np.uint16), r"found uint16 \(4, 5, 3\)"),
        (np.zeros((0, 5, 3), np.uint8), r"found uint8 \(0, 5, 3\)"),
        (np.zeros((1, 4, 5), np.float32), r"floats \(3, h, w\)"),
        (b"no picture", "not a picture, or its header is damaged"),
        (RGB.read_bytes()[:200], "damaged or cut off"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture(form: Any, message: str) -> None:
    with pytest.raises(dn.ImageError, match=message):
        as_planes(form)


def test_an_image_of_pillow_that_is_cut_off() -> None:
    picture = Image.open(io.BytesIO(RGB.read_bytes()[:200]))
    with pytest.raises(dn.ImageError, match="damaged or cut off"):
        as_planes(picture)


def test_an_order_that_there_is_not() -> None:
    with pytest.raises(dn.DarknetError, match=r"unknown order of channels .*'gbr'"):
        as_planes(RGB, order="gbr")  # type: ignore[arg-type]  # on purpose
