"""A net says the same about its layers as OpenCV 4."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.opencv_nets import CONV, REGION, YOLO, as_array, blob, both, files, weights_of
from tests.support.paths import FIXTURES

NETS = {
    "convolution": ("[convolutional] filters=6 size=3 pad=1 groups=2",),
    "batch norm": ("[convolutional] filters=6 size=3 batch_normalize=1 activation=leaky",),
    **{
        name: (f"[convolutional] filters=6 size=1 activation={name}",)
        for name in ("relu", "swish", "mish", "logistic", "tanh")
    },
    "pools": ("[maxpool] size=3 stride=2", "[maxpool] size=2 stride=1", "[maxpool] size=5"),
    "average": (CONV, "[avgpool]", "[softmax]", "[cost]"),
    "connected": ("[connected] output=9 activation=leaky", "[dropout]", "[connected] output=3"),
    "reorg": (CONV, "[reorg] stride=2", "[upsample] stride=2", "[dropout]"),
    "shortcut": (CONV, CONV, "[shortcut] from=-2 activation=leaky"),
    "factors": (CONV, "[avgpool]", "[scale_channels] from=0", "[sam] from=0"),
    "routes": (CONV, CONV, "[route] layers=-1,-2", "[route] layers=0", CONV, "[route] layers=2"),
    "groups": (CONV, "[route] layers=-1 groups=2 group_id=1", "[maxpool]"),
    "groups of several": (CONV, CONV, "[route] layers=0,1 groups=2"),
    "crop": ("[crop] crop_width=6 crop_height=5",),
    "crop without stretching": ("[crop] crop_width=6 crop_height=5 noadjust=1", CONV),
    "yolo": ("[convolutional] filters=14 size=1", YOLO),
    "region": ("[convolutional] filters=14 size=1", REGION),
}

pytestmark = pytest.mark.filterwarnings("ignore::darknet_bn.DarknetWarning")


@pytest.fixture(params=NETS)
def nets(request: pytest.FixtureRequest, cv2: Any) -> tuple[Any, Any]:
    """OpenCV's net and ours, after a pass."""
    theirs, ours = both(cv2, *files(*NETS[request.param]))
    for net in (theirs, ours):
        net.setInput(blob(1, 4, 8, 8))
        net.forward()
    return theirs, ours


def test_names_numbers_and_types(nets: tuple[Any, Any]) -> None:
    theirs, ours = nets
    assert ours.empty() is theirs.empty() is False
    names = theirs.getLayerNames()
    assert ours.getLayerNames() == names
    assert ours.getLayerTypes() == theirs.getLayerTypes()
    for kind in (*theirs.getLayerTypes(), "Dropout"):
        assert ours.getLayersCount(kind) == theirs.getLayersCount(layerType=kind)
    for name in (*names, "_input", "", "data", "nowhere", None):
        assert ours.getLayerId(name) == theirs.getLayerId(name)
    found, expected = (net.getUnconnectedOutLayers() for net in (ours, theirs))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert ours.getUnconnectedOutLayersNames() == theirs.getUnconnectedOutLayersNames()


def test_layers_and_parameters(nets: tuple[Any, Any]) -> None:
    theirs, ours = nets
    names = theirs.getLayerNames()
    for asked in (*names, *range(len(names) + 1), np.int32(1), "_input", None):
        a, b = ours.getLayer(asked), theirs.getLayer(asked)
        assert (a.name, a.type, a.preferableTarget) == (b.name, b.type, b.preferableTarget)
        for output in (a.name, "im_info"):
            assert a.outputNameToIndex(output) == b.outputNameToIndex(output)
        assert type(a.blobs) is type(b.blobs)
        assert len(a.blobs) == len(b.blobs)
        for number, (x, y) in enumerate(zip(a.blobs, b.blobs, strict=True)):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
            param = ours.getParam(asked, number)
            expected = theirs.getParam(asked, number)
            np.testing.assert_array_equal(param, expected.reshape(param.shape))


