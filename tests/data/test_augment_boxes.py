"""Boxes follow their picture, whatever is done to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

import darknet_bn as dn
from darknet_bn.data.augment_boxes import (
    Example,
    PicturePart,
    augment_boxes,
    cut_out,
    mosaic,
    place_randomly,
    random_part,
)
from darknet_bn.data.truth import correct_boxes
from darknet_bn.layers.shape import Shape

from .sets import GRID, YOLO, H, W, detector, edges, rectangle, red

F32 = npt.NDArray[np.float32]
CASES = {
    "pjreddie": detector("pjreddie", "hue=.02 saturation=1.2 exposure=1.2"),
    "pjreddie grid": detector("pjreddie", head=GRID),
    "alexeyab": detector("alexeyab", "hue=.02 saturation=1.2 exposure=1.2"),
    "alexeyab grid": detector("alexeyab", head=GRID),
    "smaller": detector(head=f"{YOLO} resize=.6"),
    "smaller and larger": detector(head=f"{YOLO} resize=1.5"),
    "letterbox": detector(net="letter_box=1"),
    "mosaic": detector(net="mosaic=1"),
    "mosaic, larger": detector(net="mosaic=1", head=f"{YOLO} resize=1.5"),
}


def examples(model: dn.Model, count: int = 60) -> list[tuple[F32, F32]]:
    """Examples of pictures of several shapes, all with one rectangle."""
    pictures = [
        rectangle(64, 80, 20, 16, 56, 44),
        rectangle(90, 50, 5, 40, 25, 85),
        rectangle(33, 120, 70, 4, 110, 25),
    ]
    shape = model.network.input
    return [
        augment_boxes(lambda i: pictures[i], seed % 3, 3, model, shape, np.random.default_rng(seed))
        for seed in range(count)
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_box_is_where_the_rectangle_is(name: str) -> None:
    # pjreddie's program takes a pixel at its corner, others at its middle or between corner pixels:
    # an edge is off by up to a pixel of the picture, and it is found in whole pixels of the input.
    # A picture is 50 pixels high or wide at least, of which the input shows half or more.
    most = max(1 / W, 1 / H) + 2 / 33
    compared = 0
    for x, boxes in examples(CASES[name]):
        assert x.shape == (3, H, W)
        assert 0 <= x.min() <= x.max() <= 1
        seen = boxes[(boxes[:, 2:4] > 2 / H).all(axis=1)]
        for left, top, right, bottom in map(edges, seen):
            assert -1e-6 < left < right < 1 + 1e-6
            assert -1e-6 < top < bottom < 1 + 1e-6
            rows, columns = (
                slice(int(top * H), int(bottom * H)),
                slice(int(left * W), int(right * W)),
            )
            inside = x[:, rows, columns][:, 1:-1, 1:-1]
            assert (inside[0] >= inside[2]).all()
        if len(boxes) == 1 and len(seen):
            np.testing.assert_allclose(edges(seen[0]), red(x), rtol=0, atol=most)
            compared += 1
    assert compared > 20


def test_no_padding_is_where_four_pictures_meet() -> None:
    shape = Shape(3, 40, 40)
    x = np.full((3, 40, 40), -1, np.float32)
    x[:, 8:36, 4:34] = 1
    padding = (0.1, 0.2, 0.15, 0.1)
    box = np.array([[0.475, 0.55, 0.75, 0.7, 0]], np.float32)
    for seed in range(20):
        # The cuts are drawn first.
        cut_x, cut_y = (int(np.float64(40) * each) for each in _cuts(seed))
        four = [Example(x, box, padding)] * 4
        found, boxes = mosaic(four, shape, np.random.default_rng(seed))
        assert (found[:, cut_y - 1 : cut_y + 1, cut_x - 1 : cut_x + 1] == 1).all()
        covered = np.zeros((40, 40), bool)
        for left, top, right, bottom in (np.array(edges(each)) * 40 for each in boxes):
            covered[round(top) : round(bottom), round(left) : round(right)] = True
        assert np.array_equal(covered, found[0] == 1)


def test_mirrored_pictures_have_no_padding_there_either() -> None:
    im = np.repeat(np.eye(3, dtype=np.float32), 30, axis=1)[:, None, :].repeat(60, axis=1)
    model = detector(net="mosaic=1", head=f"{YOLO} resize=.65".replace("jitter=.3", "jitter=0"))
    box, shape, padded = np.zeros((0, 5), np.float32), model.network.input, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, _ = augment_boxes(lambda i: (im, box), 0, 1, model, shape, rng)
        for lines in (x, x.transpose(0, 2, 1)):
            padding = (np.abs(lines - 1 / 3) < 0.02).all(axis=0)  # the mean of the three colours
            for line in padding:
                content = np.flatnonzero(~line)
                padded += len(content) < len(line)
                # At each side of where pictures meet, a pixel that is not all padding may be left.
                inner = line[content[0] : content[-1]] if len(content) else line[:0]
                assert not (inner[:-2] & inner[1:-1] & inner[2:]).any()
    assert padded > 100


def _cuts(seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8)


def test_a_letterboxed_picture_keeps_its_aspect() -> None:
    model = detector(net="letter_box=1", head=YOLO.replace("jitter=.3", "jitter=0"))
    widths = [0.45 * 40, 0.4 * 50 * 32 / 90, 40 / 120 * 40]  # in pixels of the input
    heights = [0.4375 * 32, 0.5 * 32, 21 / 33 * 11]
    for number, (_, boxes) in enumerate(examples(model, 9)):
        expected = widths[number % 3], heights[number % 3]
        # whole pixels of the picture that are added
        assert boxes[0, 2:4] * (W, H) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", ["mosaic", "mosaic, larger"])
def test_nothing_of_a_mosaic_is_without_box(name: str) -> None:
    mosaics = 0
    for x, boxes in examples(CASES[name]):
        mosaics += len(boxes) == 4
        free = x[0] > 0.6
        for left, top, right, bottom in map(edges, boxes):
            # a pixel further on each side, as in the test above
            rows = slice(max(0, int(top * H) - 2), int(bottom * H) + 3)
            free[rows, max(0, int(left * W) - 2) : int(right * W) + 3] = False
        assert not free.any()
    assert 15 < mosaics < 45  # half of 60 is; the chance of others is 1e-4


def test_two_pictures_in_one() -> None:
    first, second = rectangle(H, W, 2, 2, 10, 10), rectangle(H, W, 20, 20, 35, 30)
    model = detector(net="mixup=1 flip=0", head=YOLO.replace("jitter=.3", "jitter=0"))
    shape, mixed = model.network.input, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, boxes = augment_boxes(lambda i: (first, second)[i], 0, 2, model, shape, rng)
        if len(boxes) == 2 and not np.array_equal(boxes[0], boxes[1]):
            np.testing.assert_allclose(x, (first[0] + second[0]) / 2, atol=1e-6)  # float32
            np.testing.assert_allclose(boxes, np.concatenate((first[1], second[1])), atol=1e-6)
            mixed += 1
    assert mixed > 3


def test_mirrored_or_not() -> None:
    for options, expected in (("", 2), ("flip=0", 1)):
        model = detector(net=options, head=YOLO.replace("jitter=.3", "jitter=0"))
        found = {round(float(boxes[0, 0]), 3) for _, boxes in examples(model, 30)[::3]}
        assert len(found) == expected


def test_jitter_reaches_as_far_as_it_says() -> None:
    im = np.zeros((3, 100, 200), np.float32)
    rng = np.random.default_rng(0)
    parts = np.array([random_part(im, 0.2, rng) for _ in range(300)])
    assert np.array_equal(np.abs(parts).max(axis=0), [39, 19, 39, 19])
    shape = Shape(3, 100, 100)
    moves = [place_randomly(im, 0.2, shape, rng)[1] for _ in range(300)]
    heights = [move.scale[1] for move in moves]
    # 100 * 1.2 / (200 * 0.8), and the other way round; drawn up to a few percent of them
    assert 0.70 < max(heights) <= 0.75
    assert 0.33 <= min(heights) < 0.36
    assert all(move.scale[0] == 1 for move in moves)
    assert min(move.shift[1] for move in moves) < -0.5
    assert max(move.shift[1] for move in moves) <= 0


@pytest.mark.parametrize(
    ("resize", "least", "most"), [(0.5, -0.5, 0), (1.5, -0.25, 1 / 6), (1, 0, 0), (0, 0, 0)]
)
def test_resize_reaches_as_far_as_it_says(resize: float, least: float, most: float) -> None:
    im = np.zeros((3, 600, 600), np.float32)
    rng = np.random.default_rng(0)
    parts = np.array([random_part(im, 0, rng, resize=resize) for _ in range(300)]) / 600
    assert np.array_equal(parts[:, :2], parts[:, 2:]) == (resize in (0, 1))
    assert np.array_equal(parts[:, 0], parts[:, 1])  # left and top alike, as in C
    assert np.array_equal(parts[:, 2], parts[:, 3])
    reach = max(0.01, 0.05 * (most - least))  # of 300 draws, and whole pixels
    assert least <= parts.min() <= least + reach
    assert most - reach <= parts.max() <= most


@pytest.mark.parametrize("jitter", [0.5, 0.9, 2.0])
def test_no_jitter_is_too_much(jitter: float) -> None:
    model = detector(head=f"{YOLO} resize=.2".replace("jitter=.3", f"jitter={jitter}"))
    for each in (model, detector("pjreddie", head=YOLO.replace("jitter=.3", f"jitter={jitter}"))):
        for x, boxes in examples(each, 12):
            assert np.isfinite(x).all()
            assert np.isfinite(boxes).all()


def test_the_outside_is_of_the_mean_colour_or_repeats_the_border() -> None:
    im, _ = rectangle(20, 20, 0, 0, 10, 20)  # the left half is red
    part = PicturePart(-10, 0, -10, 0)
    shape = Shape(3, 20, 40)
    mean, repeated = (cut_out(im, part, shape, edges=edges) for edges in (False, True))
    assert mean[:, 0, 0].tolist() == mean[:, 0, -1].tolist() == [0.5, 0, 0.5]
    assert repeated[:, 0, 0].tolist() == [1, 0, 0]
    assert repeated[:, 0, -1].tolist() == [0, 0, 1]


def test_the_canvas_is_grey() -> None:
    im, _ = rectangle(20, 80, 0, 0, 10, 20)
    x, move = place_randomly(im, 0, Shape(3, 40, 40), np.random.default_rng(0))
    top = round(-move.shift[1] * 40)
    assert move.scale == (1, 0.25)
    assert (x[:, :top] == 0.5).all()
    assert (x[:, top + 10 :] == 0.5).all()
    assert (x[:, top : top + 10] != 0.5).any(axis=0).all()


def test_a_letterboxed_part_keeps_the_aspect() -> None:
    for h, w in ((100, 300), (300, 100), (123, 77)):
        im = np.zeros((3, h, w), np.float32)
        shape = Shape(3, 32, 40)
        width, height = PicturePart(0, 0, 0, 0).letterboxed(im, shape).size(im)
        assert width / height == pytest.approx(40 / 32, abs=2 * 1.25 / min(h, w))  # whole pixels
        assert width >= w
        assert height >= h
        moved = correct_boxes(
            np.array([[0.5, 0.5, 1, 1, 0]], np.float32),
            PicturePart(0, 0, 0, 0).letterboxed(im, shape).move(im),
        )
        assert moved[0, :2].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


def test_blur_spares_boxes_and_noise_is_as_strong_as_it_says() -> None:
    im = (np.indices((H, W)).sum(axis=0) % 2 * np.ones((3, 1, 1))).astype(np.float32)
    box = np.array([[0.5, 0.5, 0.5, 0.5, 0]], np.float32)
    head = YOLO.replace("jitter=.3", "jitter=0")

    def change(net: str) -> list[F32]:
        model = detector(net=f"flip=0 {net}", head=head)
        shape = model.network.input
        return [
            augment_boxes(lambda i: (im, box), 0, 1, model, shape, np.random.default_rng(seed))[0]
            for seed in range(30)
        ]

    for x in change("blur=1"):
        assert np.array_equal(x[:, 8:24, 10:30], im[:, 8:24, 10:30])
    outside = [float(np.abs(x[:, :5] - 0.5).max()) for x in change("blur=1")]
    assert min(outside) < 0.1  # a window of 17 pixels leaves nothing of a chequerboard
    assert max(outside) == 0.5
    stronger = change("gaussian_noise=20")
    spread = [float(np.where(im > 0, 1 - x, x).std()) for x in stronger]
    # Only the half of a normal distribution is left that does not leave 0 to 1: 0.584 of its sigma.
    assert max(spread) == pytest.approx(0.584 * 20 / 255, rel=0.05)
    assert min(spread) == 0


@pytest.mark.parametrize(("size", "columns"), [(0.5, 2), (0.25, 0), (0, 24)])
def test_a_blur_over_all_is_as_wide_as_small_boxes_let_it_be(size: float, columns: int) -> None:
    im = np.zeros((3, H, W), np.float32)
    im[:, :, : W // 2] = 1
    box = np.array([[0.5, 0.5, size, size, 0]], np.float32)[: int(size > 0)]
    model = detector(net="flip=0 blur=24", head=YOLO.replace("jitter=.3", "jitter=0"))
    shape, found = model.network.input, set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, _ = augment_boxes(lambda i: (im, box), 0, 1, model, shape, rng)
        row = x[0, 0]
        found.add(int(((row > 1e-6) & (row < 1 - 1e-6)).sum()))
    # Nothing; the blur around boxes, of 17 pixels; and that with a window of half a side of the box
    # over 4: 3 and 1 pixels, or the 25 of the option.
    assert found == {0, 16, columns}
