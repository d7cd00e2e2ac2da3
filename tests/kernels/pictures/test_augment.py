"""Turning, placing and recolouring: what Debian's Darknet gives, what OpenCV gives, then laws."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt
import pytest

from darknet_bn.kernels.pictures.augment import (
    crop_resize_image,
    distort_image,
    flip_image,
    gaussian_blur,
    hsv_to_rgb,
    place_image,
    rgb_to_hsv,
    rotate_crop_image,
)
from tests.support.debian import Image, program

F32 = npt.NDArray[np.float32]

# Places are computed in float32 in C and here, in another order: up to some 1e-6 of a pixel in
# pictures of 60, times the step of 1 between two pixels.
TOLERANCE = 1e-5


def picture(h: int = 40, w: int = 57) -> F32:
    """Noise with a patch of grey, of black and of white, where the hue is not defined."""
    im = np.random.default_rng(h * w).random((3, h, w), np.float32)
    im[:, 3:6, 5:9] = 0.5
    im[:, 7, 7:9] = 0
    im[:, 8] = 1
    return im


def assert_close(x: F32, y: F32) -> None:
    assert x.dtype == y.dtype == np.float32
    assert x.shape == y.shape
    np.testing.assert_allclose(x, y, rtol=0, atol=TOLERANCE)


# -- pjreddie's program --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rad", "s", "dx", "dy", "aspect"),
    [(0, 1.3, 2.5, -3, 1.1), (0.3, 0.7, 0, 5, 0.8), (-2, 2, 1, 1, 1), (0, 0.4, 9, 0, 1)],
)
def test_rotate_crop_image(rad: float, s: float, dx: float, dy: float, aspect: float) -> None:
    floats = [ctypes.c_float] * 3
    turn = program(
        "rotate_crop_image",
        *(Image, *floats[:2], ctypes.c_int, ctypes.c_int, *floats),
        returns=Image,
    )
    im = picture()
    result = turn(Image.of(im), rad, s, 30, 24, dx, dy, aspect)
    expected = np.ctypeslib.as_array(result.data, (3, 24, 30)).copy()
    program("free_image", Image)(result)
    assert_close(rotate_crop_image(im, rad, s, 30, 24, dx, dy, aspect), expected)


@pytest.mark.parametrize(
    ("w", "h", "dx", "dy"),
    [(30, 20, 3, 4), (80, 90, -10, 5), (57, 40, 0, 0), (10, 10, 53, 45), (9, 9, 70, 0)],
)
def test_place_image(w: int, h: int, dx: int, dy: int) -> None:
    place = program("place_image", Image, *[ctypes.c_int] * 4, Image)
    im, expected = picture(), np.full((3, 50, 60), 0.25, np.float32)
    canvas = expected.copy()
    place(Image.of(im), w, h, dx, dy, Image.of(expected))
    place_image(im, w, h, dx, dy, canvas)
    assert_close(canvas, expected)


def test_rgb_to_hsv_and_back() -> None:
    there, back = program("rgb_to_hsv", Image), program("hsv_to_rgb", Image)
    im = picture()
    expected, hsv = im.copy(), rgb_to_hsv(im)
    there(Image.of(expected))
    expected[0][np.isnan(expected[0])] = 0  # the hue of grey
    assert_close(hsv, expected)
    expected = hsv.copy()
    back(Image.of(expected))
    assert_close(hsv_to_rgb(hsv), expected)


@pytest.mark.parametrize(
    ("hue", "saturation", "exposure"),
    [(0.1, 1.5, 1.5), (-0.1, 0.6, 0.7), (0.5, 2, 0.5), (-0.9, 1, 1.5), (0, 1, 1), (0, 1, 0.2)],
)
def test_distort_image(hue: float, saturation: float, exposure: float) -> None:
    distort = program("distort_image", Image, *[ctypes.c_float] * 3)
    im = picture()
    expected = im.copy()
    distort(Image.of(expected), hue, saturation, exposure)
    assert_close(distort_image(im, hue, saturation, exposure), expected)


def test_flip_image() -> None:
    im = picture()
    expected = im.copy()
    program("flip_image", Image)(Image.of(expected))
    assert np.array_equal(flip_image(im), expected)


# -- OpenCV --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dx", "dy", "width", "height", "w", "h"),
    [
        (-5, 3, 50, 30, 33, 21),
        (0, 0, 57, 40, 100, 90),
        (4, 4, 70, 70, 20, 20),
        (10, 10, 5, 5, 16, 16),
        (-9, -9, 90, 90, 30, 31),
    ],
)
def test_crop_resize_image(dx: int, dy: int, width: int, height: int, w: int, h: int) -> None:
    cv2 = pytest.importorskip("cv2")
    im, outside = picture(), np.array([0.1, 0.5, 0.9], np.float32)
    frame = np.pad(im, ((0, 0), (100, 100), (100, 100)), constant_values=-1)
    frame = np.where(frame < 0, outside[:, None, None], frame)
    part = frame[:, 100 + dy : 100 + dy + height, 100 + dx : 100 + dx + width]
    resized = cv2.resize(part.transpose(1, 2, 0).copy(), (w, h), interpolation=cv2.INTER_LINEAR)
    found = crop_resize_image(im, dx, dy, width, height, w, h, outside=outside)
    assert_close(found, resized.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9, 17, 101])
def test_gaussian_blur(size: int) -> None:
    cv2 = pytest.importorskip("cv2")
    im = picture()
    expected = cv2.GaussianBlur(im.transpose(1, 2, 0).copy(), (size, size), 0)
    assert_close(gaussian_blur(im, size), expected.transpose(2, 0, 1))


# -- laws ----------------------------------------------------------------------------------------


def test_nothing_changes_where_nothing_is_asked_for() -> None:
    im = picture()
    canvas = np.zeros_like(im)
    place_image(im, 57, 40, 0, 0, canvas)
    for same in (
        canvas,
        rotate_crop_image(im, 0, 1, 57, 40, 0, 0, 1),
        crop_resize_image(im, 0, 0, 57, 40, 57, 40, outside=np.zeros(3, np.float32)),
        distort_image(im, 0, 1, 1),
        flip_image(flip_image(im)),
    ):
        assert_close(same, im)
    assert_close(hsv_to_rgb(rgb_to_hsv(im)), im)


def test_grey_pictures_change_in_brightness() -> None:
    im = picture()[:1]  # pjreddie's program ends here
    assert np.array_equal(distort_image(im, 0.1, 1.5, 1.5), np.minimum(im * np.float32(1.5), 1))


def test_a_hue_once_around_is_the_same() -> None:
    im = picture()
    assert_close(distort_image(im, 1, 1, 1), distort_image(im, -1, 1, 1))
    assert_close(distort_image(im, 1 / 3, 1, 1)[[1, 2, 0]], im)


def test_the_picture_itself_is_left_as_it_is() -> None:
    im = picture()
    before = im.copy()
    distort_image(im, 0.2, 2, 2)
    gaussian_blur(im, 3)
    flip_image(im)[:] = 0
    assert np.array_equal(im, before)


def test_colours_of_large_pictures_do_not_depend_on_where_bands_end() -> None:
    im = np.random.default_rng(3).random((3, 150, 211), np.float32)
    whole = distort_image(im, 0.1, 1.5, 0.8)
    assert np.array_equal(whole[:, 100:], distort_image(im[:, 100:], 0.1, 1.5, 0.8))
