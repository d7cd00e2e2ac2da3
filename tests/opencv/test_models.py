"""Detectors and classifiers that take pictures find what OpenCV 4's find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.opencv import Model, Net, dnn_ClassificationModel, dnn_DetectionModel
from darknet_bn.opencv.boxes import suppressed
from tests.support.opencv_nets import CONV, REGION, assert_close, both, files
from tests.support.paths import FIXTURES

STEM = FIXTURES / "opencv" / "shapes"
CFG, WEIGHTS = f"{STEM}.cfg", f"{STEM}.weights"
TRAINED = (
    ("yolov3-tiny/yolov3-tiny", 416),
    ("yolo-fastest/yolo-fastest-1.1", 320),
    ("yoloface-50k/yoloface-50k", 56),
    ("mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc", 352),
)

pytestmark = pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")


def scene(side: int = 90) -> np.ndarray:
    """Squares of random colour, (side, side, 3)."""
    cells = np.random.default_rng(6).integers(0, 256, (side // 10, side // 10, 3), np.uint8)
    return cells.repeat(10, axis=0).repeat(10, axis=1)


def assert_same_found(ours: Any, theirs: Any) -> None:
    """Classes and boxes are the same, and so are types; confidences to float32's rounding."""
    for a, b in zip(ours, theirs, strict=True):
        assert type(a) is type(b)
        if isinstance(a, tuple):
            assert a == b == ()
        else:
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
    if not isinstance(theirs[0], tuple):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(ours[2], theirs[2])


