"""Evaluation against what the library finds in each picture alone."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.predictions.average_precision import AveragePrecision, average_precision
from darknet_bn.predictions.evaluation import Accuracy, evaluate
from darknet_bn.predictions.inputs import own_fit_for_tests
from tests.support.builders import cfg_text, random_model
from tests.support.labelled import NAMES, box_set, class_set
from tests.support.paths import FIXTURES
from tests.support.pictures import PREPROCESS

TINY = FIXTURES / "tiny" / "tiny"
CLASSIFIER = FIXTURES / "layers" / "avgpool_softmax" / "model"
FIVE = ("ant", "bee", "crab", "dog", "elk")


def detector(dialect: str = "alexeyab") -> dn.Model:
    return dn.load(f"{TINY}.cfg", f"{TINY}.weights", dialect=dialect)


def classifier() -> dn.Model:
    return dn.load(f"{CLASSIFIER}.cfg", f"{CLASSIFIER}.weights")


def seen_alone(model: dn.Model, name: str, letterbox: bool) -> list[dn.Detection]:
    im = dn.load_image(PREPROCESS / f"{name}.png")
    x = (dn.letterbox if letterbox else dn.resize_image)(im, 64, 64)[None]
    (found,) = dn.detections(
        model, x, image_sizes=im.shape[1:], threshold=0.005, letterbox=letterbox
    )
    return found


def as_rows(found: list[dn.Detection], most: int) -> list[tuple[float, ...]]:
    """Labels of the best detections inside the picture, one per box."""
    inside = [each for each in found if min(each.box[:2]) > 0 and max(each.box[:2]) < 1]
    best = sorted(inside, key=lambda each: -each.probability)[:most]
    return [(each.class_id, *each.box) for each in best]


def as_boxes(found: list[dn.Detection]) -> Boxes:
    probabilities = np.zeros((len(found), 2), np.float32)
    for row, each in enumerate(found):
        for score in each.classes:
            probabilities[row, score.class_id] = score.probability
    xywh = np.array([each.box for each in found], np.float32)
    return Boxes(xywh, np.ones(len(found), np.float32), probabilities)


@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_boxes_are_those_of_each_picture_alone(tmp_path: Path, dialect: str, batch: int) -> None:
    model = detector(dialect)
    seen = {name: seen_alone(model, name, dialect == "pjreddie") for name in NAMES}
    rows = {name: as_rows(seen[name], 4) for name in NAMES[:2]}
    path = box_set(tmp_path, rows)
    report = evaluate(model, dn.load_dataset(path, model, train=False), batch=batch, points=11)
    assert isinstance(report, AveragePrecision)
    truths = [
        np.array([(*row[1:], row[0]) for row in rows.get(name, ())], np.float32).reshape(-1, 5)
        for name in NAMES
    ]
    expected = average_precision([as_boxes(seen[name]) for name in NAMES], truths, points=11)
    assert (report.truths, report.pictures) == (8, 3)
    assert report.pairs == expected.pairs > 50
    # Labels have nine digits; batches of another size are multiplied in another order.
    assert report.mean == pytest.approx(expected.mean, rel=1e-5)
    assert report.average_iou == pytest.approx(expected.average_iou, rel=1e-4)
    assert 0 < report.mean < 1


def test_what_a_model_finds_is_right_if_it_is_the_truth(tmp_path: Path) -> None:
    model = detector()
    rng = np.random.default_rng(0)
    x = rng.random((3, 3, 64, 64), np.float32)
    y = np.zeros((3, 1000, 5), np.float32)
    for number, found in enumerate(dn.detections(model, x, threshold=0.005, nms=0.3)):
        rows = [(*each.box, score.class_id) for each in found for score in each.classes]
        y[number, : len(rows)] = rows
    np.savez(tmp_path / "set.npz", x=x, y=y)
    data = dn.load_dataset(tmp_path / "set.npz", model, train=False)
    report = evaluate(model, data, overlap=0.3, threshold=0.005)
    assert isinstance(report, AveragePrecision)
    assert report.truths == report.pairs == report.true_positives
    assert (report.mean, report.precision, report.recall, report.f1) == (1, 1, 1, 1)
    assert report.average_iou == pytest.approx(1, abs=1e-6)  # float32 of areas


def test_options_reach_the_average_precision(tmp_path: Path) -> None:
    model = detector()
    seen = seen_alone(model, NAMES[0], letterbox=False)
    path = box_set(tmp_path, {NAMES[0]: as_rows(seen, 3)})
    data = dn.load_dataset(path, model, train=False)
    report = evaluate(model, data, iou_threshold=0.9, threshold=0.6, points=101)
    assert isinstance(report, AveragePrecision)
    assert (report.iou_threshold, report.threshold, report.points) == (0.9, 0.6, 101)
    more = evaluate(model, data, overlap=None)
    assert isinstance(more, AveragePrecision)
    assert more.pairs > report.pairs


def test_pictures_fit_as_in_the_tests_of_the_programs() -> None:
    assert own_fit_for_tests(detector("pjreddie")) == "letterbox"
    assert own_fit_for_tests(detector("alexeyab")) == "stretch"
    assert own_fit_for_tests(classifier()) == "crop"
    old = random_model(
        cfg_text("[connected] output=30", "[detection] classes=20 side=1 num=2 coords=4"),
        "pjreddie",
    )
    assert own_fit_for_tests(old) == "stretch"


def test_a_fit_that_is_given_counts(tmp_path: Path) -> None:
    model = detector("alexeyab")
    seen = seen_alone(model, NAMES[0], letterbox=True)
    path = box_set(tmp_path, {NAMES[0]: as_rows(seen, 4)})
    data = dn.load_dataset(path, model, train=False)
    report = evaluate(model, data, fit="letterbox", threshold=0.005, iou_threshold=0.99)
    assert isinstance(report, AveragePrecision)
    assert report.recall == 1
    stretched = evaluate(model, data, threshold=0.005, iou_threshold=0.99)
    assert isinstance(stretched, AveragePrecision)
    assert stretched.recall < 1


# -- classifiers -------------------------------------------------------------------------------


def ranks(model: dn.Model, x: np.ndarray) -> list[list[int]]:
    return [[each.class_id for each in scores] for scores in dn.classify(model, x)]


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_accuracy_counts_the_first_and_the_first_few(tmp_path: Path, batch: int) -> None:
    model = classifier()
    size = model.network.input
    x = np.random.default_rng(1).random((6, *size.dims), np.float32)
    orders = ranks(model, x)
    places = (0, 0, 1, 2, 4, 0)
    y = np.array([order[place] for order, place in zip(orders, places, strict=True)])
    for truth in (y, np.eye(5, dtype=np.float32)[y]):
        np.savez(tmp_path / "set.npz", x=x, y=truth)
        data = dn.load_dataset(tmp_path / "set.npz", model, train=False)
        report = evaluate(model, data, top=2, batch=batch)
        assert isinstance(report, Accuracy)
        assert (report.images, report.top, report.top_1, report.top_k) == (6, 2, 3 / 6, 4 / 6)
        for each in report.classes:
            own = [place for kind, place in zip(y, places, strict=True) if kind == each.class_id]
            assert each.images == len(own)
            assert (each.top_1, each.top_k) == (own.count(0), sum(place < 2 for place in own))


def test_pictures_of_classes(tmp_path: Path) -> None:
    model = classifier()
    kinds = []
    for name, place in zip(NAMES, (0, 1, 2), strict=True):
        x = dn.prepare(dn.load_image(PREPROCESS / f"{name}.png"), model, "crop")
        kinds.append(FIVE[ranks(model, x)[0][place]])
    path = class_set(tmp_path, FIVE, kinds)
    report = evaluate(model, dn.load_dataset(path, model, train=False), top=2)
    assert isinstance(report, Accuracy)
    assert (report.images, report.top_1, report.top_k) == (3, 1 / 3, 2 / 3)


def test_progress_is_told_behind_every_batch(tmp_path: Path) -> None:
    model = detector()
    data = dn.load_dataset(box_set(tmp_path, {}), model, train=False)
    calls: list[int] = []
    evaluate(model, data, batch=2, after_batch=lambda: calls.append(1))
    assert len(calls) == 2


def far_away(function: Callable[[range], Any], batches: Sequence[range]) -> list[Any]:
    """What computes batches elsewhere: function, batches and results go there and back."""
    copy = pickle.loads(pickle.dumps(function))
    results = [copy(pickle.loads(pickle.dumps(each))) for each in reversed(batches)]
    return [pickle.loads(pickle.dumps(each)) for each in results]


@pytest.mark.parametrize("broken", [False, True])
def test_batches_may_be_computed_elsewhere_in_any_order(tmp_path: Path, broken: bool) -> None:
    model = detector()
    found = dn.detections(model, np.zeros((1, 3, 64, 64), np.float32), threshold=0.005)
    data = dn.load_dataset(box_set(tmp_path, {NAMES[0]: as_rows(found[0], 3)}), model, train=False)
    if broken:
        (tmp_path / f"{NAMES[1]}.png").write_bytes(b"nothing")
    calls: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)  # of the broken one
        here = evaluate(model, data, batch=1)
        there = evaluate(
            model,
            data,
            batch=1,
            session=dn.open_session(model),
            spread=far_away,
            after_batch=lambda: calls.append(1),
        )
    assert isinstance(here, AveragePrecision)
    assert there == here
    assert len(calls) == len(NAMES)
    assert here.failed == broken
    model = classifier()
    whole = dn.load_dataset(class_set(tmp_path, FIVE, FIVE[:3]), model, train=False)
    assert evaluate(model, whole, batch=2, spread=far_away) == evaluate(model, whole, batch=2)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be at least 1"),
        ({"top": 0}, "top must be at least 1"),
        ({"points": 1}, "needs more points"),
        ({"threshold": 2.0}, "out of range"),
        ({"overlap": 2.0}, "out of range"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    model = detector()
    data = dn.load_dataset(box_set(tmp_path, {}), model, train=False)
    with pytest.raises(dn.DarknetError, match=message):
        evaluate(model, data, **options)


def test_arrays_that_tell_no_classes_are_refused(tmp_path: Path) -> None:
    model = classifier()
    x = np.zeros((2, *model.network.input.dims), np.float32)
    np.savez(tmp_path / "set.npz", x=x, y=np.full((2, 5), 0.2, np.float32))
    data = dn.load_dataset(tmp_path / "set.npz", model, train=False)
    with pytest.raises(dn.DarknetError, match="the data has no classes"):
        evaluate(model, data)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_picture_that_is_broken_is_named_and_the_others_go_on(tmp_path: Path, batch: int) -> None:
    model = detector()
    data = dn.load_dataset(box_set(tmp_path, {}), model, train=False)
    whole = evaluate(model, data, batch=batch)
    path = tmp_path / f"{NAMES[1]}.png"
    content = path.read_bytes()
    for damaged in (b"\x89PNG\r\n\x1a\nnothing", content[:-100]):
        path.write_bytes(damaged)
        with pytest.warns(dn.DarknetWarning) as caught:
            report = evaluate(model, data, batch=batch)
        (message,) = (str(each.message) for each in caught)
        assert message.startswith(f"{path}: ")
        assert message.endswith("; it counts as having no detections")
        assert (report.failed, report.pictures) == (1, len(NAMES))
        assert isinstance(report, dn.AveragePrecision)
        assert report.pairs < whole.pairs
        assert report.truths == whole.truths
    for name in NAMES:
        (tmp_path / f"{name}.png").write_bytes(b"nothing")
    with pytest.raises(dn.ImageError, match=f"{NAMES[0]}.png"):
        evaluate(model, data, batch=batch)
