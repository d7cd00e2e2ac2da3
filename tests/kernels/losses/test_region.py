"""The loss of ``[region]``: a plain loop over everything says the same.

The loop is written from the description of the programs.  What pjreddie's gives is compared with
the real program in another file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from darknet_bn.formats.tree import parse_tree
from darknet_bn.kernels.losses.region import RegionLoss
from tests.support.plain_overlaps import iou, true_boxes

ANCHORS = np.array([(1, 1.2), (2.1, 3), (0.6, 2)], np.float64)
H, W, CLASSES = 4, 5, 6
TREE = parse_tree(b"a\nb\nc 0\nd 0\ne 1\nf 1\n")
PARENTS, GROUPS = (-1, -1, 0, 0, 1, 1), ((0, 1), (2, 3), (4, 5))
OPTIONS: list[dict[str, Any]] = [
    {},
    {"thresh": 0.2, "softmax": True},
    {"coord_scale": 2.0, "object_scale": 5.0, "noobject_scale": 0.3, "class_scale": 0.7},
    {"rescore": True, "bias_match": True, "softmax": True},
    {"tree": TREE, "class_scale": 2.0, "thresh": 0.2},
]
ONLY_ALEXEYABS: list[dict[str, Any]] = [
    {"classfix": -1},
    {"classfix": 1, "thresh": 0.15},
    {"classfix": 2, "thresh": 0.15, "class_scale": 2.0},
    {"classfix": 2, "thresh": 0.15, "tree": TREE},
    {"focal_loss": True, "class_scale": 2.0},
]
CASES = [(each, extended) for each in OPTIONS for extended in (False, True)] + [
    *(({**each}, True) for each in ONLY_ALEXEYABS),
    ({"background": True, "softmax": True}, False),
]


def values(rng: np.random.Generator, extended: bool) -> np.ndarray:
    out = rng.uniform(0.02, 0.98, (2, len(ANCHORS), H, W, 5 + CLASSES))
    out[..., 2:4] = rng.uniform(-0.7, 0.7, out[..., 2:4].shape)
    if extended:  # x and y come raw
        out[..., :2] = rng.uniform(-2, 2, out[..., :2].shape)
    return out


def boxes(rng: np.random.Generator) -> np.ndarray:
    truth = np.zeros((2, 8, 5), np.float32)
    truth[:, :6, :2] = rng.uniform(0.02, 0.98, (2, 6, 2))
    truth[:, :6, 2:4] = rng.uniform(0.08, 0.7, (2, 6, 2))
    truth[:, :6, 4] = rng.integers(0, CLASSES, (2, 6))
    truth[:, 1, :4] = truth[:, 0, :4] * np.float32(1.01)
    truth[1, 3:] = 0
    return truth


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("seen", [0, 20_000])
@pytest.mark.parametrize(("options", "extended"), CASES, ids=str)
def test_a_plain_loop_says_the_same(
    options: dict[str, Any], extended: bool, seen: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    loss = RegionLoss(anchors=ANCHORS, classes=CLASSES, extended=extended, **options)
    out, truth = values(rng, extended), boxes(rng)
    compare(loss, out, truth, seen)


@pytest.mark.parametrize("extended", [False, True])
def test_images_of_which_only_the_class_is_known(extended: bool) -> None:
    rng = np.random.default_rng(0)
    loss = RegionLoss(anchors=ANCHORS, classes=CLASSES, extended=extended, tree=TREE)
    out, truth = values(rng, extended), boxes(rng)
    truth[0, 0] = (999999, 999999, 999999, 999999, 3)
    truth[0, 1] = (999999, 999999, 999999, 999999, 1)  # the first counts
    delta = compare(loss, out, truth, 0)
    likely = out[0, ..., 4] * out[0, ..., 5 + 3] * out[0, ..., 5 + 0]
    best = np.unravel_index(likely.argmax(), likely.shape)
    hot = np.isin(np.arange(CLASSES), (3, 0))
    known = np.isin(np.arange(CLASSES), (0, 1, 2, 3))
    np.testing.assert_allclose(delta[0][best][5:], np.where(known, hot - out[0][best][5:], 0))
    others = delta[0].copy()
    others[best] = 0
    assert (others[..., 4] != 0).any() != extended  # AlexeyAB's says nothing about the other boxes
    assert not others[..., :4].any()
    assert not others[..., 5:].any()


def compare(loss: RegionLoss, out: np.ndarray, truth: np.ndarray, seen: int) -> np.ndarray:
    delta, value = loss(out, truth, seen)
    expected = plain(loss, out, truth, seen)
    np.testing.assert_allclose(delta, expected, rtol=1e-9, atol=1e-12)  # float64
    assert value == pytest.approx(float((expected**2).sum()))
    assert np.abs(expected[0, ..., 5:]).sum() > 0
    in_float32, _ = loss(out.astype(np.float32), truth, seen)
    assert in_float32.dtype == np.float32
    np.testing.assert_allclose(in_float32, expected, rtol=1e-5, atol=1e-5)  # float32 in
    return delta


def plain(loss: RegionLoss, out: np.ndarray, truth: np.ndarray, seen: int) -> np.ndarray:
    """The deltas, one prediction and one box after the other."""
    delta = np.zeros_like(out)
    for b in range(len(out)):
        truths = true_boxes(truth[b])
        if loss.tree is not None and _only_class(loss, out[b], delta[b], truths):
            continue
        for a in range(len(ANCHORS)):
            for j in range(H):
                for i in range(W):
                    at, d = out[b, a, j, i], delta[b, a, j, i]
                    _prediction(loss, at, d, truths, ANCHORS[a], i, j)
                    if seen < 12800:
                        w, h = ANCHORS[a]
                        middle = [(i + 0.5) / W, (j + 0.5) / H, w / W, h / H]
                        _box(loss, at, d, middle, ANCHORS[a], i, j, 0.01)
        for each in truths:
            _truth(loss, out[b], delta[b], each)
    return delta


def _sigmoid(loss: RegionLoss, x: float) -> float:
    return 1 / (1 + math.exp(-x)) if loss.extended else x


def _slope(loss: RegionLoss, squashed: float) -> float:
    return squashed * (1 - squashed) if loss.extended else 1.0


def _decode(loss: RegionLoss, at: np.ndarray, anchor: np.ndarray, i: int, j: int) -> list[float]:
    x, y = ((k + _sigmoid(loss, at[axis])) / (W, H)[axis] for axis, k in enumerate((i, j)))
    return [x, y, math.exp(at[2]) * anchor[0] / W, math.exp(at[3]) * anchor[1] / H]


def _prediction(
    loss: RegionLoss,
    at: np.ndarray,
    d: np.ndarray,
    truths: list,
    anchor: np.ndarray,
    i: int,
    j: int,
) -> None:
    ious = [iou(_decode(loss, at, anchor, i, j), each) for each in truths]
    best = max(ious, default=0)
    slope = _slope(loss, at[4])
    d[4] = loss.noobject_scale * ((1 if loss.background else 0) - at[4]) * slope
    if loss.classfix == -1:
        d[4] = loss.noobject_scale * (best - at[4]) * slope
    elif best > loss.thresh:
        d[4] = 0
        if loss.classfix > 0:
            sure = at[4] if loss.classfix == 2 else 1
            _classes(loss, at, d, int(truths[ious.index(best)][4]), sure)


def _truth(loss: RegionLoss, out: np.ndarray, delta: np.ndarray, each: list) -> None:
    i, j, kind = int(each[0] * W), int(each[1] * H), int(each[4])
    ious = []
    for a, anchor in enumerate(ANCHORS):
        w, h = _decode(loss, out[a, j, i], anchor, i, j)[2:]
        if loss.bias_match:
            w, h = anchor[0] / W, anchor[1] / H
        ious.append(iou([0, 0, w, h], [0, 0, *each[2:4]]))
    a = ious.index(max(ious))
    at, d = out[a, j, i], delta[a, j, i]
    scale = loss.coord_scale if loss.extended else loss.coord_scale * (2 - each[2] * each[3])
    _box(loss, at, d, each, ANCHORS[a], i, j, scale)
    aim = iou(_decode(loss, at, ANCHORS[a], i, j), each) if loss.rescore else 1
    if loss.background:
        aim = 0
    d[4] = loss.object_scale * (aim - at[4]) * _slope(loss, at[4])
    _classes(loss, at, d, kind, 1)


def _box(
    loss: RegionLoss,
    at: np.ndarray,
    d: np.ndarray,
    each: list,
    anchor: np.ndarray,
    i: int,
    j: int,
    scale: float,
) -> None:
    x, y = (_sigmoid(loss, at[axis]) for axis in (0, 1))
    d[0] = scale * (each[0] * W - i - x) * _slope(loss, x)
    d[1] = scale * (each[1] * H - j - y) * _slope(loss, y)
    d[2] = scale * (math.log(each[2] * W / anchor[0]) - at[2])
    d[3] = scale * (math.log(each[3] * H / anchor[1]) - at[3])


def _classes(loss: RegionLoss, at: np.ndarray, d: np.ndarray, kind: int, sure: float) -> None:
    scale = loss.class_scale * sure
    if loss.tree is not None:
        while kind >= 0:
            for k in next(group for group in GROUPS if kind in group):
                d[5 + k] = scale * (0 - at[5 + k])
            d[5 + kind] = scale * (1 - at[5 + kind])
            kind = PARENTS[kind]
        return
    if d[5] != 0 and not loss.softmax and not loss.extended:
        d[5 + kind] = scale * (1 - at[5 + kind])
        return
    for k in range(CLASSES):
        d[5 + k] = scale * ((k == kind) - at[5 + k])
        if loss.focal_loss:
            pt = at[5 + kind] + 1e-15
            d[5 + k] *= 0.5 * -(1 - pt) * (2 * pt * math.log(pt) + pt - 1)


def _only_class(loss: RegionLoss, out: np.ndarray, delta: np.ndarray, truths: list) -> bool:
    for each in truths:
        if each[0] > 100000 and each[1] > 100000:
            kind, best, place = int(each[4]), 0.0, (0, 0, 0)
            for a, j, i in np.ndindex(len(ANCHORS), H, W):
                at = out[a, j, i]
                if not loss.extended:
                    delta[a, j, i, 4] = loss.noobject_scale * (0 - at[4])
                likely, up = at[4], kind
                while up >= 0:
                    likely *= at[5 + up]
                    up = PARENTS[up]
                if likely > best:
                    best, place = likely, (a, j, i)
            _classes(loss, out[place], delta[place], kind, 1)
            delta[place][4] = 0
            return True
    return False
