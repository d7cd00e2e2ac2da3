"""``[Gaussian_yolo]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.gaussian_yolo import GaussianYolo
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape

W, H = 4, 6  # planes of an anchor that stay as they are


@pytest.mark.parametrize("scale", [1.0, 1.1])
@pytest.mark.parametrize(
    ("count", "classes", "n", "h", "w"),
    [(3, 4, 1, 5, 4), (1, 0, 3, 2, 3), (2, 1, 2, 1, 1), (3, 9, 2, 70, 65)],
)
def test_all_but_width_and_height_are_squashed(
    run: Callable[..., np.ndarray], count: int, classes: int, n: int, h: int, w: int, scale: float
) -> None:
    shape = (n, count, 9 + classes, h, w)
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * 4
    layer = GaussianYolo(num=count, classes=classes, scale_x_y=scale)
    y = run(layer, x.reshape(n, -1, h, w)).reshape(shape)
    expected = 1 / (1 + np.exp(-x.astype(np.float64)))
    expected[:, :, (W, H)] = x[:, :, (W, H)]
    expected[:, :, (0, 2)] = expected[:, :, (0, 2)] * scale - 0.5 * (scale - 1)
    # a few float32 roundings of values up to 1
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(y[:, :, (W, H)], x[:, :, (W, H)])


def test_options(read: Callable[..., Layer]) -> None:
    layer = read(
        "[Gaussian_yolo]\nmask = 0,1\nanchors = 7,10, 14,24, 27,43\nclasses=10\nnum=3\njitter=.3\n"
        "ignore_thresh = .5\ntruth_thresh = 1\niou_thresh=0.213\nuc_normalizer=1.0\n"
        "cls_normalizer=1.0\niou_normalizer=0.5\niou_loss=giou\nscale_x_y=1.0\nrandom=1\n"
        "nms_kind=cornersnms\nyolo_point=left_top\nmax_delta=5\nobjectness_smooth=0\nbeta_nms=.5"
    )
    assert layer.anchor_sizes == ((7, 10), (14, 24))
    assert layer.filters_per_class() == 2
    assert layer.suppression == ("cornersnms", 0.5)
    assert layer.out_shape((Shape(38, 4, 4),)) == Shape(38, 4, 4)
    with pytest.raises(ShapeError, match=r"expected filters=38: 2 masks x \(9 \+ 10 classes\), fo"):
        layer.out_shape((Shape(30, 4, 4),))
    with pytest.raises(CfgError, match="yolo_point: unknown word"):
        read("[Gaussian_yolo]\nyolo_point=middle")


def test_boxes_are_of_the_point_that_is_said(read: Callable[..., Layer]) -> None:
    cfg = "[Gaussian_yolo]\nclasses=1\nanchors=4,2\nyolo_point="
    y = np.zeros((10, 1, 1), np.float32)
    y[(0, 2), :] = 0.5
    y[8:] = 1
    for point, centre in (("center", 0.5), ("left_top", 0.75), ("right_bottom", 0.25)):
        boxes = read(cfg + point).boxes(y, Shape(3, 4, 8), 0.3, ALEXEYAB)
        np.testing.assert_array_equal(boxes.xywh, np.float32([[centre, centre, 0.5, 0.5]]))
