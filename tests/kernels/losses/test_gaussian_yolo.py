"""The loss of ``[Gaussian_yolo]``: a plain loop over everything says the same.

The loop is written from the description of the program.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from darknet_bn.kernels.boxes.gradient import dx_box_iou
from darknet_bn.kernels.losses.gaussian_yolo import GaussianYoloLoss
from tests.support.plain_overlaps import OVERLAPS, iou, true_boxes

ANCHORS = np.array([(10, 14), (23, 27), (37, 18), (21, 40), (60, 50)], np.float64)
NET = (96, 64)
H, W, CLASSES = 6, 4, 3
OPTIONS: list[dict[str, Any]] = [
    {},
    {"iou_normalizer": 0.5, "uc_normalizer": 0.25},
    {"ignore_thresh": 0.2, "truth_thresh": 0.3, "obj_normalizer": 0.5},
    {"objectness_smooth": True, "truth_thresh": 0.4, "ignore_thresh": 0.1},
    {"iou_loss": "giou", "iou_normalizer": 0.5},
    {"iou_loss": "ciou", "max_delta": 0.1},
    {"iou_thresh": 0.2, "uc_normalizer": 0.3, "max_delta": 0.2},
    {"iou_thresh": 0.2, "iou_thresh_kind": "giou", "obj_normalizer": 0.0},
    {"counters_per_class": (40, 10, 3), "cls_normalizer": 2.0, "uc_normalizer": 0.7},
    {"label_smooth_eps": 0.1},
]


def values(rng: np.random.Generator, masks: tuple[int, ...]) -> np.ndarray:
    y = rng.uniform(0.05, 0.95, (2, len(masks), 9 + CLASSES, H, W))
    y[:, :, 9:] *= rng.choice([0.2, 1], (2, len(masks), 1, H, W))  # some are sure of no class
    y[:, :, 9] *= rng.choice([0, 1], (2, len(masks), H, W))  # whose delta then is 0
    y[:, :, (4, 6)] = rng.uniform(-0.7, 0.9, (2, len(masks), 2, H, W))
    return y.reshape(2, -1, H, W)


def boxes(rng: np.random.Generator) -> np.ndarray:
    """Truth of two images, with two boxes in one cell, and such as reach beyond the image."""
    truth = np.zeros((2, 8, 5), np.float32)
    truth[:, :6, :2] = rng.uniform(0.02, 0.98, (2, 6, 2))
    truth[:, :6, 2:4] = rng.uniform(0.08, 0.7, (2, 6, 2))
    truth[:, :6, 4] = rng.integers(0, CLASSES, (2, 6))
    truth[:, 1, :4] = truth[:, 0, :4] * np.float32(1.01)
    truth[1, 3:] = 0
    return truth


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("point", [0.0, 0.5, -0.5])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda each: ",".join(map(str, each.values())))
def test_a_plain_loop_says_the_same(options: dict[str, Any], point: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = ((0, 1, 2), (3, 4), (2,))[seed]
    loss = GaussianYoloLoss(
        anchors=ANCHORS,
        masks=masks,
        classes=CLASSES,
        net=NET,
        extended=True,
        point=point,
        **options,
    )
    y, truth = values(rng, masks), boxes(rng)
    delta, value = loss(y, truth)
    expected = plain(loss, y, truth)
    np.testing.assert_allclose(delta, expected, rtol=1e-9, atol=1e-12)  # float64
    assert value == pytest.approx(float((expected**2).sum()))  # whatever iou_loss is
    assert np.abs(expected[0]).sum() > 0
    in_float32, _ = loss(y.astype(np.float32), truth)
    assert in_float32.dtype == np.float32
    # Float32 in, squares of quotients: a few roundings of values up to some hundred.
    np.testing.assert_allclose(in_float32, expected, rtol=1e-4, atol=1e-5)


def plain(loss: GaussianYoloLoss, y: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The deltas, one prediction and one box after the other."""
    out = y.reshape(len(y), len(loss.masks), -1, H, W)
    delta = np.zeros_like(out)
    for b in range(len(y)):
        truths = true_boxes(truth[b])
        for a in range(len(loss.masks)):
            for j in range(H):
                for i in range(W):
                    _prediction(loss, out[b, a, :, j, i], delta[b, a, :, j, i], truths, a, i, j)
        for each in truths:
            _truth(loss, out[b], delta[b], each)
        for a in range(len(loss.masks)):
            for j in range(H):
                for i in range(W):
                    at = delta[b, a, :, j, i]
                    count = sum(1 for value in at[9:] if value > 0)
                    if count:
                        at[:8] /= count
    return delta.reshape(y.shape)


def _weight(loss: GaussianYoloLoss, kind: int) -> float:
    if loss.counters_per_class is None:
        return 1.0
    return min(max(loss.counters_per_class) / loss.counters_per_class[kind], loss.max_delta)


def _decode(loss: GaussianYoloLoss, at: np.ndarray, anchor: np.ndarray, i: int, j: int) -> list:
    w = math.exp(at[4]) * anchor[0] / NET[1]
    h = math.exp(at[6]) * anchor[1] / NET[0]
    x, y = (i + at[0]) / W, (j + at[2]) / H
    if loss.point == 0.5:  # x and y are of the left and the top
        x, y = x + w / 2, y + h / 2
    if loss.point == -0.5:
        x, y = x - w / 2, y - h / 2
    return [x, y, w, h]


