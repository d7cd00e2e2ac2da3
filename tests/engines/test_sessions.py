"""Every engine computes what we do, and compare finds what does not."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.engines.base import ENGINES
from darknet_bn.engines.opencv import OpenCvReader
from darknet_bn.predictions.boxes import network_boxes
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.engines import PACKAGES

# Each of some layers errs by 1e-6 of the largest value; with Winograd's algorithm by some more.
TOLERANCE = 2e-5
CONV = "[convolutional] filters=6 size=3 stride=1 pad=1 activation=leaky batch_normalize=1"
POOL = "[maxpool] size=3 stride=2 padding=2"
_ADD = "[shortcut] from=-2 activation=linear"
NET = cfg_text(CONV, POOL, CONV, _ADD, CONV, POOL, CONV, width=16, height=16)


def model_of(cfg: bytes) -> dn.Model:
    """A model as OpenCV's reader, and with it every other engine, takes it."""
    return random_model(cfg, "opencv")


def test_a_session_computes_what_we_do(engine: str) -> None:
    model = model_of(NET)
    session = dn.open_session(model, engine)
    assert session.engine.startswith(engine)
    assert session.layers == tuple(range(7))
    for batch in (2, 1):
        x = random_input(model, batch)
        found, expected = session.forward(x, "all"), dn.forward(model, x, "all")
        assert list(found) == list(range(7))
        for layer, y in expected.items():
            assert (found[layer].dtype, found[layer].shape) == (np.float32, y.shape)
            np.testing.assert_allclose(found[layer], y, rtol=0, atol=TOLERANCE * np.abs(y).max())
    (outputs,) = session.forward(x).values()
    np.testing.assert_allclose(outputs, y, rtol=0, atol=TOLERANCE * np.abs(y).max())
    assert list(session.forward(x, [2, -1])) == [2, 6]


def test_each_thread_gets_the_outputs_of_its_own_input(engine: str) -> None:
    model = model_of(NET)
    session = dn.open_session(model, engine)
    inputs = [random_input(model, seed=seed) for seed in range(4)]
    expected = [dn.forward(model, x)[6] for x in inputs]
    together = threading.Barrier(4, timeout=60)

    def check(number: int) -> None:
        together.wait()
        for _ in range(50):
            y = session.forward(inputs[number])[6]
            atol = TOLERANCE * np.abs(y).max()
            np.testing.assert_allclose(y, expected[number], rtol=0, atol=atol)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(4)))


def test_what_agrees_is_said_to(engine: str) -> None:
    model = model_of(NET)
    report = dn.compare(model, dn.open_session(model, engine), random_input(model))
    assert report.ok
    assert [row.layer for row in report.differences] == list(range(7))
    assert min(row.cosine for row in report.differences) > 0.999999
    assert max(row.relative for row in report.differences) < TOLERANCE
    assert report.provenance["program"].startswith(engine)


def with_scale_changed(model: dn.Model, layer: int) -> dn.Model:
    """The same model, with one scale of one batch norm doubled."""
    params = [dict(each) for each in model.params]
    scales = params[layer]["scales"].copy()
    scales[3] *= 2
    params[layer]["scales"] = scales
    return replace(model, params=tuple(params))


@pytest.mark.parametrize("layer", [0, 2, 4, 6])
def test_a_scale_that_was_changed_is_found(engine: str, layer: int) -> None:
    model = model_of(NET)
    damaged = with_scale_changed(model, layer)
    report = dn.compare(model, dn.open_session(damaged, engine), random_input(model))
    assert report.first_wrong is not None
    assert report.first_wrong.layer == layer
    assert f"layer {layer} [convolutional] is the first that differs" in str(report)
    filters = {each.index[1] for each in report.first_wrong.offenders}
    assert filters == {3}


@pytest.mark.parametrize("layer", [1, 5])
def test_a_pad_of_pooling_that_was_changed_is_found(engine: str, layer: int) -> None:
    pieces = NET.split(b"padding=2")
    where = [1, 5].index(layer)
    joins = [b"padding=2", b"padding=2"]
    joins[where] = b"padding=1"  # the image stays as large
    damaged_cfg = pieces[0] + joins[0] + pieces[1] + joins[1] + pieces[2]
    model = model_of(NET)
    damaged = dn.load(damaged_cfg, None, dialect="opencv")
    damaged = replace(damaged, params=model.params)
    assert [n.y for n in damaged.network.nodes] == [n.y for n in model.network.nodes]
    report = dn.compare(model, dn.open_session(damaged, engine), random_input(model))
    assert report.first_wrong is not None
    assert report.first_wrong.layer == layer


def test_a_pad_of_a_convolution_that_was_changed_is_found(engine: str) -> None:
    model = model_of(NET)
    front, pad, rest = NET.rpartition(b"pad=1")
    assert pad
    damaged = replace(dn.load(front + b"pad=0" + rest, None, dialect="opencv"), params=model.params)
    report = dn.compare(model, dn.open_session(damaged, engine), random_input(model))
    assert report.first_wrong is not None
    assert report.first_wrong.layer == 6
    assert report.first_wrong.error == np.inf  # the image is smaller


