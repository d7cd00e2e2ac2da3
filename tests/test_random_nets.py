"""Random networks through the real programs and through us: equal shapes, equal outputs.

``DARKNET_BN_RANDOM_NETS=200 pytest tests/test_random_nets.py`` draws more of them.  The seed of a
net is its number in the name of the test.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import darknet_bn as dn
import tests.support.random_nets as nets
from darknet_bn.layers import LAYERS
from darknet_bn.model.weights import Header
from tests.support.builders import random_floats
from tests.support.onnx import write_onnx
from tests.support.paths import TOOLS

DEBIAN = Path("/usr/lib/darknet")
COUNT = int(os.environ.get("DARKNET_BN_RANDOM_NETS", "12"))

# Relative to the largest value of a layer: float32 sums in another order; up to 4e-6 was seen.
TOLERANCE = 1e-5

SHARED_MAKERS = (
    *nets.PLAIN,
    nets.reorg,
    nets.connected,
    nets.softmax,
    nets.yolo,
    nets.region,
)
DARKNET_MAKERS = (
    *SHARED_MAKERS,
    nets.unequal_shortcut,
    nets.downsample,
    nets.activation,
    nets.normalised_connected,
    nets.grouped_softmax,
    *(
        getattr(nets, name)
        for name in ("l2norm", "logistic", "normalization", "crop")
        if name in LAYERS
    ),
)
DARKNET_ACTIVATIONS = (
    "linear",
    "leaky",
    "logistic",
    "loggy",
    "relu",
    "elu",
    "selu",
    "relie",
    "ramp",
    "tanh",
    "plse",
    "stair",
    "hardtan",
    "lhtan",
)
OPENCV_ACTIVATIONS = ("linear", "leaky", "logistic")
OPENCV_LAST = ("connected", "yolo", "region")  # OpenCV's give rows, no image


def written(folder: Path, cfg: bytes, seed: int) -> tuple[Path, Path]:
    """Write the cfg and random weights that fit it."""
    network = dn.build_network(dn.parse_cfg(cfg), dn.PJREDDIE)
    paths = folder / "net.cfg", folder / "net.weights"
    paths[0].write_bytes(cfg)
    paths[1].write_bytes(Header().to_bytes() + random_floats(network, seed))
    return paths


def assert_close(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    assert ours.shape == theirs.shape, what
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    largest = np.nanmax(np.abs(theirs), initial=0)
    assert np.abs(ours - theirs)[~same].max(initial=0) <= TOLERANCE * largest, what


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The tool that runs Debian's Darknet."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("make_fixtures")
    finally:
        sys.path.remove(str(TOOLS))


@pytest.fixture(scope="module")
def driver(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return tool.compile_driver(tmp_path_factory.mktemp("driver"), DEBIAN, "cc")
    except tool.Refusal as refusal:
        pytest.skip(f"Debian's darknet or a C compiler is absent: {refusal}")


@pytest.mark.parametrize("seed", range(COUNT))
def test_debian_s_darknet_agrees_layer_by_layer(
    tool: ModuleType, driver: Path, tmp_path: Path, seed: int
) -> None:
    text = nets.random_cfg(seed, DARKNET_MAKERS, DARKNET_ACTIVATIONS)
    cfg, weights = written(tmp_path, text, seed)
    model = dn.load(cfg, weights, dialect="pjreddie")
    x = np.random.default_rng(seed).random((1, *model.network.input.dims), np.float32)
    truth = tool.run_network(driver, cfg, weights, x, tmp_path)
    for exact in (True, False):
        outputs = dn.forward(model, x, "all", exact=exact)
        assert len(outputs) == len(truth)
        for layer, theirs in enumerate(truth):
            assert_close(outputs[layer], theirs, f"layer {layer}, exact={exact}\n{text.decode()}")


@pytest.mark.parametrize("seed", range(COUNT))
def test_onnx_runtime_agrees_layer_by_layer(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    # Not [normalization], whose sums may come near 0, where its powers multiply all rounding.
    makers = [make for make in DARKNET_MAKERS if make is not nets.normalization]
    text = nets.random_cfg(seed, makers, DARKNET_ACTIVATIONS)
    model = dn.load(*written(tmp_path, text, seed), dialect="pjreddie")
    batch, fold, opset = 1 + seed % 3, seed % 2 == 0, (13, 15, 17, 18, 21)[seed % 5]
    x = np.random.default_rng(seed).random((batch, *model.network.input.dims), np.float32)
    path = tmp_path / "net.onnx"
    exported = write_onnx(model, path, batch=batch, fold=fold, opset=opset)
    proof = dn.prove(model, exported, {"random": x}, layers=True, tolerance=TOLERANCE)
    assert proof.ok, f"{proof.worst}\n{text.decode()}"


@pytest.mark.parametrize("seed", range(COUNT))
def test_opencv_agrees(tmp_path: Path, seed: int) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files any more")
    for drawn in range(seed, seed + 9000, 1000):  # again if OpenCV itself is wrong
        text = nets.random_cfg(drawn, SHARED_MAKERS, OPENCV_ACTIVATIONS, OPENCV_LAST)
        network = dn.build_network(dn.parse_cfg(text), dn.OPENCV)
        if any(node.y.h != node.y.w and 1 in (node.y.h, node.y.w) for node in network.nodes):
            continue  # it takes the axes of images one pixel wide for others
        cfg, weights = (str(path) for path in written(tmp_path, text, drawn))
        x = np.random.default_rng(drawn).random((1, *network.input.dims), np.float32)
        theirs = cv2.dnn.readNetFromDarknet(cfg, weights)
        theirs.setInput(x)
        names = theirs.getUnconnectedOutLayersNames()
        try:
            truth = theirs.forward(names)
        except cv2.error:  # seen with images of one pixel
            continue
        break
    ours = dn.readNetFromDarknet(cfg, weights)
    ours.setInput(x)
    assert ours.getLayerNames() == theirs.getLayerNames()
    for number in range(1 + len(ours.getLayerNames())):
        for ask in ("getFLOPS", "getMemoryConsumption"):
            found, expected = (getattr(net, ask)(number, x.shape) for net in (ours, theirs))
            assert found == expected, f"{ask}({number})\n{text.decode()}"
    for name, a, b in zip(names, ours.forward(names), truth, strict=True):
        assert_close(a, b, f"{name}\n{text.decode()}")
