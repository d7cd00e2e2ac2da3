"""Faults planted in trained models are named, and healthy models are not accused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn

from .planted import digits, images, kinds, with_arrays, with_options

MEAN = np.array((0.485, 0.456, 0.406), np.float32).reshape(3, 1, 1)
SIDE = 224  # pixels: enough for statistics, and quick
SIGMA = np.array((0.229, 0.224, 0.225), np.float32).reshape(3, 1, 1)


def test_a_healthy_model() -> None:
    found = dn.examine(digits(), [images()])
    assert not found.wrong
    assert kinds(found, "wrong") == []
    assert [row.layer for row in found.layers] == [0, 1, 2]
    assert found.images == 128
    # The training set's statistics are an average over its last 100 batches or so.
    assert all(row.divergence < 0.05 for row in found.layers)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda x: 255 * x, "input"),
        (lambda x: 2 * x - 1, "input"),
        (lambda x: x / 255, "input"),
        (lambda x: 1 - x, "inversion"),
    ],
    ids=["times 255", "from -1 to 1", "divided by 255", "inverted"],
)
def test_digits_that_are_prepared_in_another_way(change: object, kind: str) -> None:
    x = np.float32(change(images()))  # type: ignore[operator]
    found = dn.examine(digits(), [x])
    assert [each for each, _ in kinds(found, "wrong")] == [kind]


@pytest.mark.parametrize("other", ["relu", "linear", "mish", "swish"])
def test_a_function_that_is_wrong_everywhere(other: str) -> None:
    model = with_options(digits(), {layer: {"activation": other} for layer in (0, 1, 2)})
    found = dn.examine(model, [images()])
    assert kinds(found, "wrong") == [("activation", 0)]
    assert "with leaky" in found.findings[0].what


def test_a_function_that_is_wrong_in_one_layer() -> None:
    model = with_options(digits(), {1: {"activation": "linear"}})
    found = dn.examine(model, [images()])
    assert kinds(found, "wrong") == [("activation", 1)]


def test_statistics_of_other_channels() -> None:
    model = digits()
    for layer in (0, 1, 2):
        p = model.params[layer]
        names = ("rolling_mean", "rolling_variance")
        model = with_arrays(model, layer, **{name: np.roll(p[name], 3) for name in names})
    assert kinds(dn.examine(model, [images()]), "wrong") == [("statistics", None)]


def test_too_few_values_are_unknown() -> None:
    model = digits().resized(4, 4)  # layers 1 and 2 see 2 x 2 pixels
    found = dn.examine(model, [images(2)[:, :, ::2, ::2]])
    assert "2 batch norms saw fewer than 16 values" in found.findings[0].what
    assert ("statistics", None) in kinds(found, "unknown")


def test_a_model_without_batch_norm_is_unknown() -> None:
    folded = dn.fold_batchnorm(digits())
    found = dn.examine(folded, [images()])
    assert kinds(found, "unknown") == [("statistics", None)]
    assert not found.wrong


@pytest.mark.parametrize(
    ("name", "right"),
    [("yolov3-tiny/yolov3-tiny", "letterbox"), ("yolo-fastest/yolo-fastest-1.1", "stretch")],
)
def test_the_way_to_fit_pictures(shared: Path, name: str, right: str) -> None:
    # pjreddie's program trains with a letterbox, AlexeyAB's without.
    pytest.importorskip("PIL", reason="Pillow is not installed")
    model = dn.load(shared / "models" / name).resized(SIDE, SIDE)
    photos = [dn.load_image(shared / f"images/{each}.jpg") for each in ("dog", "person")]
    ways = {
        way: [np.concatenate([dn.prepare(each, model, way) for each in photos])]
        for way in ("letterbox", "stretch")
    }
    for given, other in (("letterbox", "stretch"), ("stretch", "letterbox")):
        found = dn.examine(model, ways[given], others={other: ways[other]})
        said = [each.kind for each in found.findings if each.kind == "fit"]
        assert said == ([] if given == right else ["fit"])
        assert not found.wrong


@pytest.mark.parametrize("name", ["yolov3-tiny/yolov3-tiny", "yoloface-50k/yoloface-50k"])
def test_a_detector_with_two_photographs(shared: Path, name: str) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    model = dn.load(shared / "models" / name).resized(SIDE, SIDE)
    photos = [dn.load_image(shared / f"images/{each}.jpg") for each in ("dog", "person")]
    x = np.concatenate([dn.prepare(each, model) for each in photos])
    assert not dn.examine(model, [x]).wrong
    for change in (255 * x, (x - MEAN) / SIGMA):
        found = dn.examine(model, [np.float32(change)])
        assert kinds(found, "wrong") == [("input", 0)]
