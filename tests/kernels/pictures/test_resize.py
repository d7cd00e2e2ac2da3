"""Resize, letterbox and crop: the bits of two Darknets, then laws."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from darknet_bn import ShapeError
from darknet_bn.kernels.pictures.resize import (
    center_crop_image,
    crop_image,
    letterbox_image,
    resize_image,
    resize_min,
)
from tests.support.paths import FIXTURES

F32 = npt.NDArray[np.float32]

FIXTURES = FIXTURES / "preprocess"
COMMITTED = sorted(path.stem for path in FIXTURES.glob("*.npz"))
SHARED_ONLY = ["dog_crop_45x91", "dog_crop_77x53", "noise_13x9"]

SHAPES = [(3, 7, 5), (1, 1, 1), (2, 1, 9), (4, 9, 1), (3, 40, 64)]
SIZES = [(1, 1), (1, 6), (6, 1), (5, 7), (13, 4), (64, 40), (100, 33)]


def picture(*shape: int) -> F32:
    return np.random.default_rng(shape).random(shape, np.float32)


def same_bits(x: F32, y: F32) -> bool:
    return x.dtype == y.dtype == np.float32 and x.shape == y.shape and x.tobytes() == y.tobytes()


# -- what the programs gave ----------------------------------------------------------------------


def compare(path: Path, letter: str) -> None:
    """Compare every array of one program in a file of golden data."""
    compared = 0
    with np.load(path) as arrays:
        im = arrays[f"{letter}_load_image_color"]
        for name in arrays.files:
            size = re.fullmatch(
                rf"{letter}_(resize|letterbox|load_image_color)_w(\d+)_h(\d+)", name
            )
            if size:
                how = letterbox_image if size[1] == "letterbox" else resize_image
                assert same_bits(how(im, int(size[2]), int(size[3])), arrays[name]), name
                compared += 1
        _, h, w = im.shape
        assert same_bits(resize_image(im, w, h), arrays[f"{letter}_resize_same"])
    assert compared == 9


@pytest.mark.parametrize("letter", ["a", "b"])
@pytest.mark.parametrize("name", COMMITTED)
def test_every_bit_is_that_of_darknet(name: str, letter: str) -> None:
    compare(FIXTURES / f"{name}.npz", letter)


@pytest.mark.parametrize("letter", ["a", "b"])
@pytest.mark.parametrize("name", SHARED_ONLY)
def test_every_bit_is_that_of_darknet_in_the_shared_data(
    shared: Path, name: str, letter: str
) -> None:
    compare(shared / "golden/preprocess" / f"{name}.npz", letter)


def test_all_the_golden_data_is_compared(shared: Path) -> None:
    present = {path.stem for path in (shared / "golden/preprocess").glob("*.npz")}
    assert present == {*COMMITTED, *SHARED_ONLY}


# -- resize --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_size_is_a_copy(shape: tuple[int, ...]) -> None:
    im = picture(*shape)
    same = resize_image(im, shape[2], shape[1])
    assert same_bits(same, im)
    assert not np.shares_memory(same, im)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_corners_stay_in_place_and_values_in_range(
    shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    im, (w, h) = picture(*shape), size
    out = resize_image(im, w, h, mend_last_row=True)
    assert out.shape == (shape[0], h, w)
    assert (out >= 0).all()
    assert (out <= 1).all()
    rows = (0,) if h == 1 else (0, -1)
    for row in rows if h > 1 or shape[1] == 1 else ():
        np.testing.assert_array_equal(out[:, row, -1], im[:, row, -1])
        if w > 1:
            np.testing.assert_array_equal(out[:, row, 0], im[:, row, 0])


def test_between_two_pixels_lies_their_mean() -> None:
    im = np.array([[[0, 1], [0.5, 0]]], np.float32)
    expected = [[[0, 0.5, 1], [0.25, 0.375, 0.5], [0.5, 0.25, 0]]]
    np.testing.assert_array_equal(resize_image(im, 3, 3), expected)


def goes_dark(old: int, new: int) -> bool:
    """Whether the last row's place, in float32, falls short of the last row."""
    scale = np.float32(old - 1) / np.float32(new - 1)
    return bool(np.float32(new - 1) * scale < old - 1)


def test_the_last_row_is_dark_where_rounding_says_so_and_only_there() -> None:
    pairs = [(old, new) for old in range(2, 80) for new in range(2, 80)] + [(333, 320)]
    dark = 0
    for old, new in pairs:
        white = np.ones((1, old, 1), np.float32)
        out = resize_image(white, 2, new)
        short = goes_dark(old, new)
        dark += short
        assert (out[0, -1] < 0.01).all() == short, (old, new)
        # Two rounded weights of up to 1 need not add up to 1 exactly.
        np.testing.assert_allclose(out[0, :-1], 1, atol=2e-7, err_msg=f"{old} to {new}")
        mended = resize_image(white, 2, new, mend_last_row=True)
        assert same_bits(mended[:, :-1], out[:, :-1])
        assert (mended[0, -1] == 1).all(), (old, new)
        rows = np.arange(old, dtype=np.float32).reshape(1, old, 1)
        assert (resize_image(rows, 2, new, mend_last_row=True)[0, -1] == old - 1).all(), (old, new)
    assert goes_dark(333, 320)
    assert 0.01 < dark / len(pairs) < 0.08


def test_mending_changes_nothing_elsewhere() -> None:
    im = picture(3, 576, 30)
    assert not goes_dark(576, 416)
    mended = resize_image(im, 20, 416, mend_last_row=True)
    assert same_bits(mended, resize_image(im, 20, 416))


