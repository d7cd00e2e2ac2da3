"""What is lost: accuracy, mAP, or the agreement with the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.loss import Loss, meter
from darknet_bn.engines.network_session import NetworkSession
from tests.support.labelled import box_set
from tests.support.paths import FIXTURES

DIGITS, TINY = FIXTURES / "digits", FIXTURES / "tiny"


class Wrong(NetworkSession):
    """The model itself, with what it gives changed by a function."""

    def __init__(self, model: dn.Model, change: object = None) -> None:
        self.network, self.engine = model.network, "ours, changed"
        self.layers = model.network.outputs
        self.model, self.change, self.calls = model, change, 0

    def run(self, x: np.ndarray, layers: Sequence[int]) -> dict[int, np.ndarray]:
        self.calls += 1
        found = dn.forward(self.model, x, layers, exact=False)
        return {k: self.change(y) if callable(self.change) else y for k, y in found.items()}


@pytest.fixture(scope="module")
def digits() -> dn.Model:
    return dn.load(DIGITS / "digits.cfg", DIGITS / "digits.weights")


@pytest.fixture(scope="module")
def tiny() -> dn.Model:
    return dn.load(TINY / "tiny.cfg", TINY / "tiny.weights")


def images(model: dn.Model, count: int = 6) -> list[np.ndarray]:
    x = np.random.default_rng(0).random((count, *model.network.input.dims), np.float32)
    return [x[:4], x[4:]]


def never_four(y: np.ndarray) -> np.ndarray:
    y = y.copy()
    y[:, 4] = 0
    return y


def test_accuracy_before_and_after(digits: dn.Model) -> None:
    data = dn.load_dataset(DIGITS / "test.npz", digits, train=False)
    judge = meter(digits, [], data)
    with np.load(DIGITS / "test.npz") as archive:
        fours = (archive["y"] == 4).sum() / len(archive["y"])
    loss = judge.measure(Wrong(digits, never_four))
    assert (loss.measure, loss.images, loss.boxes) == ("top 1", 360, None)
    assert loss.before == dn.evaluate(digits, data).top_1
    assert loss.before - loss.after == pytest.approx(fours, abs=0.01)
    assert loss.points == pytest.approx(100 * (loss.before - loss.after))
    assert judge.measure(Wrong(digits)).points == 0


def test_what_the_model_finds_is_computed_once(digits: dn.Model) -> None:
    class Counted(list[np.ndarray]):
        loaded = 0

        def __getitem__(self, number: int) -> np.ndarray:  # type: ignore[override]
            Counted.loaded += 1
            return super().__getitem__(number)

    judge = meter(digits, Counted(images(digits)), None)
    for more in (4, 2, 2):
        before = Counted.loaded
        judge.measure(Wrong(digits))
        assert Counted.loaded - before == more


def test_classes_that_agree(digits: dn.Model) -> None:
    with np.load(DIGITS / "test.npz") as archive:
        x = archive["x"][:50].astype(np.float32)
    judge = meter(digits, [x], None)
    assert judge.measure(Wrong(digits)) == Loss("agreement", 1.0, 1.0, 50)
    fours = (dn.forward(digits, x)[5].reshape(50, 10).argmax(axis=1) == 4).sum()
    loss = judge.measure(Wrong(digits, never_four))
    assert loss == Loss("agreement", 1.0, (50 - fours) / 50, 50)


def test_boxes_that_agree(tiny: dn.Model) -> None:
    judge = meter(tiny, images(tiny), None)
    same = judge.measure(Wrong(tiny))
    assert (same.measure, same.after, same.images, same.added) == ("agreement", 1.0, 6, 0)
    assert same.boxes == same.found
    assert same.boxes is not None and same.boxes > 0
    nothing = judge.measure(Wrong(tiny, np.zeros_like))
    assert (nothing.after, nothing.boxes, nothing.found, nothing.added) == (0, same.boxes, 0, 0)
    assert nothing.points == 100


def test_a_detector_that_finds_nothing_loses_nothing(tiny: dn.Model) -> None:
    arrays = [dict(p) for p in tiny.params]
    arrays[10]["biases"] = np.full_like(arrays[10]["biases"], -50)
    model = replace(tiny, params=tuple(arrays))
    loss = meter(model, images(model), None).measure(Wrong(model))
    assert (loss.after, loss.boxes) == (1.0, 0)


def test_map_of_labelled_pictures(tiny: dn.Model, tmp_path: Path) -> None:
    data = dn.load_dataset(
        box_set(tmp_path, {"gray_21x12": [(0, 0.5, 0.5, 0.9, 0.9)]}), tiny, train=False
    )
    loss = meter(tiny, [], data).measure(Wrong(tiny, np.zeros_like))
    assert (loss.measure, loss.images, loss.after) == ("mAP@0.50", 3, 0.0)
    report = dn.evaluate(tiny, data)
    assert isinstance(report, dn.AveragePrecision)
    assert loss.before == report.mean_of_present


def test_in_words() -> None:
    assert repr(Loss("top 1", 0.9861, 0.9833, 360)) == ("<Loss top 1 98.61% -> 98.33%, 360 images>")
    assert Loss("top 1", 1.0, 0.5, 2).json() == {
        "measure": "top 1",
        "before": 1.0,
        "after": 0.5,
        "points": 50.0,
        "images": 2,
        "boxes": None,
        "found": None,
        "added": None,
    }
