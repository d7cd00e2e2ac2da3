"""The loss of ``[yolo]``: a plain loop over everything says the same.

The loop is written from the description of the programs.  What pjreddie's gives is compared with
the real program in another file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from darknet_bn.kernels.boxes.gradient import dx_box_iou
from darknet_bn.kernels.losses.yolo import YoloLoss
from tests.support.plain_overlaps import OVERLAPS, iou, true_boxes

ANCHORS = np.array([(10, 14), (23, 27), (37, 18), (21, 40), (60, 50)], np.float64)
NET = (96, 64)
H, W, CLASSES = 6, 4, 3
AB: dict[str, Any] = {
    "extended": True,
    "details": True,
    "iou_normalizer": 0.75,
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"truth_thresh": 0.4, "ignore_thresh": 0.3},
    AB,
    AB | {"ignore_thresh": 0.2, "truth_thresh": 0.3, "obj_normalizer": 0.5},
    AB | {"iou_loss": "iou"},
    AB | {"iou_loss": "giou", "iou_normalizer": 0.07},
    AB | {"iou_loss": "diou", "max_delta": 0.3},
    AB | {"iou_loss": "ciou", "cls_normalizer": 2.0, "counters_per_class": (40, 10, 3)},
    AB | {"iou_thresh": 0.2, "iou_loss": "ciou"},
    AB | {"iou_thresh": 0.3, "iou_thresh_kind": "giou"},
    AB | {"objectness_smooth": True, "truth_thresh": 0.4, "ignore_thresh": 0.1},
    AB | {"label_smooth_eps": 0.1},
    AB | {"max_delta": 0.1, "details": False},
    AB | {"iou_loss": "ciou", "details": False},
    AB | {"counters_per_class": (40, 0, 3), "max_delta": 5.0, "label_smooth_eps": 0.2},
    AB | {"iou_thresh": 0.25, "iou_thresh_kind": "diou", "objectness_smooth": True},
    AB | {"iou_thresh": 0.25, "iou_thresh_kind": "ciou", "obj_normalizer": 0.0},
    AB | {"focal_loss": True},
    AB | {"new_coords": True, "iou_loss": "ciou", "iou_thresh": 0.2},
    AB | {"new_coords": True},
]


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Some boxes, two of them in one cell, then the end, then what is not to be read."""
    truth = np.zeros((count + 3, 5), np.float32)
    truth[:count, :2] = rng.uniform(0.02, 0.98, (count, 2))
    truth[:count, 2:4] = rng.uniform(0.08, 0.7, (count, 2))
    truth[:count, 4] = rng.integers(0, CLASSES, count)
    if count > 1:
        truth[1, :4] = truth[0, :4] * np.float32(1.01)
        truth[1, 4] = (truth[0, 4] + 1) % CLASSES
    truth[count + 1] = (0.5, 0.5, 0.5, 0.5, 1)
    return truth


def values(rng: np.random.Generator, masks: tuple[int, ...], options: dict[str, Any]) -> np.ndarray:
    """An output: all squashed but the sizes, which are near those of the anchors."""
    y = rng.uniform(0.02, 0.98, (2, len(masks), 5 + CLASSES, H, W))
    y[:, :, 5:] *= rng.choice([0.2, 1], (2, len(masks), 1, H, W))  # some are sure of no class
    y[:, :, 5] *= rng.choice([0, 1], (2, len(masks), H, W))  # whose delta then is 0
    if not options.get("new_coords"):
        y[:, :, 2:4] = rng.uniform(-0.7, 0.9, (2, len(masks), 2, H, W))
    return y.reshape(2, -1, H, W)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", OPTIONS, ids=lambda each: ",".join(map(str, each.values())))