def test_shapes_operations_and_memory(nets: tuple[Any, Any]) -> None:
    theirs, ours = nets
    for shape in ((1, 4, 8, 8), (3, 4, 8, 8)):
        a, b = ours.getLayersShapes(shape), theirs.getLayersShapes(shape)
        np.testing.assert_array_equal(a[0], b[0])
        for found, expected in zip(a[1:], b[1:], strict=True):
            assert [[each.tolist() for each in one] for one in found] == [
                [each.tolist() for each in one] for one in expected
            ]
        for number in range(len(theirs.getLayerNames()) + 1):
            assert ours.getFLOPS(number, shape) == theirs.getFLOPS(number, shape), number
            assert ours.getMemoryConsumption(number, shape) == theirs.getMemoryConsumption(
                number, shape
            )
        assert ours.getFLOPS(shape) == theirs.getFLOPS(shape)
        assert ours.getMemoryConsumption(shape) == theirs.getMemoryConsumption(shape)


def detector(cv2: Any) -> tuple[Any, Any]:
    return both(cv2, *files(*NETS["yolo"]))


def test_every_way_to_give_a_shape(cv2: Any) -> None:
    shape = (2, 4, 16, 12)
    for net in detector(cv2):
        expected = net.getFLOPS(shape)
        assert expected == net.getFLOPS(list(shape)) == net.getFLOPS(np.array(shape))
        assert expected == net.getFLOPS([shape]) == net.getFLOPS(netInputShape=shape)
        assert expected == net.getFLOPS(netInputShapes=[shape])
        one = net.getFLOPS(1, shape)
        assert one == net.getFLOPS(1, [shape]) == net.getFLOPS(layerId=1, netInputShape=shape)
        memory = net.getMemoryConsumption(netInputShape=shape)
        assert memory == net.getMemoryConsumption(shape)
        assert isinstance(memory, tuple)


def test_parameters_are_copies(cv2: Any) -> None:
    _, ours = detector(cv2)
    before = ours.getParam("conv_0").copy()
    ours.getParam(layer="conv_0", numParam=0)[:] = 0
    np.testing.assert_array_equal(ours.getParam("conv_0"), before)


@pytest.mark.parametrize(
    "sections",
    [
        (CONV, CONV, "[route] layers=0,1 groups=2", CONV, f"{CONV} activation=leaky"),
        ("[crop] crop_width=6 crop_height=5", CONV, "[maxpool]"),
        ("[connected] output=9 batch_normalize=1", "[connected] output=5"),
    ],
)
def test_names_of_what_opencv_does_not_compute(cv2: Any, sections: tuple[str, ...]) -> None:
    cfg, _ = files(*sections)
    theirs, ours = cv2.dnn.readNetFromDarknet(as_array(cfg)), dn.readNetFromDarknet(cfg)
    assert ours.getLayerNames() == theirs.getLayerNames()


def test_names_of_published_nets(cv2: Any, shared: Path) -> None:
    compared = 0
    for path in sorted((shared / "cfg").glob("*/*.cfg")):
        try:
            theirs = cv2.dnn.readNetFromDarknet(str(path))
        except cv2.error:  # it has not all sections and activations
            continue
        if b"9k.tree" in path.read_bytes():  # a file that is not there; OpenCV never computes these
            continue
        ours = dn.readNetFromDarknet(path)
        assert ours.getLayerNames() == theirs.getLayerNames(), path
        outputs = theirs.getUnconnectedOutLayersNames()
        assert ours.getUnconnectedOutLayersNames() == outputs, path
        numbers = theirs.getUnconnectedOutLayers().tolist()
        assert ours.getUnconnectedOutLayers().tolist() == numbers, path
        compared += 1
    assert compared > 90


