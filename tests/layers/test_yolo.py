"""``[yolo]``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.yolo import Yolo
from tests.support.builders import cfg_text, random_model


def sigmoid(x) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def expected_output(x, count, scale=1.0, squash=True) -> np.ndarray:
    y = x.astype(np.float64).reshape(len(x), count, -1, *x.shape[2:])
    if squash:
        y[:, :, :2], y[:, :, 4:] = sigmoid(y[:, :, :2]), sigmoid(y[:, :, 4:])
    y[:, :, :2] = y[:, :, :2] * scale - 0.5 * (scale - 1)
    return y.reshape(x.shape)


@pytest.mark.parametrize("scale", [1.0, 1.05, 2.0])
@pytest.mark.parametrize("new_coords", [False, True])
@pytest.mark.parametrize(
    ("count", "classes", "n", "h", "w"),
    [(3, 4, 1, 5, 4), (1, 0, 3, 2, 3), (2, 1, 2, 1, 1), (3, 9, 2, 70, 65)],
)
def test_all_but_width_and_height_are_squashed(
    run: Callable[..., np.ndarray],
    count: int,
    classes: int,
    n: int,
    h: int,
    w: int,
    new_coords: bool,
    scale: float,
) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, count * (5 + classes), h, w), dtype=np.float32) * 4
    layer = Yolo(num=count, classes=classes, scale_x_y=scale, new_coords=new_coords)
    y = run(layer, x)
    expected = expected_output(x, count, scale, squash=not new_coords)
    # a few float32 roundings of values up to 2, and of x and y up to 40 with new_coords
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    sizes = x.reshape(n, count, -1, h, w)[:, :, 2:4]
    np.testing.assert_array_equal(y.reshape(n, count, -1, h, w)[:, :, 2:4], sizes)


def test_values_far_out_are_squashed_to_0_and_1(run: Callable[..., np.ndarray]) -> None:
    x = np.full((1, 6, 2, 2), -1e30, np.float32)
    x[0, 5] = 1e30
    y = run(Yolo(classes=1), x)
    np.testing.assert_array_equal(y[0, :, 0, 0], np.float32([0, 0, -1e30, -1e30, 0, 1]))


CFG = """[yolo]
mask = 3,4,5
anchors = 10,14,  23,27,  37,58,  81,82,  135,169,  344,319
classes=80
num=6
jitter=.3
ignore_thresh = .7
truth_thresh = 1
random=1
"""


def test_anchors_of_the_mask(read: Callable[..., Layer]) -> None:
    layer = read(CFG)
    assert tuple(layer.masks) == (3, 4, 5)
    assert layer.anchor_sizes == ((81, 82), (135, 169), (344, 319))
    assert layer.filters_per_class() == 3
    assert layer.box_count(Shape(255, 13, 11)) == 3 * 13 * 11
    assert (layer.jitter, layer.resize, layer.max_boxes, layer.grid) == (0.3, 1.0, 200, None)
    assert layer.out_shape((Shape(255, 13, 13),)) == Shape(255, 13, 13)
    assert Yolo(num=2, anchors=(7, 8, 9)).anchor_sizes == ((7, 8), (9, 0.5))
    # the last head of a published cfg with num=16 and 20 anchors
    assert Yolo(num=1, mask=(1, 2), anchors=(7, 8, 9, 5)).anchor_sizes == ((9, 5), (0.5, 0.5))


def test_defaults_are_the_dialects(read: Callable[..., Layer]) -> None:
    for dialect, most in ((PJREDDIE, 90), (ALEXEYAB, 200)):
        assert read("[yolo]\nanchors=1,2", dialect).max == most


def test_options_of_alexeyab(read: Callable[..., Layer]) -> None:
    layer = read(
        CFG + "scale_x_y=1.05\niou_loss=ciou\niou_normalizer=0.07\nnms_kind=greedynms\n"
        "beta_nms=0.6\nmax_delta=5\nnew_coords=1\nobjectness_smooth=1\nresize=1.5\n"
        f"counters_per_class={','.join(['10'] * 80)}\nlabel_smooth_eps=0.1"
    )
    assert (layer.scale_x_y, layer.iou_loss, layer.nms_kind) == (1.05, "ciou", "greedynms")
    assert layer.counters_per_class == (10,) * 80
    with pytest.raises(CfgError, match="iou_loss: unknown word"):
        read("[yolo]\niou_loss=cious")


def test_the_layer_of_the_embedding_keeps_its_number_where_a_layer_goes() -> None:
    model = random_model(
        cfg_text(
            "[convolutional] filters=6 size=1 activation=linear",
            "[batchnorm]",
            "[convolutional] filters=6 size=1",
            "[yolo] classes=1 embedding_layer=2",
        )
    )
    folded = dn.fold_batchnorm(model).network.nodes
    assert len(folded) == 3
    assert folded[2].layer.embedding_layer == 1


def test_what_does_not_fit_is_refused() -> None:
    layer = Yolo(num=6, mask=(0, 1, 2), classes=2)
    with pytest.raises(ShapeError, match=r"expected filters=21: 3 masks x \(5 \+ 2 classes\), fou"):
        layer.out_shape((Shape(255, 13, 13),))
    with pytest.raises(ShapeError, match="no image shape"):
        layer.out_shape((Shape(21, flat=True),))
    with pytest.raises(ShapeError, match="expected filters=53687091175: 2147483647 masks x"):
        Yolo(num=2**31 - 1).out_shape((Shape(255, 13, 13),))  # at once, and without a list of them