@pytest.mark.parametrize(
    "name",
    [
        "yolo-fastest/yolo-fastest-1.1",
        pytest.param("yolov3-tiny/yolov3-tiny", marks=pytest.mark.exhaustive),
    ],
)
def test_trained_models_on_a_picture(shared: Path, engine: str, name: str) -> None:
    """By default the one with less to compute, and four times as many layers."""
    stem = shared / "models" / name
    model = dn.load(f"{stem}.cfg", f"{stem}.weights", dialect="opencv")
    session = dn.open_session(model, engine)
    x = dn.prepare(dn.load_image(shared / "images/dog.jpg"), model)
    report = dn.compare(model, session, x)
    assert report.ok, str(report)
    if isinstance(session, OpenCvReader):
        assert len(report.differences) == len(model.network.nodes) - 2  # but for the heads
        return
    assert len(report.differences) == len(model.network.nodes)
    assert_same_boxes(model, session.forward(x), dn.forward(model, x))


def assert_same_boxes(
    model: dn.Model, found: dict[int, np.ndarray], expected: dict[int, np.ndarray]
) -> None:
    ours, theirs = (
        dn.nms(network_boxes(model, outputs, threshold=0.2)[0]) for outputs in (expected, found)
    )
    assert len(ours) == len(theirs) > 3
    # As the outputs: some 1e-6 of values up to 20, before a logistic and an exponential.
    np.testing.assert_allclose(theirs.xywh, ours.xywh, atol=2e-5)
    np.testing.assert_allclose(theirs.probabilities, ours.probabilities, atol=2e-5)


# -- what goes wrong -------------------------------------------------------------------------


def test_an_engine_that_there_is_not() -> None:
    with pytest.raises(dn.DarknetError, match=r"unknown engine \(expected numpy, onnxr"):
        dn.open_session(model_of(NET), "tensorrt")


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("onnxruntime", "onnxruntime", "onnxruntime"),
        ("openvino", "openvino", "openvino"),
        ("opencv", "cv2", "opencv-python-headless"),
        ("litert", "ai_edge_litert", "'darknet-bn[tflite]'"),
        ("torch", "torch", "'darknet-bn[torch]'"),
        ("ncnn", "ncnn", "'darknet-bn[ncnn]'"),
    ],
)
def test_a_package_that_is_absent_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"is not installed; pip install {re.escape(package)}$"
    with pytest.raises(dn.DarknetError, match=message):
        dn.open_session(model_of(NET), name)


def test_the_environment_says_which_engine_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(NET)
    monkeypatch.delenv("DARKNET_BN_ENGINE", raising=False)
    assert dn.open_session(model).engine == f"numpy {np.__version__}"
    monkeypatch.setenv("DARKNET_BN_ENGINE", "")
    assert dn.open_session(model).engine == f"numpy {np.__version__}"
    monkeypatch.setenv("DARKNET_BN_ENGINE", "tensorrt")
    with pytest.raises(dn.DarknetError, match=r"DARKNET_BN_ENGINE: unknown engine .*'tensorrt'"):
        dn.open_session(model)
    assert dn.open_session(model, "numpy").engine.startswith("numpy")


def test_our_own_engine_is_the_fast_pass() -> None:
    model = model_of(NET)
    x = random_input(model, 2)
    found = dn.open_session(model, "numpy").forward(x, "all")
    for layer, y in dn.forward(model, x, "all", exact=False).items():
        np.testing.assert_array_equal(found[layer], y)


def test_no_engine_is_imported_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("darknet_bn.engines.base")
    assert ENGINES == ("numpy", "onnxruntime", "openvino", "opencv", "litert", "torch", "ncnn")
    for engine in ENGINES[1:]:
        name = PACKAGES.get(engine, engine)
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(dn.DarknetError, match="is not installed; pip install "):
            dn.open_session(model_of(NET), engine)


def test_an_input_that_does_not_fit(engine: str) -> None:
    session = dn.open_session(model_of(NET), engine)
    with pytest.raises(dn.ShapeError, match="does not fit the network"):
        session.forward(np.zeros((1, 3, 9, 9), np.float32))
    with pytest.raises(dn.ShapeError, match="there is no such layer"):
        session.forward(np.zeros((1, 3, 16, 16), np.float32), [7])


def test_opencv_4_shows_no_heads() -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files any more")
    head = "[yolo] classes=1 num=1 mask=0 anchors=2,3"
    model = model_of(cfg_text("[convolutional] filters=6 size=1 activation=linear", head))
    session = dn.open_session(model, "opencv")
    assert session.layers == (0,)
    with pytest.raises(dn.DarknetError, match="does not show the output of layer 1"):
        session.forward(random_input(model))


def test_what_opencv_4_reads_as_another_net_is_refused() -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files any more")
    conv = "[convolutional] filters=4 size=3 stride=1 pad=1 activation=linear"
    model = random_model(cfg_text(f"{conv} dilation=2"), "alexeyab")
    session = dn.open_session(model, "opencv")
    with pytest.raises(dn.DarknetError, match="reads the model differently: layer 0 differs"):
        session.forward(random_input(model))


def test_what_opencv_4_does_not_read_is_one_line() -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files any more")
    model = random_model(cfg_text("[convolutional] filters=2 size=1 activation=gelu"))
    with pytest.raises(dn.DarknetError, match=r"^opencv cannot load .*Unsupported activation"):
        dn.open_session(model, "opencv")