def test_a_view_gives_what_a_copy_gives() -> None:
    view = picture(20, 30, 3).transpose(2, 0, 1)[:, ::-1, ::2]
    copy = view.copy()
    assert same_bits(resize_image(view, 9, 7), resize_image(copy, 9, 7))
    assert same_bits(letterbox_image(view, 9, 7), letterbox_image(copy, 9, 7))
    assert same_bits(view, copy)


# -- letterbox -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "size", "inner"),
    [
        # (w, h), then where the picture is: (x, y, w, h)
        ((768, 576), (416, 416), (0, 52, 416, 312)),
        ((576, 768), (416, 416), (52, 0, 312, 416)),
        ((100, 60), (32, 32), (0, 6, 32, 19)),
        ((60, 100), (32, 64), (0, 5, 32, 53)),
        ((50, 50), (20, 10), (5, 0, 10, 10)),
        ((8, 4), (16, 8), (0, 0, 16, 8)),
    ],
)
def test_a_letterbox_has_grey_bars(
    shape: tuple[int, int], size: tuple[int, int], inner: tuple[int, int, int, int]
) -> None:
    im = picture(3, shape[1], shape[0]) / 4  # nothing of it is 0.5
    x, y, w, h = inner
    boxed = letterbox_image(im, *size)
    assert boxed.shape == (3, size[1], size[0])
    assert same_bits(boxed[:, y : y + h, x : x + w], resize_image(im, w, h))
    assert (boxed == 0.5).sum() == boxed.size - 3 * w * h


def test_a_letterbox_hands_on_the_mending() -> None:
    white = np.ones((1, 333, 333), np.float32)
    assert letterbox_image(white, 320, 320)[0, -1].max() < 0.01
    assert (letterbox_image(white, 320, 320, mend_last_row=True) == 1).all()


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1)])
def test_a_line_vanishes_in_a_letterbox_as_in_c(shape: tuple[int, int]) -> None:
    assert (letterbox_image(np.ones((3, *shape), np.float32), 32, 32) == 0.5).all()


# -- crop ----------------------------------------------------------------------------------------


def test_a_crop_inside_is_a_slice() -> None:
    im = picture(3, 9, 12)
    part = crop_image(im, 2, 3, 5, 4)
    assert same_bits(part, im[:, 3:7, 2:7].copy())
    assert not np.shares_memory(part, im)


def test_a_crop_outside_repeats_the_border() -> None:
    im = picture(2, 5, 7)
    padded = np.pad(im, ((0, 0), (3, 6), (4, 9)), mode="edge")
    assert same_bits(crop_image(im, -4, -3, 20, 14), padded)
    assert same_bits(crop_image(im, 30, 30, 2, 2), np.broadcast_to(im[:, -1:, -1:], (2, 2, 2)))


@pytest.mark.parametrize(("h", "w", "x", "y"), [(6, 11, 2, 0), (11, 6, 0, 2), (6, 6, 0, 0)])
def test_a_centre_crop_is_the_square_in_the_middle(h: int, w: int, x: int, y: int) -> None:
    im = picture(3, h, w)
    square = im[:, y : y + 6, x : x + 6]
    assert same_bits(center_crop_image(im, 6, 6), square.copy())
    assert same_bits(center_crop_image(im, 9, 4), resize_image(square, 9, 4))


@pytest.mark.parametrize(("h", "w", "expected"), [(576, 768, (32, 42)), (9, 5, (57, 32))])
def test_the_shorter_side_becomes_m(h: int, w: int, expected: tuple[int, int]) -> None:
    im = picture(1, h, w)
    out = resize_min(im, 32)
    assert out.shape[1:] == expected  # 768 * 32 / 576 = 42.7 and 9 * 32 / 5 = 57.6, rounded down
    assert same_bits(out, resize_image(im, expected[1], expected[0]))
    assert same_bits(resize_min(im, min(h, w)), im)


def test_mending_is_handed_on() -> None:
    white = np.ones((1, 333, 333), np.float32)
    for made in (center_crop_image(white, 320, 320), resize_min(white, 320)):
        assert made[0, -1].max() < 0.01
    assert (center_crop_image(white, 320, 320, mend_last_row=True) == 1).all()
    assert (resize_min(white, 320, mend_last_row=True) == 1).all()


# -- refusals ------------------------------------------------------------------------------------

FUNCTIONS: list[Callable[[F32], object]] = [
    lambda im: resize_image(im, 4, 4),
    lambda im: letterbox_image(im, 4, 4),
    lambda im: crop_image(im, 0, 0, 4, 4),
    lambda im: center_crop_image(im, 4, 4),
    lambda im: resize_min(im, 4),
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.float32), np.zeros((3, 4, 4)), np.zeros((3, 0, 4), np.float32)],
    ids=["two axes", "float64", "empty"],
)
def test_what_is_no_picture_is_refused(function: Callable[[F32], object], array: F32) -> None:
    with pytest.raises(ShapeError, match="not a picture"):
        function(array)


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4)])
def test_a_size_of_nothing_is_refused(size: tuple[int, int]) -> None:
    im = picture(3, 4, 4)
    with pytest.raises(ShapeError, match="at least 1 x 1"):
        resize_image(im, *size)
    with pytest.raises(ShapeError, match="at least 1 x 1"):
        letterbox_image(im, *size)
    with pytest.raises(ShapeError, match="at least 1 x 1"):
        crop_image(im, 0, 0, *size)