def test_a_plain_loop_says_the_same(options: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = ((0, 1, 2), (3, 4), (2,), (1, 3, 1))[seed]
    loss = YoloLoss(anchors=ANCHORS, masks=masks, classes=CLASSES, net=NET, **options)
    y = values(rng, masks, options)
    truth = np.stack([boxes(rng, 6), boxes(rng, 6)])
    truth[1, 3:] = 0
    delta, value = loss(y, truth)
    expected, expected_value = plain(loss, y, truth)
    np.testing.assert_allclose(delta, expected, rtol=1e-9, atol=1e-12)  # float64
    assert value == pytest.approx(expected_value, rel=1e-6)  # overlaps in float32, as in C
    assert loss(y.astype(np.float32), truth)[0].dtype == np.float32


def test_a_centre_outside_is_not_to_be_found() -> None:
    loss = YoloLoss(anchors=ANCHORS, masks=(0, 1, 2, 3, 4), classes=CLASSES, net=NET)
    y = values(np.random.default_rng(0), (0, 1, 2, 3, 4), {})
    truth = np.zeros((2, 2, 5), np.float32)
    truth[0, 0, :4] = (1, 0.5, 0.3, 0.3)
    truth[1, 0, :4] = (0.5, -0.5, 0.3, 0.3)
    delta = loss(y, truth)[0].reshape(2, 5, -1, H, W)
    assert not delta[:, :, :4].any()
    assert not delta[:, :, 5:].any()


def test_without_any_box_there_is_no_object() -> None:
    loss = YoloLoss(anchors=ANCHORS, masks=(0, 1), classes=CLASSES, net=NET, **AB)
    y = values(np.random.default_rng(0), (0, 1), {})
    delta, value = loss(y, np.zeros((2, 4, 5), np.float32))
    planes, given = (each.reshape(2, 2, -1, H, W) for each in (y, delta))
    assert np.array_equal(given[:, :, 4], -planes[:, :, 4])
    assert not given[:, :, :4].any()
    assert not given[:, :, 5:].any()
    assert value == pytest.approx(float(np.square(planes[:, :, 4]).sum()))


def plain(loss: YoloLoss, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """The same, one prediction and one box after the other."""
    out = y.reshape(len(y), len(loss.masks), -1, H, W)
    delta = np.zeros_like(out)
    lost: list[float] = []
    for b in range(len(y)):
        truths = true_boxes(truth[b])
        _predictions(loss, out[b], delta[b], truths)
        for each in truths:
            _truth(loss, out[b], delta[b], each, lost)
        if loss.extended and loss.iou_thresh < 1:
            for a in range(len(loss.masks)):
                for j in range(H):
                    for i in range(W):
                        at = delta[b, a, :, j, i]
                        count = sum(1 for value in at[5:] if value > 0)
                        if at[4] != 0 and count:
                            at[:4] /= count
    squares = float((delta**2).sum())
    if loss.details and loss.iou_loss != "mse":
        rest = float((delta[:, :, 4:] ** 2).sum())
        squares = loss.obj_normalizer * rest + loss.iou_normalizer * float(np.mean(lost))
    return delta.reshape(y.shape), squares


def _decode(loss: YoloLoss, at: np.ndarray, anchor: np.ndarray, i: int, j: int) -> np.ndarray:
    stretch = 4 * at[2:4] ** 2 if loss.new_coords else np.exp(at[2:4])
    w, h = stretch * anchor / (NET[1], NET[0])
    return np.array([(i + at[0]) / W, (j + at[1]) / H, w, h])


def _weight(loss: YoloLoss, kind: int) -> float:
    if loss.counters_per_class is None:
        return 1.0
    counts = [max(1, each) for each in loss.counters_per_class]
    return min(max(counts) / counts[kind], loss.max_delta)


def _predictions(loss: YoloLoss, out: np.ndarray, delta: np.ndarray, truths: list) -> None:
    for a, mask in enumerate(loss.masks):
        for j in range(H):
            for i in range(W):
                at, d = out[a, :, j, i], delta[a, :, j, i]
                box = _decode(loss, at, ANCHORS[mask], i, j)
                ious = [iou(box, each) for each in truths]
                best = max(ious, default=0)
                sure = not loss.extended or (at[5:] > 0.25).any()
                d[4] = loss.obj_normalizer * (0 - at[4])
                if sure and best > loss.ignore_thresh:
                    if loss.objectness_smooth:
                        d[4] = max(d[4], loss.obj_normalizer * (best - at[4]))
                    else:
                        d[4] = 0
                if best > loss.truth_thresh:
                    each = truths[ious.index(best)]
                    kind = int(each[4])
                    aim = best * best if loss.objectness_smooth else 1.0
                    d[4] = loss.obj_normalizer * (aim - at[4])
                    _classes(loss, at, d, kind)
                    if loss.objectness_smooth:
                        d[5 + kind] = _weight(loss, kind) * (aim - at[5 + kind])
                    _box(loss, at, d, each, ANCHORS[mask], i, j)


def _truth(
    loss: YoloLoss, out: np.ndarray, delta: np.ndarray, each: list, lost: list[float]
) -> None:
    i, j, kind = int(each[0] * W), int(each[1] * H), int(each[4])
    centred = np.array([0, 0, each[2], each[3]])
    shapes = [np.array([0, 0, w / NET[1], h / NET[0]]) for w, h in ANCHORS]
    ious = [iou(shape, centred) for shape in shapes]
    best = ious.index(max(ious))
    chosen = [best] if best in loss.masks else []
    if loss.iou_thresh < 1:
        measure = OVERLAPS[loss.iou_thresh_kind]
        chosen += [
            number
            for number in range(len(ANCHORS))
            if number != best
            and number in loss.masks
            and measure(shapes[number], centred) > loss.iou_thresh
        ]
    for number in chosen:
        a = list(loss.masks).index(number)
        at, d = out[a, :, j, i], delta[a, :, j, i]
        box = _decode(loss, at, ANCHORS[number], i, j)
        measure = OVERLAPS["giou" if loss.iou_loss == "giou" else "iou"]
        lost.append(1 - measure(box, each))
        _box(loss, at, d, each, ANCHORS[number], i, j)
        if not loss.objectness_smooth or d[4] == 0:
            d[4] = _weight(loss, kind) * loss.obj_normalizer * (1 - at[4])
        _classes(loss, at, d, kind)


def _classes(loss: YoloLoss, at: np.ndarray, d: np.ndarray, kind: int) -> None:
    def smooth(aim: float) -> float:
        eps = loss.label_smooth_eps
        return aim * (1 - eps) + 0.5 * eps if eps else aim

    seen = d[5 + kind] if loss.extended else d[5]
    if seen != 0:
        d[5 + kind] = _weight(loss, kind) * (smooth(1) - at[5 + kind])
        return
    for k in range(CLASSES):
        if loss.focal_loss:
            pt = at[5 + kind] + 1e-15
            slope = -(1 - pt) * (2 * pt * math.log(pt) + pt - 1)
            d[5 + k] = ((k == kind) - at[5 + k]) * 0.5 * slope
            continue
        d[5 + k] = smooth(float(k == kind)) - at[5 + k]
        if k == kind and loss.counters_per_class is not None:
            d[5 + k] *= _weight(loss, kind) * loss.cls_normalizer


def _box(
    loss: YoloLoss, at: np.ndarray, d: np.ndarray, each: list, anchor: np.ndarray, i: int, j: int
) -> None:
    x, y, w, h, kind = each
    if loss.iou_loss == "mse":
        ratio = np.array([w * NET[1], h * NET[0]]) / anchor
        sizes = np.sqrt(ratio / 4) if loss.new_coords else np.log(ratio)
        pull = np.array([x * W - i, y * H - j, *sizes]) - at[:4]
        pull *= 2 - w * h
    else:
        box = _decode(loss, at, anchor, i, j)
        pull = dx_box_iou(box, np.array(each[:4]), loss.iou_loss)
        if not loss.new_coords:
            pull[2:] *= np.exp(at[2:4])
    pull = pull * loss.iou_normalizer * _weight(loss, int(kind))
    if loss.iou_loss != "mse":
        pull = np.clip(pull, -loss.max_delta, loss.max_delta)
    d[:4] = d[:4] + pull if loss.extended else pull