def our_detector() -> Any:
    return dn.readNetFromDarknet(*files(*NETS["yolo"]))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda net: net.getLayer("conv_7"), "there is no layer 'conv_7' .expected a name of"),
        (lambda net: net.getLayer(9), "there is no layer 9 .expected .* number from 0 to 3"),
        (lambda net: net.getLayer(-1), "there is no layer -1"),
        (lambda net: net.getLayer(1.5), "there is no layer 1.5"),
        (lambda net: net.getParam("conv_0", 2), "the layer 'conv_0' has no parameter 2 .*0 to 1"),
        (lambda net: net.getParam("conv_0", -1), "the layer 'conv_0' has no parameter -1"),
        (lambda net: net.getParam("permute_1"), "no parameter 0 .expected a layer with weights"),
        (lambda net: net.getFLOPS(), "expected the input shape"),
        (lambda net: net.getFLOPS(1, 2, 3), "expected the input shape"),
        (lambda net: net.getFLOPS(shape=(1, 4, 8, 8)), "expected the input shape"),
        (lambda net: net.getFLOPS(77, (1, 4, 8, 8)), "there is no layer 77"),
        (
            lambda net: net.getFLOPS((1, 3, 8, 8)),
            r"does not fit the network .expected \(n, 4, 8, 8\)",
        ),
        (lambda net: net.getFLOPS((4, 8, 8)), "the shape does not fit the network"),
        (lambda net: net.getFLOPS((1, 4, 0, 8)), "the shape does not fit the network"),
        (lambda net: net.getFLOPS("conv_0"), "the shape does not fit the network"),
        (lambda net: net.dumpToFile("/nowhere/net.dot"), "/nowhere: the folder does not exist"),
    ],
)
def test_what_is_not_there_is_said(ask: Any, message: str) -> None:
    with pytest.raises(dn.DarknetError, match=message):
        ask(our_detector())


def test_a_net_without_weights_can_be_asked_but_does_not_compute() -> None:
    cfg, _ = files(*NETS["yolo"])
    net = dn.readNetFromDarknet(cfg)
    assert net.getLayerNames() == ("conv_0", "permute_1", "yolo_1")
    assert net.getFLOPS((1, 4, 8, 8)) == our_detector().getFLOPS((1, 4, 8, 8))
    assert net.getLayer("conv_0").blobs == ()
    net.setInput(blob(1, 4, 8, 8))
    with pytest.raises(dn.DarknetError, match="read without weights; readNetFromDarknet"):
        net.forward()


def test_the_graph(tmp_path: Path) -> None:
    net = our_detector()
    text = net.dump()
    assert text.startswith("digraph G {\n")
    for line in (
        '"conv_0" [label="conv_0\\nConvolution\\noutput: 1 x 14 x 8 x 8" shape=box]',
        '"_input" -> "conv_0"',
        '"permute_1" -> "yolo_1"',
        '"_input" -> "yolo_1"',
    ):
        assert f"\t{line}\n" in text
    net.dumpToFile(tmp_path / "net.dot")
    net.dumpToFile(str(tmp_path / "net.dot"))
    assert (tmp_path / "net.dot").read_text() == text
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg", tmp_path / "net.dot"], check=True, capture_output=True)


def test_the_graph_is_never_written_over_the_net(tmp_path: Path) -> None:
    cfg, weights = files(*NETS["yolo"])
    (tmp_path / "net.cfg").write_bytes(cfg)
    (tmp_path / "net.weights").write_bytes(weights)
    net = dn.readNetFromDarknet(tmp_path / "net.cfg", tmp_path / "net.weights")
    for name in ("net.cfg", "net.weights"):
        with pytest.raises(dn.DarknetError, match=f"{name}: this file is an input"):
            net.dumpToFile(tmp_path / name)
    assert (tmp_path / "net.cfg").read_bytes() == cfg


def test_a_trained_model_costs_what_opencv_says(cv2: Any, shared: Path) -> None:
    stem = shared / "models" / "yolo-fastest" / "yolo-fastest-1.1"
    theirs = cv2.dnn.readNetFromDarknet(f"{stem}.cfg", f"{stem}.weights")
    ours = dn.readNetFromDarknet(f"{stem}.cfg", f"{stem}.weights")
    for shape in ((1, 3, 320, 320), (2, 3, 256, 192)):
        assert ours.getFLOPS(shape) == theirs.getFLOPS(shape)
        assert ours.getMemoryConsumption(shape) == theirs.getMemoryConsumption(shape)


def test_weights_of_a_digits_net_are_those_of_the_file() -> None:
    stem = FIXTURES / "digits" / "digits"
    net = dn.readNetFromDarknet(f"{stem}.cfg", f"{stem}.weights")
    model = dn.load(f"{stem}.cfg", f"{stem}.weights", dialect="opencv")
    np.testing.assert_array_equal(net.getParam("conv_0"), model.params[0]["weights"])
    np.testing.assert_array_equal(net.getParam("bn_0", 1)[0], model.params[0]["rolling_variance"])
    assert as_array(weights_of(b"[net]\n[maxpool]\n")).size == 20
