"""Annotated pictures: boxes are where they were found, and every label can be read."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ImageFont

from darknet_bn import ShapeError
from darknet_bn.errors import ImageError
from darknet_bn.pictures.images import from_bytes, to_bytes
from darknet_bn.predictions.drawing import Detected, class_colour, draw_detections

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

GROUND = (90, 90, 90)  # neither black nor white nor the colour of a class


@dataclass(frozen=True)
class Found:
    left: float
    top: float
    right: float
    bottom: float
    label: str = "dog"
    class_id: int = 16
    probability: float = 0.8


MIDDLE = Found(100, 100, 180, 160)


def ground(width: int = 300, height: int = 300) -> F32:
    return from_bytes(np.full((height, width, 3), GROUND, np.uint8))


def drawn(*found: Detected, width: int = 300, height: int = 300) -> U8:
    """Draw on plain ground; return the pixels (h, w, 3)."""
    return to_bytes(draw_detections(ground(width, height), found))


def label_of(found: Detected, width: int = 300, height: int = 300) -> U8:
    """The field of a label alone, as it looks in a picture of this size."""
    box = replace(MIDDLE, label=found.label, class_id=found.class_id)
    pixels = drawn(replace(box, probability=found.probability), width=width, height=height)
    rows, columns = np.nonzero((pixels[: int(MIDDLE.top)] != GROUND).any(axis=2))
    return pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def holds(pixels: U8, patch: U8) -> bool:
    """Whether a part of the picture is the patch, to the last pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, patch.shape)
    first_row = (windows[:, :, 0, 0] == patch[0]).all(axis=(2, 3))
    return any((windows[y, x, 0] == patch).all() for y, x in np.argwhere(first_row))


def is_colour(pixels: U8, class_id: int) -> npt.NDArray[np.bool_]:
    return (pixels == class_colour(class_id)).all(axis=-1)


# -- boxes ---------------------------------------------------------------------------------------


def test_a_box_has_lines_of_its_colour_along_its_inside() -> None:
    pixels = drawn(MIDDLE)
    coloured = is_colour(pixels, 16)
    inside = coloured[100:160, 100:180]
    width = int(coloured[130, 100:140].sum())  # of the left line
    assert width >= 1
    assert inside[:width].all()
    assert inside[-width:].all()
    assert inside[:, :width].all()
    assert inside[:, -width:].all()
    assert (pixels[100 + width : 160 - width, 100 + width : 180 - width] == GROUND).all()
    # Outside there is only the label, above.
    outside = pixels.copy()
    outside[100:160, 100:180] = GROUND
    outside[:100] = GROUND
    assert (outside == GROUND).all()


def test_lines_and_letters_grow_with_the_picture() -> None:
    small, large = label_of(MIDDLE), label_of(MIDDLE, 1200, 1200)
    assert large.shape[0] > 2 * small.shape[0]
    lines = [
        is_colour(drawn(MIDDLE, width=side, height=side), 16)[130, 90:140].sum()
        for side in (300, 1200)
    ]
    assert lines[1] > 2 * lines[0]


def test_the_picture_that_was_given_stays_as_it_is() -> None:
    im = ground()
    before = im.copy()
    out = draw_detections(im, [MIDDLE])
    np.testing.assert_array_equal(im, before)
    assert out.dtype == np.float32
    assert out.shape == im.shape
    assert not np.shares_memory(out, im)


