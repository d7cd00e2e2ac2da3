"""One script, two modules: what runs with ``cv2.dnn`` runs with ours, and gives the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import cfg_text
from tests.support.opencv_nets import (
    CONV,
    YOLO,
    as_array,
    assert_close,
    blob,
    both,
    files,
    weights_of,
)
from tests.support.paths import FIXTURES

LAYERS = FIXTURES / "layers"
CASES = (
    "avgpool_softmax",
    "conv_bn_stack",
    "cost",
    "dropout",
    "maxpool",
    "region",
    "reorg",
    "route",
    "shortcut_same",
    "spp",
    "yolo",
    "yolo_new_coords",
    "yolo_scale_xy",
)
MODELS = (
    "yolov3-tiny/yolov3-tiny",
    "yolo-fastest/yolo-fastest-1.1",
    "yoloface-50k/yoloface-50k",
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
)
NAMES = ["conv_0", "bn_0", "leaky_1", "conv_1", "permute_2", "yolo_2"]
DETECTOR = (
    "[convolutional] filters=5 size=3 pad=1 batch_normalize=1 activation=leaky",
    "[convolutional] filters=14 size=1 activation=linear",
    YOLO,
)

pytestmark = pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")


def the_script(module: Any, cfg: str, weights: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """What a program does that was written for OpenCV."""
    net = module.readNetFromDarknet(cfg, weights)
    net.setPreferableBackend(0)
    net.setPreferableTarget(0)
    names = net.getLayerNames()
    outputs = [names[i - 1] for i in net.getUnconnectedOutLayers()]
    assert list(net.getUnconnectedOutLayersNames()) == outputs
    net.setInput(x)
    values = net.forward(outputs)
    assert isinstance(values, tuple)
    np.testing.assert_array_equal(net.forward(outputs[0]), values[0])
    np.testing.assert_array_equal(net.forward(), values[-1])
    return {"names": np.array(names), **dict(zip(outputs, values, strict=True))}


def assert_same(cv2: Any, stem: Path, batch: int) -> None:
    cfg, weights = f"{stem}.cfg", f"{stem}.weights"
    shape = dn.build_network(dn.load_cfg(cfg), dn.OPENCV).input.dims
    x = np.random.default_rng(batch).random((batch, *shape), np.float32)
    theirs, ours = the_script(cv2.dnn, cfg, weights, x), the_script(dn, cfg, weights, x)
    assert list(ours) == list(theirs)
    np.testing.assert_array_equal(ours["names"], theirs["names"])
    for name in list(theirs)[1:]:
        assert_close(ours[name], theirs[name])


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_the_same_script_on_a_small_net(cv2: Any, case: str, batch: int) -> None:
    assert_same(cv2, LAYERS / case / "model", batch)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_script_on_a_trained_model(cv2: Any, shared: Path, name: str) -> None:
    assert_same(cv2, shared / "models" / name, 1)


def detector(cv2: Any) -> tuple[Any, Any]:
    """OpenCV's net and ours, ready to compute."""
    theirs, ours = both(cv2, *files(*DETECTOR))
    for net in (theirs, ours):
        net.setInput(blob(1, 4, 8, 8))
    return theirs, ours


def our_detector() -> Any:
    return dn.readNetFromDarknet(*files(*DETECTOR))


