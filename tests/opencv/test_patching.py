"""An OpenCV without a reader of Darknet's files has one again after `patch`.

OpenCV 4 replaces version 5 if that is not installed: its own reader is removed first.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import FIXTURES

FOLDER = FIXTURES / "opencv"
WITHOUT = """
import sys
import cv2
import numpy as np

vars(cv2.dnn).pop("readNetFromDarknet", None)
names = ("readNet", "Net", "Model", "DetectionModel", "ClassificationModel")
before = {name: getattr(cv2.dnn, name) for name in names}
from darknet_bn.opencv import patch

assert patch() is None
frame = np.full((40, 50, 3), 128, np.uint8)
"""


def run(code: str, *, setup: str = WITHOUT) -> str:
    """What a program prints; it fails if the program does."""
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    result = subprocess.run(
        [sys.executable, "-c", setup + code],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_nets_count_as_opencv_s() -> None:
    run("""
for net in (
    cv2.dnn.readNetFromDarknet("yolo.cfg", "yolo.weights"),
    cv2.dnn.readNet("yolo.weights", "yolo.cfg"),
    cv2.dnn.readNet("darknet", np.fromfile("yolo.weights", np.uint8),
                    np.fromfile("yolo.cfg", np.uint8)),
    cv2.dnn.readNet(model="yolo.weights", config="yolo.cfg", framework="darknet", engine=1),
):
    assert isinstance(net, cv2.dnn.Net) and isinstance(net, cv2.dnn_Net)
    assert type(net).__name__ == "Net"
    net.setInput(cv2.dnn.blobFromImage(frame, 1 / 255, (64, 64)))
    assert net.forward().shape == (192, 7)
assert cv2.dnn.Net is before["Net"] and cv2.dnn.Net().empty()
""")


def test_models_are_made_of_nets_and_files() -> None:
    run("""
net = cv2.dnn.readNet("yolo.cfg", "yolo.weights")
for name, kind in (("DetectionModel", cv2.dnn.DetectionModel), ("Model", cv2.dnn.Model),
                   ("ClassificationModel", cv2.dnn.ClassificationModel)):
    assert kind is getattr(cv2, "dnn_" + name) and kind.__name__ == name
    assert issubclass(kind, cv2.dnn.Model) and issubclass(kind, kind)
    for model in (kind(net), kind(network=net), kind("yolo.cfg", "yolo.weights"),
                  kind("yolo.weights", "yolo.cfg"), kind(model="yolo.cfg", config="yolo.weights")):
        assert isinstance(model, kind) and isinstance(model, cv2.dnn.Model)
        assert isinstance(model, cv2.dnn_Model)
        model.setInputParams(1 / 255, (64, 64))
        assert [each.shape for each in model.predict(frame)] == [(192, 7)]
assert not isinstance(cv2.dnn.Model(net), cv2.dnn.DetectionModel)
assert not issubclass(cv2.dnn.Model, cv2.dnn.DetectionModel)
assert not isinstance(net, cv2.dnn.Model) and not isinstance(5, cv2.dnn.DetectionModel)
assert issubclass(before["DetectionModel"], cv2.dnn.DetectionModel)
""")


def test_a_class_may_be_derived() -> None:
    run("""
class Finder(cv2.dnn.DetectionModel):
    def __init__(self, stem):
        super().__init__(stem + ".cfg", stem + ".weights")
        self.setInputParams(1 / 255, (64, 64))

    def detect(self, frame):
        return super().detect(frame, 0.1, 0.4)

finder = Finder("yolo")
assert isinstance(finder, Finder) and isinstance(finder, cv2.dnn.DetectionModel)
assert isinstance(finder, cv2.dnn.Model) and issubclass(Finder, cv2.dnn.Model)
assert len(finder.detect(frame)[0]) > 0
assert not isinstance(cv2.dnn.DetectionModel("yolo.cfg", "yolo.weights"), Finder)
""")


def test_all_else_goes_to_opencv(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", kind, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", kind, [1, 3, 4, 4])],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), tmp_path / "relu.onnx")
    run(f"""
path = {str(tmp_path / "relu.onnx")!r}
for net in (cv2.dnn.readNet(path), cv2.dnn.readNet(model=path), cv2.dnn.readNetFromONNX(path)):
    assert type(net) is before["Net"]
    net.setInput(np.full((1, 3, 4, 4), -1, np.float32))
    assert not net.forward().any()