def test_without_detections_it_is_a_copy() -> None:
    im = from_bytes(np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    out = draw_detections(im, [])
    np.testing.assert_array_equal(out, im)
    assert not np.shares_memory(out, im)


def test_grey_pictures_get_coloured_boxes() -> None:
    grey = ground()[:1]
    np.testing.assert_array_equal(
        draw_detections(grey, [MIDDLE]), draw_detections(ground(), [MIDDLE])
    )


@pytest.mark.parametrize(
    "found",
    [
        Found(-50, -40, 1000, 1000),
        Found(-math.inf, -math.inf, math.inf, math.inf),
        Found(-1e30, -1e30, 1e30, 1e30),
        Found(0, 0, 300, 200),
    ],
)
def test_a_box_that_reaches_outside_is_drawn_along_the_border(found: Found) -> None:
    coloured = is_colour(drawn(found, width=300, height=200), 16)
    field = label_of(found, 300, 200).shape
    assert coloured[-1].all()
    assert coloured[:, -1].all()
    assert coloured[field[0] :, 0].all()
    assert coloured[0, field[1] :].all()


@pytest.mark.parametrize(
    "found",
    [
        Found(-20, 10, -1, 20),
        Found(10, -20, 20, -1),
        Found(301, 10, 400, 20),
        Found(10, 301, 20, 400),
        Found(math.nan, 10, 20, 20),
        Found(10, 10, math.nan, 20),
        Found(math.inf, 10, math.inf, 20),
        Found(50, 10, 40, 20),
        Found(10, 50, 20, 40),
    ],
)
def test_a_box_that_is_not_in_the_picture_is_left_out(found: Found) -> None:
    assert (drawn(found) == GROUND).all()
    np.testing.assert_array_equal(drawn(found, MIDDLE), drawn(MIDDLE))


def test_a_box_of_less_than_a_pixel_can_be_seen() -> None:
    assert is_colour(drawn(Found(150.2, 200.1, 150.3, 200.2)), 16)[200, 150]


def test_what_is_in_a_small_box_is_not_painted_over() -> None:
    pixels = drawn(Found(500, 500, 508, 508), width=1200, height=1200)
    assert is_colour(pixels, 16)[500, 500:508].all()
    assert (pixels[502:506, 502:506] == GROUND).all()


@pytest.mark.parametrize("width", [1, 2, 5, 40])
@pytest.mark.parametrize("height", [1, 3, 10, 600])
def test_tiny_and_narrow_pictures(width: int, height: int) -> None:
    found = [Found(0, 0, width, height), Found(1, 1, 2, 2, "a name that is far too long for it")]
    out = draw_detections(ground(width, height), found)
    assert out.shape == (3, height, width)
    assert 0 <= out.min() <= out.max() <= 1


# -- labels --------------------------------------------------------------------------------------

PLACES = {
    "in the middle": MIDDLE,
    "in a corner": Found(0, 0, 40, 40),
    "at the right": Found(290, 150, 300, 170),
    "below": Found(100, 290, 180, 300),
    "the whole picture": Found(0, 0, 300, 300),
    "outside": Found(-100, -100, 1000, 1000),
    "a dot": Found(299, 299, 300, 300),
    "a line": Found(0, 150, 300, 151),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_label_is_always_whole(place: str) -> None:
    assert holds(drawn(PLACES[place]), label_of(MIDDLE))


def test_labels_of_the_same_box_lie_side_by_side() -> None:
    several = [
        replace(MIDDLE, label=name, class_id=number, probability=0.9 - number / 10)
        for number, name in enumerate(("car", "truck", "bus", "van", "tractor"))
    ]
    pixels = drawn(*several)
    for each in several:
        assert holds(pixels, label_of(each)), each.label


def test_labels_of_neighbours_do_not_hide_each_other() -> None:
    row = [
        Found(20 + 15 * i, 150, 60 + 15 * i, 250, f"thing{i}", i, 0.5 + i / 100) for i in range(10)
    ]
    pixels = drawn(*row)
    for each in row:
        assert holds(pixels, label_of(each)), each.label


def test_the_more_probable_lies_above() -> None:
    sure = replace(MIDDLE, class_id=1, probability=0.9)
    unsure = replace(MIDDLE, class_id=2, probability=0.4)
    for order in itertools.permutations((sure, unsure)):
        pixels = drawn(*order)
        assert is_colour(pixels, 1)[159, 100:180].all()
        # It also has the better place: on the left above the box.
        assert is_colour(pixels, 1)[99, 100]


def test_a_crowd_is_drawn_the_same_each_time() -> None:
    rng = np.random.default_rng(5)
    crowd = [
        Found(x, y, x + w, y + h, f"thing{i % 80}", i % 80, float(rng.random()))
        for i, (x, y, w, h) in enumerate(rng.uniform(0, 250, (300, 4)))
    ]
    pixels = drawn(*crowd)
    np.testing.assert_array_equal(pixels, drawn(*crowd))
    np.testing.assert_array_equal(pixels, drawn(*crowd[::-1]))


def test_a_long_name_is_set_in_smaller_letters() -> None:
    found = replace(MIDDLE, label="a name of quite some length that needs the whole picture")
    field = label_of(found)
    assert field.shape[0] < label_of(MIDDLE, 1200, 1200).shape[0]
    pixels = drawn(found, width=400, height=400)
    columns = np.nonzero((pixels[:100] != GROUND).any(axis=(0, 2)))[0]
    assert columns.min() > 0 or columns.max() < 399  # its two ends are in the picture


def test_a_label_tells_class_and_probability() -> None:
    assert not np.array_equal(label_of(MIDDLE), label_of(replace(MIDDLE, label="hog")))
    assert not np.array_equal(label_of(MIDDLE), label_of(replace(MIDDLE, probability=0.7)))
    np.testing.assert_array_equal(label_of(MIDDLE), label_of(replace(MIDDLE, probability=0.8004)))


@dataclass(frozen=True)
class FoundMore(Found):
    classes: tuple[Found, ...] = ()


def test_a_label_has_all_classes_of_the_box() -> None:
    truck = replace(MIDDLE, label="truck", class_id=7, probability=0.55)
    car = replace(MIDDLE, label="car", class_id=2, probability=0.52)
    both = replace(truck, label="truck 55%, car", probability=0.52)
    for classes in ((car, truck), (truck, car)):  # the best comes first
        found = FoundMore(**vars(truck), classes=classes)
        np.testing.assert_array_equal(drawn(found), drawn(both))
    alone = FoundMore(**vars(truck), classes=(truck,))
    np.testing.assert_array_equal(drawn(alone), drawn(truck))


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("Tür", "Tur"),
        ("犬", "class 16"),
        ("", ""),
        ("two\nlines\tand  blanks ", "two lines and blanks"),
        ("\udc80\udcff", "class 16"),
    ],
)
def test_pillows_font_shows_what_it_has_letters_for(label: str, shown: str) -> None:
    odd, plain = (label_of(replace(MIDDLE, label=text)) for text in (label, shown))
    np.testing.assert_array_equal(odd, plain)


