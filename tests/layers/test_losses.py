"""The losses of detection heads, against Debian's Darknet in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.layers.layer import as_inferred
from darknet_bn.layers.passes import TrainingContext
from darknet_bn.layers.shape import Shape
from tests.support.program import program_step

BATCH, CLASSES = 3, 4
# Sums of convolutions in another order, and float32 in the program where here is float64.
TOLERANCE = 2e-6
_NET = "[net] batch=3 width=64 height=96 channels=3"
_CONV = "[convolutional] filters=16 size=3 stride=4 pad=1 activation=leaky"
_LAST = "[convolutional] filters=27 size=3 stride=2 pad=1 activation=linear"
_YOLO = "[yolo] mask=0,2,3 num=5 classes=4 anchors=10,10,20,30,30,12,50,60,9,9"
_REGION = "[region] num=3 classes=4 anchors=1,1,2,3,3,1.2"
_DETECTION = "[detection] classes=4 coords=4 side=3 num=2"


def boxes(rng: np.random.Generator, most: int) -> np.ndarray:
    """Truth of three images: 8, 7 and 6 boxes."""
    truth = np.zeros((BATCH, most, 5), np.float32)
    for image, count in enumerate((8, 7, 6)):
        truth[image, :count, :2] = rng.uniform(0.05, 0.95, (count, 2))
        truth[image, :count, 2:4] = rng.uniform(0.05, 0.6, (count, 2))
        truth[image, :count, 4] = rng.integers(0, CLASSES, count)
    return truth


def cells(rng: np.random.Generator) -> np.ndarray:
    truth = np.zeros((BATCH, 9, 1 + CLASSES + 4), np.float32)
    for image in range(BATCH):
        for cell in rng.choice(9, 4, replace=False):
            truth[image, cell, 0] = 1
            truth[image, cell, 1 + rng.integers(CLASSES)] = 1
            truth[image, cell, 5:7] = rng.random(2)
            truth[image, cell, 7:] = rng.uniform(0.1, 0.7, 2)
    return truth


def close(mine: np.ndarray, theirs: np.ndarray) -> None:
    largest = float(np.abs(theirs).max())
    assert float(np.abs(mine.ravel() - theirs).max()) <= TOLERANCE * largest


CASES = [
    *(
        ("\n\n".join((_NET, _CONV, _LAST, f"{_YOLO} {more}")), 90, 0)
        for more in (
            "",
            "truth_thresh=0.3",
            "ignore_thresh=0.2 truth_thresh=0.25",
        )
    ),
    *(
        ("\n\n".join((_NET, _CONV, _LAST, f"{_REGION} {more}")), 30, seen)
        for more, seen in (
            ("softmax=1", 0),
            ("thresh=0.2", 20_000),
            ("softmax=1 rescore=1 object_scale=5 coord_scale=2", 20_000),
            ("bias_match=1 class_scale=0.5 noobject_scale=0.3", 300),
            ("softmax=1 background=1", 0),
        )
    ),
    *(
        (
            "\n\n".join(
                (
                    "[net] batch=3 width=32 height=32 channels=3",
                    _CONV,
                    "[connected] output=126 activation=logistic",
                    f"{_DETECTION} {more}",
                )
            ),
            0,
            0,
        )
        for more in (
            "",
            "sqrt=1 rescore=1",
            "forced=1 softmax=1",
            "sqrt=1 object_scale=2 noobject_scale=0.5 class_scale=3 coord_scale=5",
        )
    ),
]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(("text", "most", "seen"), CASES, ids=lambda each: str(each)[-40:])
def test_pjreddies(
    driver: Path, tmp_path: Path, text: str, most: int, seen: int, seed: int
) -> None:
    cfg = text.replace(" ", "\n").encode()
    model = dn.load(cfg, None, dialect="pjreddie", seed=seed)
    rng = np.random.default_rng(seed)
    x = rng.random((BATCH, *model.network.input.dims), np.float32)
    truth = boxes(rng, most) if most else cells(rng)
    cost, layers = program_step(driver, tmp_path, model, x, truth, seen)
    header = replace(model.header, seen=max(0, seen - BATCH))  # the step counts its own images
    state = dn.train_state(replace(model, header=header), as_coded=True)
    _, step = dn.train_step(state, x, truth)
    head = len(layers) - 1
    output, before, _ = layers[head]
    close(step.outputs[head], output)
    if "region" in text:
        # On the CPU, the program stops here; on the GPU it continues like this.
        planes = output.reshape(BATCH, 3, 9, -1)
        squashed = [0, 1] if "background" in text else [0, 1, 4]
        before = before.reshape(planes.shape).copy()
        before[:, :, squashed] *= planes[:, :, squashed] * (1 - planes[:, :, squashed])
        close(step.deltas[head], before.ravel())
        close(step.deltas[head - 1], before.ravel())
    else:
        close(step.deltas[head], before)
        close(step.deltas[head - 1], layers[head - 1][2])
    assert step.loss * BATCH == pytest.approx(cost, rel=1e-5)  # C squares a float32 sum of squares


@pytest.mark.parametrize("more", ["", "softmax=1 sqrt=1"])
def test_a_head_without_classes(driver: Path, tmp_path: Path, more: str) -> None:
    text = f"{_DETECTION} {more}".replace("classes=4", "classes=0")
    sections = (
        "[net] batch=3 width=32 height=32 channels=3",
        *(_CONV, "[connected] output=90 activation=logistic", text),
    )
    model = dn.load(
        "\n\n".join(sections).replace(" ", "\n").encode(), None, dialect="pjreddie", seed=3
    )
    rng = np.random.default_rng(3)
    x = rng.random((BATCH, *model.network.input.dims), np.float32)
    truth = np.delete(cells(rng), range(1, 1 + CLASSES), axis=2)
    cost, layers = program_step(driver, tmp_path, model, x, truth)
    _, step = dn.train_step(dn.train_state(model, as_coded=True), x, truth)
    close(step.outputs[2], layers[2][0])
    close(step.deltas[2], layers[2][1])
    assert step.loss * BATCH == pytest.approx(cost, rel=1e-5)  # C squares a float32 sum of squares
    assert dn.detections(model, x, threshold=0.1) == [[], [], []]


def test_two_heads_and_an_image_without_boxes(driver: Path, tmp_path: Path) -> None:
    sections = (
        # Ten columns, and fifteen rows: a centre in a tenth is at the edge of a cell.
        "[net] batch=3 width=80 height=120 channels=3",
        *(_CONV, _LAST, _YOLO, "[route] layers=-3"),
        *("[convolutional] filters=18 size=1 activation=linear", _YOLO.replace("0,2,3", "1,4")),
    )
    model = dn.load(
        "\n\n".join(sections).replace(" ", "\n").encode(), None, dialect="pjreddie", seed=3
    )
    rng = np.random.default_rng(3)
    x = rng.random((BATCH, *model.network.input.dims), np.float32)
    truth = boxes(rng, 90)
    truth[1] = 0
    truth[0, :6, :2] = np.arange(2, 8)[:, None] / 10
    cost, layers = program_step(driver, tmp_path, model, x, truth)
    _, step = dn.train_step(dn.train_state(model, as_coded=True), x, truth)
    for head in (2, 5):
        close(step.outputs[head], layers[head][0])
        close(step.deltas[head], layers[head][2])
    assert step.loss * BATCH == pytest.approx(cost, rel=1e-5)  # C squares float32 sums


class TestTruth:
    def head(self, text: str) -> dn.Model:
        return dn.load(text.replace(" ", "\n").encode(), None, dialect="alexeyab")

    def step(self, text: str, truth: np.ndarray) -> object:
        model = self.head(text)
        x = np.zeros((2, *model.network.input.dims), np.float32)
        return dn.train_step(dn.train_state(model), x, truth)

    def test_a_class_that_there_is_not(self) -> None:
        truth = np.array([[[0.5, 0.5, 0.1, 0.1, 4]]] * 2)
        with pytest.raises(dn.ShapeError, match=r"\[yolo\].*a box has a class that does not exist"):
            self.step("\n\n".join((_NET, _CONV, _LAST, _YOLO)), truth)

    def test_no_boxes(self) -> None:
        with pytest.raises(dn.ShapeError, match=r"expected \(2, boxes, 5\).*found \(2, 7\)"):
            self.step("\n\n".join((_NET, _CONV, _LAST, _REGION)), np.zeros((2, 7)))

    def test_other_numbers_for_classes(self) -> None:
        for head in (_YOLO, _REGION):
            with pytest.raises(dn.TrainingError, match=r"expected .*no map=, found map=9k\.map"):
                self.step("\n\n".join((_NET, _CONV, _LAST, f"{head} map=9k.map")), np.zeros((2, 5)))

    def test_more_coordinates_than_there_are(self) -> None:
        text = "\n\n".join((_NET, _CONV, _LAST, f"{_REGION} coords=6 classes=2"))
        with pytest.raises(dn.TrainingError, match="expected coords=4, found 6"):
            self.step(text.replace("classes=4", ""), np.zeros((2, 5)))

    def test_counters_of_other_classes(self) -> None:
        text = "\n\n".join((_NET, _CONV, _LAST, f"{_YOLO} counters_per_class=1,2,3"))
        with pytest.raises(dn.CfgError, match="expected 4, since classes=4, found 3"):
            self.step(text, np.zeros((2, 5)))

    def test_no_cells(self) -> None:
        text = "\n\n".join((_NET, _CONV, "[connected] output=126 activation=logistic", _DETECTION))
        with pytest.raises(dn.ShapeError, match="the truth does not fit the cells"):
            self.step(text, np.zeros((2, 9, 8)))


def training(truth: np.ndarray | None, seen: int = 0) -> TrainingContext:
    rng = np.random.default_rng(0)
    return TrainingContext(dn.ALEXEYAB.sound, rng, Shape(3, 96, 64), truth, seen, batch=BATCH)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seen", [0, 20_000])
def test_alexeyabs_region_is_pjreddies_in_another_order(dtype: type, seen: int) -> None:
    """Both describe one loss: where they store x and y differs, and what is squashed when."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, 27, 6, 4)).astype(dtype)
    truth = boxes(rng, 30)
    text = "\n\n".join((_NET, _CONV, _LAST.replace("stride=2", "stride=4"), f"{_REGION} softmax=1"))
    deltas = []
    for dialect in (dn.PJREDDIE, dn.ALEXEYAB):
        model = dn.load(text.replace(" ", "\n").encode(), None, dialect=dialect)
        layer = model.network.nodes[2].layer
        place = replace(training(truth, seen), dialect=dialect.sound)
        done = layer.train([x], {}, place)
        deltas.append(done.back(np.zeros_like(done.y)).deltas[0])
        assert done.loss is not None
        assert done.loss > 0
    theirs, mine = (each.reshape(BATCH, 3, 9, 6, 4) for each in deltas)
    assert mine.dtype == dtype
    np.testing.assert_allclose(mine[:, :, 4:], theirs[:, :, 4:], rtol=1e-4, atol=1e-6)
    if seen:  # pjreddie's weighs small boxes up
        there = theirs[:, :, 0] != 0
        assert np.array_equal(there, mine[:, :, 0] != 0)
        ratio = (theirs[:, :, :4] / np.where(mine[:, :, :4] == 0, 1, mine[:, :, :4])).transpose(
            0, 1, 3, 4, 2
        )[there]
        assert (ratio > 1.6).all()
        assert (ratio < 2).all()