class TestInput:
    def test_recorded_rows_of_a_larger_image(self) -> None:
        stem = FIXTURES / "opencv" / "yolo"
        net = dn.readNetFromDarknet(f"{stem}.cfg", f"{stem}.weights")
        net.setInput(np.random.default_rng(5).random((1, 3, 96, 96), np.float32))
        with np.load(f"{stem}_96.npz") as recorded:
            assert_close(net.forward(), recorded["yolo_4"])

    @pytest.mark.parametrize("name", ["region", "region_plain"])
    def test_recorded_rows_of_a_head_with_a_threshold(self, name: str) -> None:
        folder = FIXTURES / "opencv"
        net = dn.readNetFromDarknet(folder / f"{name}.cfg", folder / "region.weights")
        net.setInput(np.random.default_rng(5).random((1, 3, 64, 64), np.float32))
        rows = net.forward()
        with np.load(folder / "region_64.npz") as recorded:
            expected = recorded["detection_out"]
        if name == "region":
            assert_close(rows, expected)
        over = (rows[:, 5:] > 0).any(axis=1).sum(), (expected[:, 5:] > 0).any(axis=1).sum()
        assert over == ((19, 19) if name == "region" else (136, 19))

    def test_blobs_of_many_sizes_in_turn(self, cv2: Any) -> None:
        theirs, ours = detector(cv2)
        for shape in ((1, 8, 8), (2, 16, 8), (1, 5, 11), (1, 8, 8), (3, 24, 24), (2, 16, 8)):
            for net in (theirs, ours):
                net.setInput(blob(shape[0], 4, *shape[1:]))
            assert_close(ours.forward(), theirs.forward())

    def test_models_for_other_sizes_do_not_pile_up(self) -> None:
        net = our_detector()
        for side in range(4, 12):
            net.setInput(blob(1, 4, side, side))
            net.forward()
        assert len(net._sizes) == 2

    def test_a_size_that_layers_do_not_allow_is_refused_at_the_layer(self) -> None:
        sections = ("[maxpool] size=2 stride=2", "[upsample] stride=2", "[route] layers=-1,-3")
        net = dn.readNetFromDarknet(*files(CONV, *sections, CONV))
        net.setInput(blob(1, 4, 9, 9))
        with pytest.raises(dn.DarknetError, match=r"\[\w+\] layer [34]: "):
            net.forward()

    @pytest.mark.parametrize(
        "mean", [(), None, 5, 5.5, (5,), (1, 2, 3), [1, 2, 3, 4], np.array([1.0, 2, 3])]
    )
    @pytest.mark.parametrize("scale", [1.0, 1 / 255, 0.017])
    @pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "int32"])
    def test_scale_and_mean(self, cv2: Any, kind: str, scale: float, mean: Any) -> None:
        cfg, weights = files("[maxpool] size=1 stride=1", channels=3)
        x = (np.random.default_rng(3).random((2, 3, 8, 8)) * 255).astype(kind)
        theirs, ours = both(cv2, cfg, weights)
        for net in (theirs, ours):
            net.setInput(x, "data", scale, mean)
        found, expected = ours.forward(), theirs.forward()
        # One rounding; without fused multiply-add, OpenCV has two.
        np.testing.assert_allclose(found, expected, rtol=2e-7, atol=2e-5 * scale)
        for net in (theirs, ours):
            net.setInput(x, mean=mean, scalefactor=scale)
        np.testing.assert_array_equal(ours.forward(), found)

    def test_the_blob_is_copied(self) -> None:
        net, x = our_detector(), blob(1, 4, 8, 8)
        net.setInput(x)
        expected = net.forward()
        x[:] = 0
        np.testing.assert_array_equal(net.forward(), expected)

    def test_a_blob_may_lie_in_memory_anyhow(self) -> None:
        net, x = our_detector(), blob(1, 4, 8, 8)
        net.setInput(x)
        expected = net.forward()
        for other in (np.asfortranarray(x), x[:, :, ::-1][:, :, ::-1], x.tolist()):
            net.setInput(other)
            np.testing.assert_array_equal(net.forward(), expected)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((blob(1, 4, 8, 8), "image"), "there is no such input"),
            ((blob(1, 5, 8, 8), "", 1.0, (1, 2)), "a mean has up to four channels"),
            ((blob(1, 4, 8, 8), "", 1.0, (1, 2, 3, 4, 5)), "the mean has too many numbers"),
            ((blob(1, 4, 8, 8), "", 1.0, "gray"), "the mean is not a number"),
            ((["a"],), "the blob is not an array of numbers"),
        ],
    )
    def test_what_is_no_input(self, arguments: Any, message: str) -> None:
        with pytest.raises(dn.DarknetError, match=message):
            our_detector().setInput(*arguments)

    @pytest.mark.parametrize("shape", [(1, 3, 8, 8), (4, 8, 8), (0, 4, 8, 8), (1, 1, 4, 8, 8)])
    def test_what_does_not_fit_is_refused(self, shape: tuple[int, ...]) -> None:
        net = our_detector()
        net.setInput(np.zeros(shape, np.float32))
        with pytest.raises(dn.ShapeError, match="the input does not fit the network"):
            net.forward()