def test_in_another_font_no_letter_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "own.ttf"
    font = ImageFont.load_default(10)
    assert isinstance(font, ImageFont.FreeTypeFont)
    path.write_bytes(font.font_bytes)
    for label, replaced in (("Tür", "Tur"), ("犬", "class 16")):
        own, other = (
            draw_detections(ground(), [replace(MIDDLE, label=text)], font=path)
            for text in (label, replaced)
        )
        assert not np.array_equal(own, other)


def test_a_file_that_is_no_font_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"no font")
    for named in (path, tmp_path / "none.ttf"):
        with pytest.raises(ImageError, match="the font cannot be read") as caught:
            draw_detections(ground(), [MIDDLE], font=named)
        assert caught.value.where.file == str(named)


# -- colours -------------------------------------------------------------------------------------


def test_each_class_has_its_colour() -> None:
    colours = [class_colour(number) for number in range(200)]
    assert len(set(colours)) == 200
    # Neighbouring classes in a list of names are often alike; their colours are not.
    for one, other in itertools.pairwise(colours):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 100


def luminance(colour: npt.ArrayLike) -> float:
    """Relative luminance by its definition in WCAG 2."""
    parts = np.asarray(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize(
    ("class_id", "side"), [(number, 1000 if number % 10 == 0 else 300) for number in range(200)]
)
def test_letters_stand_out_from_their_field(class_id: int, side: int) -> None:
    field = label_of(replace(MIDDLE, class_id=class_id), side, side)
    ground = luminance(class_colour(class_id))
    shades = [luminance(colour) for colour in np.unique(field.reshape(-1, 3), axis=0)]
    contrasts = [(max(ground, each) + 0.05) / (min(ground, each) + 0.05) for each in shades]
    assert max(contrasts) >= 4.5  # what WCAG asks of text of any size
    # The letters are either lighter or darker than their field.
    assert max(shades) == pytest.approx(ground) or min(shades) == pytest.approx(ground)


def test_of_a_picture_with_alpha_the_colours_are_drawn_on() -> None:
    im = ground()
    drawn = draw_detections(np.concatenate((im, np.full_like(im[:1], 0.25))), [MIDDLE])
    np.testing.assert_array_equal(drawn, draw_detections(im, [MIDDLE]))


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 4, 4), (5, 4, 4), (4, 4), (3, 0, 4)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        draw_detections(np.zeros(shape, np.float32), [MIDDLE])
