from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from darknet_bn.data.augment import (
    crop_sides,
    rand_scale,
    random_augment_image,
    random_distort_image,
)
from darknet_bn.layers.net import Net
from darknet_bn.layers.shape import Shape

from .sets import classifier, rectangle

SHAPE = Shape(3, 32, 40)


def net_of(options: str = "") -> Net:
    return classifier("pjreddie", options).network.net


def test_a_factor_or_its_reciprocal() -> None:
    rng = np.random.default_rng(0)
    for most in (1.5, 1 / 1.5):
        drawn = np.array([rand_scale(rng, most) for _ in range(400)])
        assert ((drawn >= 1 / 1.5) & (drawn <= 1.5)).all()
        # Half of 400 is above 1; the chance of being off by 60 is 1e-9.
        assert abs((drawn > 1).sum() - 200) < 60
        assert drawn.max() > 1.4
        assert drawn.min() < 1 / 1.4
    assert rand_scale(rng, 1) == 1


def test_colours_stay_where_nothing_is_asked_for() -> None:
    im, _ = rectangle(9, 9, 2, 2, 5, 5)
    assert np.array_equal(random_distort_image(im, net_of(), np.random.default_rng(0)), im)


@pytest.mark.parametrize(
    ("option", "reached"),
    [
        ("hue=.1", lambda x: x[1].max()),  # red and blue get green
        ("saturation=1.5", lambda x: x[1].max()),  # pale
        ("exposure=1.5", lambda x: 1 - x.max()),
    ],
)
def test_colours_change_up_to_what_is_asked_for(
    option: str, reached: Callable[[np.ndarray], float]
) -> None:
    im, _ = rectangle(9, 9, 2, 2, 5, 5)
    rng = np.random.default_rng(0)
    changes = [float(reached(random_distort_image(im, net_of(option), rng))) for _ in range(200)]
    most = 0.6 if "hue" in option else 1 / 3  # of green at a tenth of the circle; 1 - 1/1.5
    assert 0.9 * most < max(changes) <= most + 1e-6
    assert min(changes) < 0.1 * most


def test_the_same_generator_gives_the_same() -> None:
    im, _ = rectangle(50, 60, 10, 10, 40, 40)
    net = net_of("angle=7 aspect=.75 hue=.1 saturation=1.5 exposure=1.5 min_crop=36 max_crop=70")
    first, again, other = (
        random_augment_image(im, net, SHAPE, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first.shape == (3, 32, 40)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "sides"),
    [
        ("", (40, 80)),
        ("min_crop=50 max_crop=60", (50, 60)),
        ("min_ratio=1.5 max_ratio=3 min_crop=7 max_crop=7", (60, 120)),
        ("min_crop=60 max_crop=50", (60, 60)),
    ],
)
def test_how_long_the_shorter_side_gets(options: str, sides: tuple[int, int]) -> None:
    assert crop_sides(net_of(options), 40) == sides
    twice = crop_sides(net_of(options), 80)
    assert twice == tuple(2 * side for side in sides)


def test_a_picture_is_scaled_within_these_sides() -> None:
    """The greatest width of a square of 1/4 of the picture's height shows the scale."""
    im = np.zeros((3, 40, 40), np.float32)
    im[:, 15:25, 15:25] = 1
    net = net_of("min_crop=40 max_crop=80")
    rng = np.random.default_rng(0)
    pictures = [random_augment_image(im, net, Shape(3, 40, 40), rng) for _ in range(60)]
    areas = np.array([x[0].sum() for x in pictures])
    # 10 x 10 pixels and up to 20 x 20; some are cut at the border, none is larger.  Bilinear
    # sampling at scales that are not whole numbers changes an area by the edge of a pixel.
    assert areas.max() < 21**2
    assert areas.max() > 17**2
    assert areas[areas > 0].min() > 9**2 / 4


def test_any_part_of_a_picture_may_be_cut_out() -> None:
    im = np.zeros((3, 40, 80), np.float32)
    im[0] = np.arange(80) / 80
    net = net_of("min_crop=40 max_crop=40")
    rng = np.random.default_rng(0)
    middles = [random_augment_image(im, net, Shape(3, 40, 40), rng)[0, 20, 20] for _ in range(60)]
    assert 0.2375 <= min(middles) < 0.3  # a mirrored pixel 20 was pixel 19
    assert 0.7 < max(middles) <= 0.75


def test_turning_keeps_to_the_angle() -> None:
    im = np.zeros((3, 101, 101), np.float32)
    im[:, 48:53] = 1  # a bar across
    net = replace(net_of("angle=20"), min_crop=40, max_crop=40)
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(100):
        x = random_augment_image(im, net, Shape(3, 40, 40), rng)[0]
        rows = np.arange(40) @ x / np.maximum(x.sum(axis=0), 1e-9)
        slopes.append(np.degrees(np.arctan((rows[29] - rows[10]) / 19)))
    # The middle of a bar of 2 pixels is known to a tenth of one, which is 0.3 degrees here.
    assert 18 < max(slopes) < 20.5
    assert -20.5 < min(slopes) < -18


def test_mirroring() -> None:
    im = np.zeros((3, 40, 40), np.float32)
    im[:, :, :20] = 1
    for options, dialect, expected in (
        ("", "pjreddie", 2),
        ("", "alexeyab", 2),
        ("flip=0", "alexeyab", 1),
    ):
        net = classifier(dialect, f"min_crop=40 max_crop=40 {options}").network.net
        rng = np.random.default_rng(0)
        found = {
            random_augment_image(im, net, Shape(3, 40, 40), rng)[0, 20, 5] > 0.5 for _ in range(40)
        }
        assert len(found) == expected