@pytest.mark.parametrize(
    "crops", [(False, True, False), pytest.param((True, False, True), marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize(("name", "side"), TRAINED)
def test_a_trained_detector_on_a_photograph(
    cv2: Any, shared: Path, name: str, side: int, crops: tuple[bool, ...]
) -> None:
    stem = shared / "models" / name
    frame = cv2.imread(str(shared / "images" / "dog.jpg"))
    found = 0
    sizes = ((side, side), (side, side // 2 // 32 * 32 or 32), (224, 224))
    for size, crop in zip(sizes, crops, strict=True):
        results = []
        for module in (dn, cv2.dnn):
            model = module.DetectionModel(f"{stem}.weights", f"{stem}.cfg")
            model.setInputParams(1 / 255, size, (0, 0, 0), True, crop)
            results.append([model.detect(frame, *each) for each in ((0.3, 0.4), (0.2,))])
        for ours, theirs in zip(*results, strict=True):
            assert_same_found(ours, theirs)
            found += len(theirs[0])
    assert found > 0


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize(
    "thresholds", [(), (0.3,), (0.3, 0.2), (0.05, 0.4), (0.0, 0.3), (0.999, 0.4), (0.0,)]
)
def test_a_small_detector(cv2: Any, thresholds: tuple[float, ...], across: bool) -> None:
    results = []
    for module in (dn, cv2.dnn):
        model = module.DetectionModel(CFG, WEIGHTS)
        model.setInputParams(scale=1 / 255, size=(64, 96), swapRB=True)
        model.setNmsAcrossClasses(across)
        results.append(model.detect(scene(), *thresholds))
    assert_same_found(*results)


def test_setting_up_step_by_step(cv2: Any) -> None:
    frame = scene()
    results = []
    for module in (dn, cv2.dnn):
        steps = []
        model = module.DetectionModel(module.readNet(CFG, WEIGHTS))
        model.setInputSize((64, 64))
        steps.append(model.predict(frame))
        for scale in (1 / 255, (1 / 255, 1 / 200, 1 / 150), (1 / 255,)):
            model.setInputScale(scale)
            steps.append(model.predict(frame))
        for mean in ((10, 20, 30), 7, (1, 2)):
            model.setInputMean(mean)
            steps.append(model.predict(frame))
        model.setInputSwapRB(True)
        steps.append(model.predict(frame))
        model.setInputScale((1 / 255, 1 / 200, 1 / 150))
        steps.append(model.predict(frame))
        model.setInputCrop(True)
        model.setInputSize(64, 32)
        steps.append(model.predict(frame))
        model.setInputSize(size=(32, 96))
        steps.append(model.predict(frame=frame))
        model.setInputSize(width=96, height=64)
        steps.append(model.predict(frame.astype(np.float32)))
        model.setOutputNames(["yolo_12", "conv_0"])
        steps.append(model.predict(frame))
        model.setInputParams(size=(64, 64))
        steps.append(model.predict(frame))
        results.append(steps)
    for ours, theirs in zip(*results, strict=True):
        assert type(ours) is type(theirs) is tuple
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            # Pixels of floats are resized within 1e-5, the net's own rounding comes on top.
            np.testing.assert_allclose(a, b, rtol=0, atol=5e-5 * np.abs(b).max())


def test_a_detector_takes_suppression_from_its_net(cv2: Any) -> None:
    cfg, weights = files("[convolutional] filters=14 size=1 activation=linear", REGION, channels=3)
    theirs, ours = both(cv2, cfg, weights)
    frame = scene(30)
    results = []
    for net, module in ((ours, dn), (theirs, cv2.dnn)):
        blob = frame[:8, :8].transpose(2, 0, 1)[None].astype(np.float32) / 255
        net.setInput(blob)
        before = net.forward().copy()
        model = module.DetectionModel(network=net)
        after = net.forward().copy()
        assert (after > 0).sum() > (before > 0).sum()
        model.setInputParams(1 / 255, (8, 8))
        results.append((before, after, *model.detect(frame, 0.1, 0.4)))
    for a, b in zip(results[0][:2], results[1][:2], strict=True):
        assert_close(a, b)
    assert_same_found(results[0][2:], results[1][2:])


def test_every_way_to_make_one(cv2: Any) -> None:
    for module in (dn, cv2.dnn):
        net = module.readNet(CFG, WEIGHTS)
        for kind in (module.DetectionModel, module.ClassificationModel):
            for model in (
                kind(net),
                kind(network=net),
                kind(CFG, WEIGHTS),
                kind(WEIGHTS, CFG),
                kind(model=WEIGHTS, config=CFG),
                kind(Path(CFG), Path(WEIGHTS)),
            ):
                model.setInputSize((64, 64))
                assert [each.shape for each in model.predict(scene())] == [(192, 7), (768, 7)]


def test_the_names_of_older_programs() -> None:
    assert dnn_DetectionModel is dn.DetectionModel is dn.dnn_DetectionModel
    assert dnn_ClassificationModel is dn.ClassificationModel is dn.dnn_ClassificationModel
    assert issubclass(dn.DetectionModel, Model)


def test_steps_can_be_chained() -> None:
    model = dn.DetectionModel(CFG, WEIGHTS)
    chained = (
        model.setInputSize(64, 64)
        .setInputScale(1 / 255)
        .setInputMean(())
        .setInputSwapRB(True)
        .setInputCrop(False)
        .setPreferableBackend(0)
        .setPreferableTarget(0)
        .enableWinograd(False)
        .setOutputNames(["yolo_6", "yolo_12"])
        .setNmsAcrossClasses(True)
    )
    assert chained is model
    assert model.getNmsAcrossClasses() is True
    assert model.setInputParams(1 / 255, (64, 64)) is None


def digits() -> tuple[np.ndarray, np.ndarray]:
    with np.load(FIXTURES / "digits" / "test.npz") as data:
        return np.round(data["x"][:60, 0] * 255).astype(np.uint8), data["y"][:60]


@pytest.mark.parametrize("softmax", [False, True])
def test_a_classifier(cv2: Any, softmax: bool) -> None:
    stem = FIXTURES / "digits" / "digits"
    pictures, truth = digits()
    results = []
    for module in (dn, cv2.dnn):
        model = module.ClassificationModel(f"{stem}.cfg", f"{stem}.weights")
        model.setInputParams(scale=1 / 255, size=(8, 8))
        assert model.getEnableSoftmaxPostProcessing() is False
        model.setEnableSoftmaxPostProcessing(softmax)
        assert model.getEnableSoftmaxPostProcessing() is softmax
        results.append([model.classify(each) for each in pictures])
    for ours, theirs in zip(*results, strict=True):
        assert [type(each) for each in ours] == [type(each) for each in theirs] == [int, float]
        assert ours[0] == theirs[0]
        assert abs(ours[1] - theirs[1]) < 1e-5
    right = sum(found == expected for (found, _), expected in zip(results[0], truth, strict=True))
    assert right >= 57


def test_a_net_without_softmax_is_given_one(cv2: Any) -> None:
    cfg, weights = files("[convolutional] filters=5 size=3 stride=2", "[avgpool]", channels=3)
    theirs, ours = both(cv2, cfg, weights)
    found = []
    for net, module in ((ours, dn), (theirs, cv2.dnn)):
        model = module.ClassificationModel(net)
        model.setInputParams(1 / 255, (8, 8), (1, 2, 3), True, True)
        model.setEnableSoftmaxPostProcessing(True)
        found.append(model.classify(scene(30)))
    assert found[0][0] == found[1][0]
    assert abs(found[0][1] - found[1][1]) < 1e-6


class TestSuppression:
    @pytest.mark.parametrize("seed", range(30))
    def test_as_opencv_s(self, seed: int) -> None:
        cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
        rng = np.random.default_rng(seed)
        corner, size = rng.integers(0, 40, (50, 2)), rng.integers(0, 30, (50, 2))
        boxes = np.concatenate([corner, size], axis=1)
        scores = rng.choice([0.1, 0.3, 0.5, 0.500001, 0.9], 50).astype(np.float32)
        for threshold, overlap in ((0.0, 0.4), (0.3, 0.0), (0.3, 0.3), (0.5, 1.0), (0.2, 0.5)):
            expected = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), threshold, overlap)
            found = suppressed(boxes, scores, threshold, overlap)
            assert found.tolist() == list(expected)


def our_detector() -> dn.DetectionModel:
    model = dn.DetectionModel(CFG, WEIGHTS)
    model.setInputParams(1 / 255, (64, 64))
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: dn.DetectionModel(),
            "a DetectionModel is made from a network .expected a network, or two",
        ),
        (lambda: dn.ClassificationModel("a.onnx"), "these are not Darknet files"),
        (lambda: dn.DetectionModel(5), "these are not Darknet files"),
        (lambda: dn.DetectionModel(CFG), "the network was read without weights"),
        (lambda: dn.DetectionModel(CFG, WEIGHTS), r"not set; call setInputSize\(\(64, 64\)\)"),
        (
            lambda: our_detector().setInputSize(64),
            "the size is not valid .expected .width, height.",
        ),
        (lambda: our_detector().setInputSize((64, "x")), "the size is not valid"),
        (lambda: our_detector().setInputMean("gray"), "the mean is not a number"),
        (lambda: our_detector().detect(scene(), 0.5, -0.1), "a threshold is below 0"),
        (lambda: our_detector().detect(scene(), -0.5, 0.1), "a threshold is below 0"),
        (lambda: our_detector().detect(None), "the frame is not a picture"),
        (
            lambda: our_detector().detect(scene()[:, :, 0]),
            "the input does not fit the network",
        ),
        (
            lambda: our_detector().setInputSize(60, 63).detect(scene()),
            r"shapes.cfg:\d+: \[\w+\] layer 1[01]",
        ),
        (lambda: our_detector().setOutputNames(["conv_99"]).predict(scene()), "no layer 'conv_99'"),
        (lambda: dn.ClassificationModel(CFG, WEIGHTS), "a classifier has one output .found 2"),
        (
            lambda: dn.DetectionModel(Net(_classifier())),
            "the network is not a detector .*type Softmax",
        ),
    ],
)
def test_what_is_wrong_is_said(call: Any, message: str) -> None:
    with pytest.raises(dn.DarknetError, match=message) as caught:
        model = call()
        if isinstance(model, dn.ClassificationModel):
            model.setInputSize((64, 64)).classify(scene())
        if "not set" not in message and "size" not in message:
            model.setInputSize((64, 64))
        model.detect(scene())
    assert "\n" not in str(caught.value)


def _classifier() -> dn.Model:
    cfg, weights = files(CONV, "[avgpool]", "[softmax]", channels=3)
    return dn.load(cfg, weights, dialect="opencv")


def test_boxes_of_no_size_and_of_no_place_are_held_to_the_picture() -> None:
    from darknet_bn.opencv.models import _candidates

    rows = np.zeros((4, 6), np.float32)
    rows[:, 5] = 1
    rows[0, :4] = (2, -3, 0.1, 0.1)
    rows[1, :4] = (0.5, 0.5, np.inf, 0)
    rows[2, :4] = (np.nan, 0.5, 0.2, 0.2)
    rows[3, :4] = (0.5, 0.5, 1, 1)
    _, scores, boxes = _candidates(rows, 0.5, 100, 50)
    assert scores.tolist() == [1, 1, 1, 1]
    assert boxes[0].tolist() == [99, 0, 1, 5]
    assert boxes[3].tolist() == [0, 0, 100, 50]
    left, top, width, height = boxes.T
    assert ((left >= 0) & (left + width <= 100) & (top >= 0) & (top + height <= 50)).all()
    assert ((width >= 1) & (height >= 1)).all()
