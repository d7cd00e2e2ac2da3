"""Pictures become the blobs that OpenCV makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.opencv.arguments import scalar
from darknet_bn.opencv.frames import blob_of

# OpenCV's weights of floating-point pixels are rounded in another order, and on other processors
# in others: 3.7e-6 of the largest value was seen.
TOLERANCE = 1e-5


@pytest.fixture
def opencv() -> Any:
    """Any OpenCV: versions 4 and 5 make the same blobs."""
    return pytest.importorskip("cv2", reason="OpenCV is not installed")


def drawn(rng: np.random.Generator, kind: str) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture of any size and number of channels, and a size for its blob."""
    height, width, new_height, new_width = (int(each) for each in rng.integers(1, 70, 4))
    if rng.random() < 0.2:
        height, width = 2 * new_height, 2 * new_width  # which OpenCV computes in another way
    shape = [(height, width), (height, width, 1), (height, width, 3), (height, width, 4)]
    pixels = rng.random(shape[rng.integers(4)]) * 255
    return pixels.astype(kind), (new_width, new_height)


def ours(
    pixels: np.ndarray, size: tuple[int, int], scale: Any, mean: Any, swap: bool, crop: bool
) -> np.ndarray:
    factors = np.full(4, scale)
    return blob_of(pixels, size, factors, scalar(mean, "mean"), swap=swap, crop=crop)


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_pixels_of_eight_bits_are_the_same_to_the_bit(opencv: Any, seed: int, crop: bool) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(20):
        pixels, size = drawn(rng, "uint8")
        scale = rng.choice([1.0, 1 / 255, 0.017, 1 / 127.5])
        mean = [(), 5, (104, 117, 123), (103.94, 116.78, 123.68), (1, 2, 3, 4)][rng.integers(5)]
        swap = bool(rng.random() < 0.5) and pixels.ndim == 3 and pixels.shape[2] > 1
        expected = opencv.dnn.blobFromImage(pixels, scale, size, mean, swap, crop)
        found = ours(pixels, size, scale, mean, swap, crop)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("kind", ["float32", "float64", "uint16", "int16"])
def test_other_pixels_are_near(opencv: Any, kind: str, crop: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        pixels, size = drawn(rng, kind)
        expected = opencv.dnn.blobFromImage(pixels, 1.0, size, (1, 2, 3), False, crop)
        found = ours(pixels, size, 1.0, (1, 2, 3), False, crop)
        # An integer may be rounded the other way if the value is halfway between two.
        allowed = 255 * TOLERANCE if pixels.dtype.kind == "f" else 1
        np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)


def test_a_picture_of_the_size_is_left_as_it_is() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    planes = pixels.transpose(2, 0, 1).astype(np.float32)
    for crop in (False, True):
        found = ours(pixels, (4, 2), 1.0, (), False, crop)
        np.testing.assert_array_equal(found[0], planes)
        swapped = ours(pixels, (4, 2), 1.0, (1, 0, 0), True, crop)
        np.testing.assert_array_equal(swapped[0, 1:], planes[1::-1])
        np.testing.assert_array_equal(swapped[0, 0], planes[2] - 1)


def test_a_picture_lies_in_memory_anyhow() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (20, 30, 3), np.uint8)
    expected = ours(pixels, (7, 9), 1.0, (), False, False)
    for other in (np.asfortranarray(pixels), pixels[::-1][::-1], pixels.tolist()):
        found = ours(np.asarray(other, np.uint8), (7, 9), 1.0, (), False, False)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (None, "the frame is not a picture .expected an array"),
        (np.zeros((0, 5, 3), np.uint8), "the frame is not a picture"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"the frame is not a picture .*found \(1, 4, 5, 3\)"),
        (np.zeros((4, 5, 2), np.uint8), "the frame is not a picture"),
        ("dog.jpg", "the frame is not a picture"),
        (np.zeros((4, 5, 3), bool), "the frame does not hold numbers .expected uint8, found bool"),
        (np.zeros((4, 5, 3), complex), "the frame does not hold numbers"),
    ],
)
def test_what_is_no_picture(pixels: Any, message: str) -> None:
    with pytest.raises(dn.ImageError, match=message):
        ours(pixels, (4, 4), 1.0, (), False, False)
