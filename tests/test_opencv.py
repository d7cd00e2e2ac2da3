"""One script, two modules: what runs with ``cv2.dnn`` runs with ours, and gives the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn

LAYERS = Path(__file__).parent / "fixtures" / "layers"
CASES = (
    "avgpool_softmax",
    "conv_bn_stack",
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

pytestmark = pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")


@pytest.fixture
def cv2() -> Any:
    module = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(module.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files any more")
    return module


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
        assert ours[name].shape == theirs[name].shape
        # Rounding of float32 over a deep net: 3e-6 of the largest value was seen.
        error = np.abs(ours[name] - theirs[name]).max()
        assert error <= 1e-5 * np.abs(theirs[name]).max(), name


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_the_same_script_on_a_small_net(cv2: Any, case: str, batch: int) -> None:
    assert_same(cv2, LAYERS / case / "model", batch)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_script_on_a_trained_model(cv2: Any, shared: Path, name: str) -> None:
    assert_same(cv2, shared / "models" / name, 1)


def small_net() -> Any:
    stem = LAYERS / "yolo" / "model"
    return dn.readNetFromDarknet(Path(f"{stem}.cfg").read_bytes(), f"{stem}.weights")


def test_scale_and_mean_are_taken_off_the_input() -> None:
    net = small_net()
    x = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    net.setInput(x)
    expected = net.forward()
    # What blobFromImage leaves to setInput: the pixels times 1/255, a mean for each channel.
    net.setInput(
        x * 255 + np.float32([1, 2, 3]).reshape(3, 1, 1), scalefactor=1 / 255, mean=(1, 2, 3)
    )
    np.testing.assert_allclose(net.forward(), expected, rtol=1e-4, atol=1e-5)  # x is rounded


def test_what_is_missing_is_said() -> None:
    net = small_net()
    with pytest.raises(dn.DarknetError, match="call setInput first"):
        net.forward()
    net.setInput(np.zeros((1, 3, 32, 32), np.float32))
    with pytest.raises(dn.DarknetError, match="no output 'yolo_99'"):
        net.forward("yolo_99")
    with pytest.raises(dn.DarknetError, match="together with the layer's others"):
        net.forward("conv_0")
    assert not net.empty()
