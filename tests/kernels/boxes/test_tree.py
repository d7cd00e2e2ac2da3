"""Probabilities in a tree of classes, against walks along its branches."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.formats.tree import Tree, parse_tree
from darknet_bn.kernels.boxes.tree import hierarchy_predictions, hierarchy_top_prediction
from darknet_bn.kernels.softmax import softmax_tree


def random_tree(classes: int, seed: int) -> Tree:
    rng = np.random.default_rng(seed)
    lines, parent = [], -1
    for number in range(classes):
        if rng.random() < 0.3 and number:
            parent = int(rng.integers(max(-1, parent), number))
        lines.append(b"x %d" % parent)
    return parse_tree(b"\n".join(lines))


TREES = [parse_tree(b"a\nb\n"), parse_tree(b"a\n"), *(random_tree(n, n) for n in (5, 30, 200))]
trees = pytest.mark.parametrize("tree", TREES, ids=lambda tree: f"{len(tree)}")


@trees
@pytest.mark.parametrize("temp", [1.0, 0.4])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 700)])
def test_shares_of_each_group(tree: Tree, shape: tuple[int, ...], temp: float) -> None:
    x = np.random.default_rng(1).standard_normal((*shape, len(tree)), dtype=np.float32) * 4
    expected = np.empty(x.shape)
    for group in tree.groups:
        e = np.exp((x[..., group] - x[..., group].max(-1, keepdims=True)).astype(float) / temp)
        expected[..., group] = e / e.sum(-1, keepdims=True)
    y = np.full(x.shape, np.nan, np.float32)
    softmax_tree(x, tree, temp, y)
    # exponentials of x/temp, some 40, have a relative error of 40 * 6e-8
    np.testing.assert_allclose(y, expected, atol=3e-6)
    planes = np.ascontiguousarray(x.transpose(0, 2, 1))
    softmax_tree(planes, tree, temp, planes, axis=1)  # in place
    np.testing.assert_allclose(planes.transpose(0, 2, 1), expected, atol=3e-6)


@trees
@pytest.mark.parametrize("only_leaves", [False, True])
def test_predictions_are_products_down_from_the_root(tree: Tree, only_leaves: bool) -> None:
    p = np.random.default_rng(2).random((3, 2, len(tree)), dtype=np.float32)
    expected = np.empty(p.shape)
    for number in range(len(tree)):
        at, product = number, 1.0
        while at >= 0:
            product = product * p[..., at].astype(float)
            at = tree.parents[at]
        is_leaf = number not in tree.parents
        expected[..., number] = product if is_leaf or not only_leaves else 0
    out = np.empty_like(p)
    hierarchy_predictions(p, tree, out, only_leaves=only_leaves)
    np.testing.assert_allclose(out, expected, rtol=1e-6)  # a few factors, each rounded
    hierarchy_predictions(p, tree, p, only_leaves=only_leaves)
    np.testing.assert_array_equal(p, out)


#            0   1    2    3    4    5    6    7
P = np.float32([0.8, 0.2, 0.3, 0.7, 1.0, 0.6, 0.4, 0.5])
TREE = parse_tree(b"a\nb\na0 0\na1 0\nb0 1\na10 3\na11 3\nb00 4\n")


@pytest.mark.parametrize(
    ("thresh", "best"),
    [
        (0.9, 0),  # not even the likeliest root is likely enough: it is returned all the same
        (0.7, 0),  # the root is, its child is not: 0.8 * 0.7
        (0.5, 3),  # the child is, its child is not: 0.56 * 0.6
        (0.3, 5),  # down to a leaf
        (0.0, 5),
    ],
)
def test_the_top_prediction_goes_down_as_long_as_it_is_likely(thresh: float, best: int) -> None:
    assert hierarchy_top_prediction(P, TREE, thresh) == best


def test_a_threshold_is_exceeded_not_reached() -> None:
    assert hierarchy_top_prediction(np.float32([0.5, 0.5, 1.0]), parse_tree(b"a\nb\nc 0"), 0.5) == 0
    assert hierarchy_top_prediction(np.float32([0.5, 0.5, 1.0]), parse_tree(b"a\nb\nc 0"), 0.4) == 2


def test_nan_ends_the_way() -> None:
    assert hierarchy_top_prediction(np.full(8, np.nan, np.float32), TREE, 0.1) == 0
