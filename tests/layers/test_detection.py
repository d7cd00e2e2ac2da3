"""``[detection]``, the head of YOLOv1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.errors import ShapeError
from darknet_bn.layers.detection import DetectionHead
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape

SIZES = [(1, 3, 2, 4, 4), (3, 7, 3, 20, 4), (2, 1, 1, 1, 1), (2, 3, 2, 0, 4)]


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize(("n", "side", "num", "classes", "coords"), SIZES)
def test_classes_of_each_cell_become_shares_if_asked(
    run: Callable[..., np.ndarray],
    n: int,
    side: int,
    num: int,
    classes: int,
    coords: int,
    shares: bool,
) -> None:
    size = side * side * ((1 + coords) * num + classes)
    x = np.random.default_rng(1).standard_normal((n, size, 1, 1), dtype=np.float32) * 3
    layer = DetectionHead(side=side, num=num, classes=classes, coords=coords, softmax=shares)
    y = run(layer, x)
    assert y.shape == (n, size)
    expected = x.reshape(n, size).astype(np.float64)
    if shares:
        for cell in range(side * side):
            e = np.exp(expected[:, cell * classes : (cell + 1) * classes])
            expected[:, cell * classes : (cell + 1) * classes] = e / e.sum(1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=2e-6)  # float32 exponentials of values up to 12
    first = side * side * classes
    np.testing.assert_array_equal(y[:, first:], x.reshape(n, size)[:, first:])


def test_boxes(read: Callable[..., Layer]) -> None:
    layer = read("[detection]\nside=1\nnum=1\ncoords=4\nclasses=2\nsqrt=1")
    y = np.float32([0.25, 0.5, 0.8, 0.5, 0.75, 0.5, 1])
    boxes = layer.boxes(y, Shape(3, 8, 8), 0.3, ALEXEYAB)
    np.testing.assert_array_equal(boxes.xywh, np.float32([[0.5, 0.75, 0.25, 1]]))
    assert not layer.leaves_letterbox
    with pytest.raises(ShapeError, match=r"\[detection\]: coords: .*expected coords=4, found 1\)"):
        read("[detection]").boxes(y, Shape(3, 8, 8), 0.3, ALEXEYAB)


def test_options_and_what_does_not_fit(read: Callable[..., Layer]) -> None:
    assert (read("[detection]", PJREDDIE).max, read("[detection]", ALEXEYAB).max) == (90, 200)
    layer = read(
        "[detection]\nclasses=20\ncoords=4\nrescore=1\nside=7\nnum=2\nsoftmax=0\nsqrt=1\njitter=.2\n"
        "object_scale=1\nnoobject_scale=.5\nclass_scale=1\ncoord_scale=5"
    )
    assert layer.out_shape((Shape(1470),)) == Shape(1470, flat=True)
    assert layer.box_count(Shape(1470, flat=True)) == 2 * 7 * 7
    assert (layer.jitter, layer.resize, layer.max_boxes, layer.grid) == (0.2, 1.0, 200, 7)
    assert layer.anchor_sizes == ()
    assert layer.out_shape((Shape(30, 7, 7),)) == Shape(1470, flat=True)
    with pytest.raises(
        ShapeError,
        match=r"expected output=1470: 7 x 7 cells x \(2 x \(1 \+ 4\) \+ 20 classes\), found 1715",
    ):
        layer.out_shape((Shape(1715),))