class TestForward:
    @pytest.mark.parametrize(
        ("arguments", "keywords"),
        [
            ((), {}),
            (("yolo_2",), {}),
            (("",), {}),
            ((None,), {}),
            ((), {"outputName": "yolo_2"}),
            ((["yolo_2"],), {}),
            ((("yolo_2", "leaky_1"),), {}),
            ((np.array(["conv_1"]),), {}),
            ((), {"outBlobNames": ["leaky_1", "yolo_2"]}),
            ((None, "yolo_2"), {}),
            (([], "leaky_1"), {}),
            (([],), {}),
            ((), {"outputBlobs": None, "outputName": "leaky_1"}),
            ((["yolo_2"], None), {}),
            ((["yolo_2"], []), {}),
            ((np.zeros((128, 7), np.float32),), {}),
        ],
    )
    def test_every_way_to_ask(self, cv2: Any, arguments: Any, keywords: Any) -> None:
        theirs, ours = detector(cv2)
        expected, found = (net.forward(*arguments, **keywords) for net in (theirs, ours))
        assert type(found) is type(expected)
        if isinstance(found, tuple):
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                assert_close(a, b)
        else:
            assert_close(found, expected)

    def test_every_part_of_a_layer(self, cv2: Any) -> None:
        theirs, ours = detector(cv2)
        theirs.enableFusion(False)  # fused, OpenCV gives other values for the parts, or none
        assert list(ours.getLayerNames()) == NAMES
        for a, b in zip(ours.forward(NAMES), theirs.forward(NAMES), strict=True):
            assert_close(a, b)
        for name in NAMES:
            assert_close(ours.forward(name), theirs.forward(name))

    @pytest.mark.parametrize(
        "sections",
        [
            ("[crop] crop_width=6 crop_height=5",),
            (CONV, "[route] layers=-1 groups=2 group_id=1"),
            (CONV, CONV, "[shortcut] from=-2 activation=leaky"),
            ("[connected] output=6 activation=relu", "[softmax]"),
            (CONV, "[avgpool]", "[scale_channels] from=0", "[sam] from=0 activation=logistic"),
            (CONV, CONV, "[route] layers=-2,-1 groups=2 group_id=1"),  # OpenCV errs for -1,-2
        ],
    )
    def test_parts_of_other_layers(self, cv2: Any, sections: tuple[str, ...]) -> None:
        theirs, ours = both(cv2, *files(*sections))
        theirs.enableFusion(False)
        for net in (theirs, ours):
            net.setInput(blob(1, 4, 8, 8))  # of several, OpenCV refuses [scale_channels]
        assert ours.getLayerNames() == theirs.getLayerNames()
        for name in theirs.getLayerNames():
            assert_close(ours.forward(name), theirs.forward(name))

    def test_arrays_are_filled(self, cv2: Any) -> None:
        for net in detector(cv2):
            given = [np.zeros((1, 5, 8, 8), np.float32)]
            (found,) = net.forward(["leaky_1"], given)
            assert found is given[0]
            assert found.any()

    def test_an_array_that_does_not_fit_is_passed_over(self) -> None:
        net = our_detector()
        net.setInput(blob(1, 4, 8, 8))
        for given in ([np.zeros(3, np.float32)], [np.zeros((1, 5, 8, 8))], [None]):
            (found,) = net.forward(["leaky_1"], given)
            assert found is not given[0]
            assert found.shape == (1, 5, 8, 8)

    def test_retrieving(self, cv2: Any) -> None:
        theirs, ours = detector(cv2)
        names = ["yolo_2", "leaky_1"]
        for a, b in zip(*(net.forwardAndRetrieve(names) for net in (ours, theirs)), strict=True):
            assert isinstance(a, tuple) and len(a) == len(b) == 1
            assert_close(a[0], b[0])

    def test_an_output_asked_for_twice_is_the_same_twice(self) -> None:
        net = our_detector()
        net.setInput(blob(1, 4, 8, 8))
        first, second = net.forward(["yolo_2", "yolo_2"])
        np.testing.assert_array_equal(first, second)

    def test_what_is_missing_is_said(self) -> None:
        net = our_detector()
        with pytest.raises(dn.DarknetError, match="call setInput first"):
            net.forward()
        net.setInput(blob(1, 4, 8, 8))
        for names in ("yolo_99", ["yolo_99"], "_input"):
            with pytest.raises(dn.DarknetError, match=r"a name of getLayerNames\(\)"):
                net.forward(names)
        for arguments in ((5,), (b"yolo_2",), ("yolo_2", None, None)):
            with pytest.raises(dn.DarknetError, match="does not take these arguments"):
                net.forward(*arguments)
        with pytest.raises(dn.DarknetError, match="does not take these arguments"):
            net.forward(outputNames="yolo_2")
        with pytest.raises(dn.DarknetError, match="in OpenCV it needs OpenVINO"):
            net.forwardAsync("yolo_2")

    def test_nan_stays_where_it_is(self, cv2: Any) -> None:
        theirs, ours = detector(cv2)
        x = blob(1, 4, 8, 8)
        x[0, :, 2, 3] = np.nan
        for net in (theirs, ours):
            net.setInput(x)
        a, b = ours.forward(), theirs.forward()
        assert a.shape == b.shape
        np.testing.assert_array_equal(np.isnan(a[:, :5]), np.isnan(b[:, :5]))


