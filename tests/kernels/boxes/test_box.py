"""How much boxes overlap, and how a letterbox is undone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from darknet_bn.errors import ShapeError
from darknet_bn.kernels.boxes.box import (
    Boxes,
    box_diou,
    box_diounms,
    box_iou,
    correct_yolo_boxes,
    join_boxes,
    letterbox_size,
)
from darknet_bn.pictures.images import letterbox_image

F32 = npt.NDArray[np.float32]


def box(*values: float) -> F32:
    return np.array(values, np.float32)


def random_boxes(count: int, seed: int = 0) -> F32:
    rng = np.random.default_rng(seed)
    return np.hstack((rng.random((count, 2)), rng.uniform(0.05, 1, (count, 2)))).astype(np.float32)


def some(count: int = 2, classes: int = 3) -> Boxes:
    return Boxes(
        random_boxes(count),
        np.arange(1, count + 1, dtype=np.float32),
        np.arange(count * classes, dtype=np.float32).reshape(count, classes),
    )


class TestBoxes:
    def test_take_and_join(self) -> None:
        boxes = some(3)
        taken = boxes.take(np.array([2, 0]))
        np.testing.assert_array_equal(taken.objectness, [3, 1])
        both = join_boxes([taken, boxes])
        assert len(both) == 5
        np.testing.assert_array_equal(both.xywh[:2], boxes.xywh[[2, 0]])
        np.testing.assert_array_equal(both.probabilities[2:], boxes.probabilities)

    def test_with_class(self) -> None:
        boxes = some(3)
        boxes.probabilities[1] = 0
        np.testing.assert_array_equal(boxes.with_class().objectness, [1, 3])

    def test_different_classes_cannot_be_joined(self) -> None:
        with pytest.raises(ShapeError, match=r"different numbers of classes.*found \[3, 4\]"):
            join_boxes([some(2, 3), some(2, 4)])

    @pytest.mark.parametrize(
        "shapes",
        [
            ((2, 4), (2,), (3, 1)),
            ((2, 5), (2,), (2, 1)),
            ((2, 4), (2, 1), (2, 1)),
            ((2, 4), (2,), (2,)),
            ((4,), (2,), (2, 1)),
            ((), (), (1, 1)),
        ],
    )
    def test_arrays_of_other_shapes_are_refused(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        with pytest.raises(ShapeError, match="do not describe boxes"):
            Boxes(*(np.zeros(shape, np.float32) for shape in shapes))


class TestOverlap:
    def test_by_hand(self) -> None:
        a, b = box(2, 2, 2, 2), box(3, 3, 2, 4)  # 1..3 x 1..3 and 2..4 x 1..5: 2 of 4 + 8 - 2
        iou = 0.2
        away = (2 / 25) ** 0.6  # centres 1, 1 apart; 3 x 4 around both
        assert box_iou(a, b) == pytest.approx(iou, rel=1e-6)
        # A difference of numbers near 0.2, whose last digits follow from the processor's power.
        assert box_diou(a, b) == pytest.approx(iou - away, abs=1e-7)
        assert box_diounms(a, b, 1) == pytest.approx(iou - 2 / 25, rel=1e-6)
        assert box_iou(a, a) == 1
        assert box_diou(a, a) == 1

    def test_inside_apart_and_touching(self) -> None:
        a = box(0, 0, 4, 4)
        others = np.stack((box(1, 1, 2, 1), box(5, 0, 2, 4), box(3, 0, 2, 4), box(0, 9, 4, 4)))
        np.testing.assert_allclose(box_iou(a, others), [2 / 16, 0, 0, 0])

    @pytest.mark.parametrize("beta", [0.3, 0.6, 1, 2])
    def test_all_pairs_against_float64(self, beta: float) -> None:
        boxes = random_boxes(40)
        for i, a in enumerate(boxes.astype(np.float64)):
            for j, b in enumerate(boxes.astype(np.float64)):
                low = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
                high = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
                common = np.maximum(high - low, 0).prod()
                iou = common / (a[2:].prod() + b[2:].prod() - common)
                outer_low = np.minimum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
                outer_high = np.maximum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
                c = ((outer_high - outer_low) ** 2).sum()
                away = (((a[:2] - b[:2]) ** 2).sum() / c) ** beta
                # sides near 1 have float32 errors of 6e-8, and boxes are only 0.05 wide
                assert box_iou(boxes[i], boxes[j]) == pytest.approx(iou, abs=1e-5)
                found = box_diounms(boxes[i], boxes[j], beta)
                assert found == pytest.approx(iou - away, abs=1e-5)

    def test_it_is_the_same_the_other_way_round(self) -> None:
        a, b = random_boxes(50, 1), random_boxes(50, 2)
        for measure in (box_iou, box_diou):
            across = measure(a[:, None], b[None])
            assert across.dtype == np.float32
            np.testing.assert_array_equal(across, measure(b[:, None], a[None]).T)

    def test_sizes_that_are_no_numbers(self) -> None:
        plain = box(0.5, 0.5, 1, 1)
        nan, infinite, empty = (
            box(0.5, 0.5, size, size) for size in (np.nan, np.inf, 0)
        )  # nothing may pass a threshold, and nothing may warn
        for a in (plain, nan, infinite, empty):
            for b in (nan, infinite, empty):
                assert not box_iou(a, b) > 0
                assert not box_diou(a, b) > 0


class TestLetterbox:
    @pytest.mark.parametrize(
        ("size", "net", "expected"),
        [
            ((576, 768), (416, 416), (312, 416)),
            ((768, 576), (416, 416), (416, 312)),
            ((60, 100), (32, 64), (32, 53)),
            ((7, 3), (7, 3), (7, 3)),
            ((100, 100), (32, 64), (32, 32)),
        ],
    )
    def test_size(
        self, size: tuple[int, int], net: tuple[int, int], expected: tuple[int, int]
    ) -> None:
        assert letterbox_size(size, net) == expected

    @pytest.mark.parametrize("seed", range(20))
    def test_it_is_the_size_that_a_picture_gets(self, seed: int) -> None:
        h, w, net_h, net_w = np.random.default_rng(seed).integers(1, 60, 4).tolist()
        boxed = letterbox_image(np.ones((1, h, w), np.float32), net_w, net_h)[0]
        white = boxed == 1  # the last row may be dark
        height, width = letterbox_size((h, w), (net_h, net_w))
        assert white.any(0).sum() == (width if height else 0)
        assert white.any(1).sum() in (height, height - 1) if width else not white.any()

    def test_a_box_around_the_picture_is_the_whole_picture(self) -> None:
        # 208 x 104 in 416 x 416: rows 104 to 311 of the input
        around = box(0.5, 0.5, 1, 0.5)[None]
        upper_left = box(0.25, 0.375, 0.5, 0.25)[None]
        np.testing.assert_array_equal(
            correct_yolo_boxes(around, (104, 208), (416, 416)), [[0.5, 0.5, 1, 1]]
        )
        np.testing.assert_array_equal(
            correct_yolo_boxes(upper_left, (104, 208), (416, 416)), [[0.25, 0.25, 0.5, 0.5]]
        )

    def test_a_picture_of_the_nets_shape_changes_nothing(self) -> None:
        boxes = random_boxes(9)
        np.testing.assert_array_equal(correct_yolo_boxes(boxes, (24, 32), (48, 64)), boxes)

    def test_infinite_boxes_stay_so_without_a_warning(self) -> None:
        boxes = box(np.inf, np.nan, np.inf, 3e38)[None]
        corrected = correct_yolo_boxes(boxes, (10, 100), (32, 32))
        assert np.isinf(corrected[0, [0, 2, 3]]).all()
        assert np.isnan(corrected[0, 1])

    def test_a_strip_of_which_nothing_is_left_is_refused(self) -> None:
        with pytest.raises(ShapeError, match="found 1000 x 1 pixels in 32 x 32"):
            correct_yolo_boxes(random_boxes(1), (1, 1000), (32, 32))