def alexeyabs(head: str, filters: int, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """Delta and loss of a head, with any delta of the output added."""
    text = "\n\n".join((_NET, _CONV, _LAST.replace("27", str(filters)), head))
    layer = (
        dn.load(text.replace(" ", "\n").encode(), None, dialect="alexeyab").network.nodes[2].layer
    )
    x = np.random.default_rng(0).standard_normal((BATCH, filters, 6, 4))
    done = layer.train([x], {}, training(truth))
    delta = done.back(np.full_like(done.y, 0.25)).deltas[0]
    assert delta is not None
    assert delta.dtype == done.y.dtype == np.float64
    assert done.loss is not None
    return delta - 0.25, done.loss


def squares(delta: np.ndarray) -> float:
    return float(np.square(delta).sum())


def test_what_alexeyabs_yolo_reports() -> None:
    truth = boxes(np.random.default_rng(0), 30)
    plain, loss = alexeyabs(_YOLO, 27, truth)
    assert loss == pytest.approx(squares(plain))
    options = "iou_loss=giou iou_normalizer=0.1 obj_normalizer=0.5"
    delta, loss = alexeyabs(f"{_YOLO} {options}", 27, truth)
    rest = np.delete(delta.reshape(BATCH, 3, 9, 6, 4), np.s_[:4], axis=2)
    # 0.1 times the mean of what is missing from overlaps that are from -1 to 1
    assert 0 < loss - 0.5 * squares(rest) < 0.2
    again, short = alexeyabs(f"{_YOLO} {options} show_details=0", 27, truth)
    assert np.array_equal(again, delta)
    assert short == pytest.approx(squares(delta))


def test_defaults_of_alexeyabs_yolo() -> None:
    truth = boxes(np.random.default_rng(0), 30)
    plain, _ = alexeyabs(_YOLO, 27, truth)
    spelled = "iou_normalizer=0.75 obj_normalizer=1 iou_loss=mse iou_thresh=1"
    assert np.array_equal(alexeyabs(f"{_YOLO} {spelled}", 27, truth)[0], plain)
    full, _ = alexeyabs(f"{_YOLO} iou_normalizer=1", 27, truth)
    box = np.s_[:, :, :4]
    plain, full = (each.reshape(BATCH, 3, 9, 6, 4) for each in (plain, full))
    np.testing.assert_allclose(plain[box], 0.75 * full[box])
    assert full[box].any()


@pytest.mark.parametrize("point", ["center", "left_top", "right_bottom"])
def test_gaussian_boxes_that_are_right(point: str) -> None:
    """What decodes to the true box is not pulled anywhere, whatever x and y are of."""
    text = "\n\n".join(
        (
            _NET,
            _CONV,
            _LAST.replace("27", "11"),
            f"[Gaussian_yolo] classes=2 anchors=20,30 yolo_point={point}",
        )
    )
    layer = (
        dn.load(text.replace(" ", "\n").encode(), None, dialect="alexeyab").network.nodes[2].layer
    )
    x = np.random.default_rng(1).standard_normal((1, 11, 6, 4))
    x[0, :8, 3, 2] = (0.3, 0, -0.2, 0, 0.1, 0, 0.2, 0)
    y = as_inferred(layer, [x], {}, training(None))
    found = layer.boxes(y[0].astype(np.float32), Shape(3, 96, 64), 0.0, dn.ALEXEYAB).xywh
    own = np.float32([*found[3 * 4 + 2], 1])  # they come cell by cell
    done = layer.train([x], {}, replace(training(own.reshape(1, 1, 5)), batch=1))
    delta = done.back(np.zeros_like(done.y)).deltas[0]
    assert delta is not None
    assert np.flatnonzero(delta[0, 9].ravel()).tolist() == [3 * 4 + 2]
    np.testing.assert_allclose(delta[0, :8:2, 3, 2], 0, atol=1e-5)  # the truth is in float32
    assert (delta[0, 1:8:2, 3, 2] < -0.1).all()  # and its spread goes down


def test_without_truth_there_is_no_loss() -> None:
    model = dn.load("\n\n".join((_NET, _CONV, _LAST, _YOLO)).replace(" ", "\n").encode(), None)
    layer = model.network.nodes[2].layer
    x = np.ones((BATCH, 27, 6, 4), np.float32)
    done = layer.train([x], {}, training(None))
    assert done.loss is None
    delta = np.full_like(done.y, 0.5)
    assert np.array_equal(done.back(delta).deltas[0], delta)