class TestHeads:
    def test_a_head_that_opencv_lacks_gives_rows_too(self) -> None:
        sections = ("[Gaussian_yolo] mask=0 anchors=10,20 num=1 classes=3", "[detection] side=2")
        for section, channels, rows, row in (
            (sections[0], 12, 64, 8),
            (
                f"[connected] output=28 activation=linear\n{sections[1]} coords=4 num=1 classes=2",
                4,
                4,
                7,
            ),
        ):
            cfg = cfg_text(*section.split("\n"), channels=channels)
            net = dn.readNetFromDarknet(cfg, weights_of(cfg))
            net.setInput(blob(1, channels, 8, 8))
            assert net.forward().shape == (rows, row)
            *_, (shape,) = net.getLayersShapes((1, channels, 8, 8))[2]
            assert tuple(shape) == (rows, row)
            assert net.getLayer(net.getLayerNames()[-1]).type == "Region"

    def test_a_region_with_a_tree(self) -> None:
        stem = LAYERS / "region_tree" / "model"
        net = dn.readNetFromDarknet(f"{stem}.cfg", f"{stem}.weights")
        shape = dn.build_network(dn.load_cfg(f"{stem}.cfg"), dn.OPENCV).input.dims
        net.setInput(blob(1, *shape))
        rows = net.forward()
        assert rows.ndim == 2
        assert np.isfinite(rows).all()


class TestTimes:
    def test_of_the_last_pass(self) -> None:
        net = our_detector()
        with pytest.raises(
            dn.DarknetError, match="forward has not been called yet; call forward first"
        ):
            net.getPerfProfile()
        net.setInput(blob(1, 4, 8, 8))
        net.forward()
        total, times = net.getPerfProfile()
        assert isinstance(total, int)
        assert (times.dtype, times.shape) == (np.float64, (len(NAMES),))
        assert total == times.sum() > 0
        # The first part of a joined layer has the time; for a head, making boxes takes some too.
        assert (times > 0).tolist() == [True, False, False, True, True, True]
        net.forward("leaky_1")
        assert (net.getPerfProfile()[1][3:] == 0).all()

    def test_ticks_are_opencv_s(self, cv2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        net = our_detector()
        net.setInput(blob(1, 4, 8, 8))
        net.forward()
        assert cv2.getTickFrequency() == 1e9  # so that nanoseconds are right without OpenCV
        fine, _ = net.getPerfProfile()
        monkeypatch.setattr(cv2, "getTickFrequency", lambda: 1e7)
        coarse, _ = net.getPerfProfile()
        assert abs(coarse * 100 - fine) <= 50 * len(NAMES)  # each is rounded


def test_switches_make_no_difference(cv2: Any) -> None:
    for net in detector(cv2):
        expected = net.forward().copy()
        assert net.enableWinograd(False) is None
        assert net.setPreferableBackend(backendId=3) is None
        assert net.setPreferableTarget(targetId=0) is None
        np.testing.assert_allclose(net.forward(), expected, rtol=1e-4, atol=1e-5)
    assert our_detector().enableFusion(fusion=False) is None


def test_a_net_reads_arrays_of_bytes_as_opencv_does(cv2: Any) -> None:
    cfg, weights = files(*DETECTOR)
    net = dn.readNetFromDarknet(as_array(cfg), as_array(weights))
    net.setInput(blob(1, 4, 8, 8))
    assert_close(net.forward(), detector(cv2)[0].forward())


@pytest.mark.parametrize("size", [8, 16])
def test_another_engine_gives_the_same_rows(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    cfg, weights = files(*DETECTOR)
    ours = dn.readNetFromDarknet(cfg, weights)
    given = dn.readNetFromDarknet(cfg, weights, engine="onnxruntime")
    monkeypatch.setenv("DARKNET_BN_ENGINE", "onnxruntime")
    named = dn.readNetFromDarknet(cfg, weights)
    for net in (ours, given, named):
        net.setInput(blob(1, 4, size, size))
    for name in (None, "bn_0", "conv_1", "permute_2"):
        expected = ours.forward(name)
        for net in (given, named):
            assert_close(net.forward(name), expected)
            assert net.getPerfProfile()[0] > 0
    assert [net._engine for net in (ours, given, named)] == ["numpy", "onnxruntime", "onnxruntime"]


def test_sessions_of_sizes_that_went_go_too() -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    net = dn.readNetFromDarknet(*files(*DETECTOR), engine="onnxruntime")
    for size in (16, 24, 32, 40, 8):
        net.setInput(blob(1, 4, size, size))
        net.forward()
    assert len(net._sessions) <= 4


def test_an_engine_that_there_is_not() -> None:
    with pytest.raises(dn.DarknetError, match="unknown engine"):
        dn.readNetFromDarknet(*files(*DETECTOR), engine="tensorrt")