for model in (cv2.dnn.Model(path), cv2.dnn.Model(net), cv2.dnn.Model(network=net)):
    assert type(model) is before["Model"] and isinstance(model, cv2.dnn.Model)
    assert not isinstance(model, cv2.dnn.DetectionModel)
model = cv2.dnn.ClassificationModel(net)
assert type(model) is before["ClassificationModel"]
assert isinstance(model, cv2.dnn.ClassificationModel)
for wrong in (lambda: cv2.dnn.readNet("nowhere.onnx"), lambda: cv2.dnn.readNet("a.b", "c.d"),
              lambda: cv2.dnn.readNet("onnx", np.zeros(3, np.uint8))):
    try:
        wrong()
    except cv2.error as error:
        assert str(error).startswith("OpenCV(")
    else:
        raise AssertionError
""")


def test_errors_are_opencv_s() -> None:
    printed = run("""
net = cv2.dnn.readNet("yolo.cfg", "yolo.weights")
model = cv2.dnn.DetectionModel(net)
for wrong in (lambda: cv2.dnn.readNetFromDarknet("nowhere.cfg", "yolo.weights"),
              lambda: cv2.dnn.DetectionModel("nowhere.cfg", "yolo.weights"),
              lambda: net.forward(), lambda: net.forward("conv_99"), lambda: net.forwardAsync(),
              lambda: net.setParam("conv_0", 0, 5), lambda: model.detect(frame)):
    try:
        wrong()
    except cv2.error as error:
        assert error.err == error.msg == str(error) and error.code == -2, error
        print(type(error).__name__, error)
""")
    assert printed.splitlines() == [
        "CfgError nowhere.cfg: cannot be read: No such file or directory",
        "CfgError nowhere.cfg: cannot be read: No such file or directory",
        "DarknetError there is no input yet; call setInput first",
        "DarknetError there is no layer 'conv_99' (expected a name of getLayerNames(), or a number "
        "from 0 to 12)",
        "DarknetError forwardAsync is not supported; in OpenCV it needs OpenVINO; call "
        "forward, in a separate thread if the program must not wait",
        "DarknetError setParam is not supported for Darknet networks",
        "DarknetError the size of the input is not set; call setInputSize((64, 64)), which is the "
        "size in the cfg",
    ]


def test_the_second_time_nothing_happens() -> None:
    run("""
after = {name: getattr(cv2.dnn, name) for name in before}
assert after["readNet"] is not before["readNet"]
patch()
assert after == {name: getattr(cv2.dnn, name) for name in before}
""")


def test_constants_are_back() -> None:
    run("""
assert cv2.dnn.DNN_BACKEND_HALIDE == 1
assert cv2.dnn.DNN_LAYOUT_NCHW == 2 and cv2.dnn.DNN_LAYOUT_NHWC == 4
params = cv2.dnn.Image2BlobParams()
params.datalayout = cv2.dnn.DNN_LAYOUT_NHWC
assert cv2.dnn.blobFromImageWithParams(frame, params).shape == (1, 40, 50, 3)
""")


def test_opencv_4_is_left_alone(cv2: object) -> None:
    run(
        """
import cv2
before = dict(vars(cv2.dnn)), dict(vars(cv2))
from darknet_bn.opencv import patch
patch()
assert (dict(vars(cv2.dnn)), dict(vars(cv2))) == before
assert type(cv2.dnn.readNet("yolo.cfg", "yolo.weights")) is cv2.dnn.Net
""",
        setup="",
    )


def test_opencv_is_not_imported_before() -> None:
    run(
        """
import sys
import darknet_bn as dn
assert "darknet_bn.opencv" not in sys.modules
assert "readNet" in dir(dn) and not hasattr(dn, "NMSBoxes")
dn.DetectionModel("yolo.cfg", "yolo.weights")
assert "cv2" not in sys.modules
""",
        setup="",
    )


def test_without_opencv_one_line_says_what_to_install() -> None:
    code = """
import sys
sys.modules["cv2"] = None
from darknet_bn.opencv import patch
from darknet_bn import DarknetError
try:
    patch()
except DarknetError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == (
        "the package opencv-python-headless is not installed; pip install opencv-python-headless\n"
    )
