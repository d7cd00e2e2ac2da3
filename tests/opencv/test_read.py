"""Reading in all of OpenCV's ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.opencv.read import darknet_sources
from tests.support.opencv_nets import assert_close
from tests.support.paths import FIXTURES

STEM = FIXTURES / "opencv" / "yolo"
CFG, WEIGHTS = f"{STEM}.cfg", f"{STEM}.weights"
CFG_BYTES, WEIGHTS_BYTES = Path(CFG).read_bytes(), Path(WEIGHTS).read_bytes()
CFG_ARRAY, WEIGHTS_ARRAY = (np.frombuffer(each, np.uint8) for each in (CFG_BYTES, WEIGHTS_BYTES))

CALLS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "paths": ("readNetFromDarknet", (CFG, WEIGHTS), {}),
    "path objects": ("readNetFromDarknet", (Path(CFG), Path(WEIGHTS)), {}),
    "keywords": ("readNetFromDarknet", (), {"cfgFile": CFG, "darknetModel": WEIGHTS}),
    "one keyword": ("readNetFromDarknet", (CFG,), {"darknetModel": WEIGHTS}),
    "arrays": ("readNetFromDarknet", (CFG_ARRAY, WEIGHTS_ARRAY), {}),
    "arrays by keyword": (
        "readNetFromDarknet",
        (),
        {"bufferCfg": CFG_ARRAY, "bufferModel": WEIGHTS_ARRAY},
    ),
    "byte arrays": ("readNetFromDarknet", (bytearray(CFG_BYTES), bytearray(WEIGHTS_BYTES)), {}),
    "views": ("readNetFromDarknet", (memoryview(CFG_BYTES), memoryview(WEIGHTS_BYTES)), {}),
    "weights first": ("readNet", (WEIGHTS, CFG), {}),
    "cfg first": ("readNet", (CFG, WEIGHTS), {}),
    "named": ("readNet", (), {"model": WEIGHTS, "config": CFG}),
    "named the other way": ("readNet", (), {"config": WEIGHTS, "model": CFG}),
    "with the program": ("readNet", (WEIGHTS, CFG, "Darknet"), {}),
    "with the program by keyword": (
        "readNet",
        (),
        {"model": Path(WEIGHTS), "config": Path(CFG), "framework": "darknet"},
    ),
    "with a program that is passed over": ("readNet", (WEIGHTS, CFG, "onnx"), {}),
    "from memory": ("readNet", ("darknet", WEIGHTS_ARRAY, CFG_ARRAY), {}),
    "from memory by keyword": (
        "readNet",
        (),
        {"framework": "darknet", "bufferModel": WEIGHTS_ARRAY, "bufferConfig": CFG_ARRAY},
    ),
}
OURS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "bytes": ("readNetFromDarknet", (CFG_BYTES, WEIGHTS_BYTES), {}),
    "a path and bytes": ("readNetFromDarknet", (CFG, WEIGHTS_ARRAY), {}),
    "an array in two dimensions": ("readNetFromDarknet", (CFG, WEIGHTS_ARRAY[:, None]), {}),
    "memory, cfg first": ("readNet", ("darknet", CFG_BYTES, WEIGHTS_BYTES), {}),
}


def rows(net: Any) -> np.ndarray:
    net.setInput(np.random.default_rng(5).random((1, 3, 64, 64), np.float32))
    found: np.ndarray = net.forward()
    return found


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return rows(dn.readNetFromDarknet(CFG, WEIGHTS))


@pytest.mark.parametrize("name", [*CALLS, *OURS])
def test_every_way_reads_the_same_net(name: str, expected: np.ndarray) -> None:
    function, arguments, keywords = (CALLS | OURS)[name]
    net = getattr(dn, function)(*arguments, **keywords)
    np.testing.assert_array_equal(rows(net), expected)


@pytest.mark.parametrize("name", CALLS)
def test_opencv_knows_it_too(cv2: Any, name: str, expected: np.ndarray) -> None:
    function, arguments, keywords = CALLS[name]
    assert_close(expected, rows(getattr(cv2.dnn, function)(*arguments, **keywords)))


def test_names_of_files_that_say_nothing(tmp_path: Path, expected: np.ndarray) -> None:
    (tmp_path / "net.txt").write_bytes(CFG_BYTES)
    (tmp_path / "net.conv.74").write_bytes(WEIGHTS_BYTES)
    paths = str(tmp_path / "net.conv.74"), str(tmp_path / "net.txt")
    np.testing.assert_array_equal(rows(dn.readNet(*paths, "darknet")), expected)
    with pytest.raises(dn.DarknetError, match="these are not Darknet files"):
        dn.readNet(*paths)


@pytest.mark.parametrize("weights", ["", None, b"", np.empty(0, np.uint8)])
def test_weights_may_be_absent(weights: Any) -> None:
    net = dn.readNetFromDarknet(CFG, weights)
    assert net.getUnconnectedOutLayersNames() == ("yolo_4",)
    with pytest.raises(dn.DarknetError, match="the network was read without weights"):
        rows(net)


def test_a_net_without_parameters_needs_no_weights() -> None:
    net = dn.readNetFromDarknet(b"[net]\nwidth=4\nheight=4\n[maxpool]\n")
    net.setInput(np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4))
    assert net.forward()[0, 0].tolist() == [[5, 7], [13, 15]]


def test_what_is_odd_is_warned_of_once_without_weights_too() -> None:
    cfg = CFG_BYTES + b"thersh=0.5\n"
    for weights in (WEIGHTS_BYTES, None):
        with pytest.warns(dn.DarknetWarning, match="thersh: unknown option.* 'thresh'") as caught:
            dn.readNetFromDarknet(cfg, weights)
        assert len(caught) == 1
        assert caught[0].filename == __file__
    with pytest.warns(dn.DarknetWarning, match="thersh") as caught:
        dn.DetectionModel(dn.readNet("darknet", WEIGHTS_BYTES, cfg))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (("net.caffemodel", "net.prototxt"), {}),
        (("net.pb",), {"config": "net.pbtxt"}),
        (("net.tflite",), {}),
        (("net.t7",), {}),
        (("net.onnx",), {}),
        (("net.xml", "net.bin"), {}),
        (("net.weights", "net.prototxt"), {}),
        (("net.weights", "net.cfg", "tensorflow"), {}),
        (("onnx", WEIGHTS_BYTES), {}),
        ((), {"framework": "caffe", "bufferModel": WEIGHTS_BYTES}),
        ((), {}),
        ((5,), {}),
    ],
)
def test_what_is_not_darknet_s(arguments: Any, keywords: Any) -> None:
    assert darknet_sources(arguments, keywords) is None
    with pytest.raises(dn.DarknetError, match=r"cv2.dnn.readNet reads other formats$"):
        dn.readNet(*arguments, **keywords)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: dn.readNetFromDarknet(), "the cfg is missing"),
        (lambda: dn.readNet("net.weights"), "the cfg is missing"),
        (lambda: dn.readNet("nowhere.cfg", WEIGHTS), "nowhere.cfg: cannot be read"),
        (lambda: dn.readNet("nowhere.weights", CFG), "nowhere.weights: cannot be read"),
        (lambda: dn.readNetFromDarknet(CFG, WEIGHTS_ARRAY.astype(np.int32)), "uint8, as np.from"),
    ],
)
def test_what_cannot_be_read(read: Any, message: str) -> None:
    with pytest.raises(dn.DarknetError, match=message) as caught:
        read()
    assert "\n" not in str(caught.value)


def test_the_report_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tutorials and OpenCV's own sample ask of a net, each call on its own."""
    monkeypatch.chdir(STEM.parent)
    net = dn.readNetFromDarknet("yolo.cfg", "yolo.weights")
    rows(net)
    assert net.getPerfProfile()[0] > 0
    assert net.getLayerId("yolo_4") == 12
    assert net.getLayer(net.getLayerId("yolo_4")).type == "Region"
    assert net.getFLOPS((1, 3, 64, 64)) == 1510976
    assert net.enableFusion(False) is None
    assert net.getParam("conv_0", 0).shape == (6, 3, 3, 3)
    dn.readNetFromDarknet(cfgFile="yolo.cfg", darknetModel="yolo.weights")
    dn.readNet("yolo.weights", "yolo.cfg")
    dn.readNetFromDarknet(np.fromfile("yolo.cfg", np.uint8), np.fromfile("yolo.weights", np.uint8))