def _prediction(
    loss: GaussianYoloLoss, at: np.ndarray, d: np.ndarray, truths: list, a: int, i: int, j: int
) -> None:
    anchor = ANCHORS[loss.masks[a]]
    box = _decode(loss, at, anchor, i, j)
    ious = [iou(box, each) for each in truths]
    best = max(ious, default=0)
    d[8] = loss.obj_normalizer * (0 - at[8])
    if best > loss.ignore_thresh and (at[9:] > 0.25).any():
        d[8] = 0
        if loss.objectness_smooth:
            d[8] = loss.obj_normalizer * (best * best - at[8])
            _classes(loss, at, d, int(truths[ious.index(best)][4]))
    if best > loss.truth_thresh:
        each = truths[ious.index(best)]
        kind = int(each[4])
        aim = best * best if loss.objectness_smooth else 1.0
        d[8] = loss.obj_normalizer * (aim - at[8])
        _classes(loss, at, d, kind)
        if loss.objectness_smooth:
            d[9 + kind] = _weight(loss, kind) * (aim - at[9 + kind])
        _box(loss, at, d, each, anchor, i, j)


def _truth(loss: GaussianYoloLoss, out: np.ndarray, delta: np.ndarray, each: list) -> None:
    x, y, w, h, kind = each
    i, j = int(x * W), int(y * H)
    if loss.point == 0.5:
        i, j = int((x - w / 2) * W), int((y - h / 2) * H)
    if loss.point == -0.5:
        i, j = int((x + w / 2) * W), int((y + h / 2) * H)
    i, j = min(max(i, 0), W - 1), min(max(j, 0), H - 1)
    shapes = [[0, 0, aw / NET[1], ah / NET[0]] for aw, ah in ANCHORS]
    ious = [iou(shape, [0, 0, w, h]) for shape in shapes]
    best = ious.index(max(ious))
    similar = [OVERLAPS[loss.iou_thresh_kind](shape, [0, 0, w, h]) for shape in shapes]
    for number in loss.masks:
        if number == best or (loss.iou_thresh < 1 and similar[number] > loss.iou_thresh):
            a = list(loss.masks).index(number)
            at, d = out[a, :, j, i], delta[a, :, j, i]
            _box(loss, at, d, each, ANCHORS[number], i, j)
            d[8] = _weight(loss, int(kind)) * loss.obj_normalizer * (1 - at[8])
            _classes(loss, at, d, int(kind))


def _classes(loss: GaussianYoloLoss, at: np.ndarray, d: np.ndarray, kind: int) -> None:
    eps = loss.label_smooth_eps
    if d[9] != 0:
        d[9 + kind] = _weight(loss, kind) * (1 * (1 - eps) + 0.5 * eps - at[9 + kind])
        return
    for k in range(CLASSES):
        d[9 + k] = (k == kind) * (1 - eps) + 0.5 * eps - at[9 + k]
        if k == kind and loss.counters_per_class is not None:
            d[9 + k] *= _weight(loss, kind) * loss.cls_normalizer


def _box(
    loss: GaussianYoloLoss,
    at: np.ndarray,
    d: np.ndarray,
    each: list,
    anchor: np.ndarray,
    i: int,
    j: int,
) -> None:
    x, y, w, h, kind = each
    if loss.point == 0.5:
        x, y = x - w / 2, y - h / 2
    if loss.point == -0.5:
        x, y = x + w / 2, y + h / 2
    aims = [
        x * W - i,
        y * H - j,
        math.log(w * NET[1] / anchor[0]),
        math.log(h * NET[0] / anchor[1]),
    ]
    slopes = [0.0] * 4
    if loss.iou_loss != "mse":
        box = np.array(_decode(loss, at, anchor, i, j))
        sx, sy, sw, sh = dx_box_iou(box, np.array(each[:4]), loss.iou_loss)
        if loss.point == 0.5:
            sx, sy = sx - sw / 2, sy - sh / 2
        if loss.point == -0.5:
            sx, sy = sx + sw / 2, sy + sh / 2
        slopes = [sx, sy, sw * math.exp(at[4]), sh * math.exp(at[6])]
    for k in range(4):
        mean, sigma = at[2 * k], at[2 * k + 1]
        e = (aims[k] - mean) / sigma
        density = math.exp(-e * e / 2) / (math.sqrt(2 * math.pi) * (sigma + 0.3))
        share = 0.5 * density / (density + 1e-9) * (2 - w * h)
        pull = share * e / sigma if loss.iou_loss == "mse" else slopes[k]
        pull *= loss.iou_normalizer * _weight(loss, int(kind))
        spread = loss.uc_normalizer * share * (e * e / sigma - 1 / (sigma + 0.3))
        d[2 * k] += min(max(pull, -loss.max_delta), loss.max_delta)
        d[2 * k + 1] += min(max(spread, -loss.max_delta), loss.max_delta)
