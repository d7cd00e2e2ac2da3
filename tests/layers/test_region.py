"""``[region]``, as each dialect stores it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from darknet_bn.dialect import ALEXEYAB, PJREDDIE
from darknet_bn.errors import CfgError, ShapeError
from darknet_bn.formats.tree import parse_tree
from darknet_bn.layers.layer import Layer
from darknet_bn.layers.region import Region
from darknet_bn.layers.shape import Shape

TREE = parse_tree(b"a\nb\nc 0\nd 0\n")
SIZES = [(3, 2, 4, 1, 3, 4), (1, 3, 4, 3, 2, 1), (2, 1, 5, 2, 3, 3), (5, 20, 4, 2, 13, 13)]


def sigmoid(x) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x, axis) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def random_input(num, classes, coords, n, h, w) -> np.ndarray:
    shape = (n, num * (coords + 1 + classes), h, w)
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32) * 3


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize(("num", "classes", "coords", "n", "h", "w"), SIZES)
def test_planes_of_pjreddie(
    run: Callable[..., np.ndarray],
    num: int,
    classes: int,
    coords: int,
    n: int,
    h: int,
    w: int,
    shares: bool,
    background: bool,
) -> None:
    x = random_input(num, classes, coords, n, h, w)
    layer = Region(num=num, classes=classes, coords=coords, softmax=shares, background=background)
    y = run(layer, x, dialect=PJREDDIE)
    expected = x.astype(np.float64).reshape(n, num, -1, h, w)
    expected[:, :, :2] = sigmoid(expected[:, :, :2])
    if not background:
        expected[:, :, coords] = sigmoid(expected[:, :, coords])
    if shares:
        first = coords if background else coords + 1
        expected[:, :, first:] = softmax(expected[:, :, first:], 2)
    else:
        expected[:, :, coords + 1 :] = sigmoid(expected[:, :, coords + 1 :])
    # float32 exponentials of values up to 12
    np.testing.assert_allclose(y, expected.reshape(x.shape), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize(("num", "classes", "coords", "n", "h", "w"), SIZES)
def test_cells_of_alexeyab(
    run: Callable[..., np.ndarray],
    num: int,
    classes: int,
    coords: int,
    n: int,
    h: int,
    w: int,
    shares: bool,
) -> None:
    x = random_input(num, classes, coords, n, h, w)
    layer = Region(num=num, classes=classes, coords=coords, softmax=shares)
    y = run(layer, x, dialect=ALEXEYAB)
    cells = x.astype(np.float64).reshape(n, num, -1, h, w).transpose(0, 3, 4, 1, 2).copy()
    cells[..., 4] = sigmoid(cells[..., 4])  # whatever coords is
    if shares:
        cells[..., 5 : 5 + classes] = softmax(cells[..., 5 : 5 + classes], -1)
    assert y.shape == x.shape
    # float32 exponentials of values up to 12
    np.testing.assert_allclose(y.reshape(cells.shape), cells, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(("num", "n", "h", "w"), [(2, 1, 3, 4), (1, 3, 2, 1), (3, 2, 60, 50)])
def test_shares_of_each_group_of_a_tree(
    run: Callable[..., np.ndarray], num: int, n: int, h: int, w: int, dialect
) -> None:
    x = random_input(num, 4, 4, n, h, w)
    y = run(Region(num=num, classes=4, tree=TREE), x, dialect=dialect)
    plain = run(Region(num=num, classes=4), x, dialect=dialect)
    expected = x.astype(np.float64).reshape(n, num, 9, h, w)
    for first in (5, 7):
        expected[:, :, first : first + 2] = softmax(expected[:, :, first : first + 2], 2)
    if dialect.region_by_cell:
        expected = expected.transpose(0, 3, 4, 1, 2)
        y, plain = (each.reshape(expected.shape) for each in (y, plain))
    else:
        expected = expected.transpose(0, 1, 3, 4, 2)
        y, plain = (each.reshape(n, num, 9, h, w).transpose(0, 1, 3, 4, 2) for each in (y, plain))
    # float32 exponentials of values up to 12
    np.testing.assert_allclose(y[..., 5:], expected[..., 5:], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(y[..., :5], plain[..., :5])


def test_alexeyab_has_no_background(run: Callable[..., np.ndarray]) -> None:
    x = random_input(2, 3, 4, 2, 3, 4)
    plain, background = (
        Region(num=2, classes=3, softmax=True, background=each) for each in (False, True)
    )
    np.testing.assert_array_equal(run(plain, x), run(background, x))


def test_options(read: Callable[..., Layer]) -> None:
    layer = read(
        "[region]\nanchors = 1.08,1.19,  3.42,4.41\nbias_match=1\nclasses=3\ncoords=4\nnum=2\n"
        "softmax=1\njitter=.2\nrescore=1\nobject_scale=5\nnoobject_scale=1\nclass_scale=1\n"
        "coord_scale=1\nabsolute=1\nthresh = .6\nrandom=0"
    )
    assert layer.anchor_sizes == ((1.08, 1.19), (3.42, 4.41))
    assert layer.filters_per_class() == 2
    assert layer.box_count(Shape(16, 3, 5)) == 2 * 3 * 5
    assert (layer.jitter, layer.resize, layer.max_boxes, layer.grid) == (0.2, 1.0, 200, None)
    for dialect, most in ((PJREDDIE, 30), (ALEXEYAB, 200)):
        assert read("[region]\nanchors=1,2", dialect).max == most


def test_what_does_not_fit_is_refused(read: Callable[..., Layer]) -> None:
    with pytest.raises(ShapeError, match=r"expected filters=125: 5 anchors x \(4 \+ 1 \+ 20 class"):
        Region(num=5, classes=20).out_shape((Shape(425, 13, 13),))
    with pytest.raises(ShapeError, match=r"tree: .*number of lines.*expected 20, found 4\)"):
        Region(tree=TREE).out_shape((Shape(25, 13, 13),))
    with pytest.raises(CfgError, match="coords: the value is too small"):
        read("[region]\ncoords=3")


def test_boxes_of_a_tree_have_the_class_that_the_way_down_leads_to() -> None:
    # TREE: a and b are roots, c and d children of a.  One cell, one anchor.
    def output(objectness, *shares) -> np.ndarray:
        y = np.zeros((9, 1, 1), np.float32)
        y[4:, 0, 0] = (objectness, *shares)
        return y

    head = Region(tree=TREE, classes=4, num=1, anchors=(1.0, 1.0))
    net = Shape(3, 8, 8)
    for shares, by_pjreddie, by_alexeyab in (
        ((0.9, 0.1, 0.8, 0.2), (2, 0.7), (2, 0.72)),  # down to c
        ((0.9, 0.1, 0.5, 0.5), (0, 0.7), (0, 0.9)),  # c and d are too unlikely
        ((0.4, 0.6, 0.9, 0.1), (1, 0.7), (1, 0.6)),  # b has no children
    ):
        for dialect, (best, probability) in ((PJREDDIE, by_pjreddie), (ALEXEYAB, by_alexeyab)):
            boxes = head.boxes(output(0.7, *shares), net, 0.5, dialect)
            expected = np.zeros((1, 4), np.float32)
            expected[0, best] = probability
            np.testing.assert_allclose(boxes.probabilities, expected, rtol=1e-6)  # float32
            assert not head.boxes(output(0.4, *shares), net, 0.5, dialect).with_class()
