"""Plain ONNX graphs of other programs become models that compute the same, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.convert.graphs import BN, CONV, GRAPHS, NORM, UP, V, W, ints, normal, plain

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def assert_computes(path: Path, sections: str) -> dn.Model:
    """Read a graph, whose sections are known; ONNX Runtime must agree with the model."""
    model = dn.load_arrays(path)
    assert [each.name for each in model.cfg.sections[1:]] == sections.split()
    x = np.random.default_rng(0).random((1, *model.network.input.dims), np.float32)
    session = dn.OnnxFile(path, model)
    assert session.layers == model.network.outputs
    report = dn.compare(model, session, x, tolerance=1e-5)
    assert report.ok, f"{report}\n{model.cfg.to_bytes().decode()}"
    return model


@pytest.mark.parametrize("name", GRAPHS)
def test_a_plain_graph_becomes_a_model_that_computes_the_same(tmp_path: Path, name: str) -> None:
    nodes, constants, sections = GRAPHS[name]
    model = assert_computes(plain(tmp_path / "x.onnx", *nodes, **constants), sections)
    assert model.dialect == dn.ALEXEYAB
    dn.save(model, tmp_path / "x.cfg", tmp_path / "x.weights")
    again = dn.load(tmp_path / "x.cfg", tmp_path / "x.weights")
    assert again.dialect == model.dialect
    x = np.random.default_rng(0).random((1, 4, 8, 6), np.float32)
    for layer, y in dn.forward(model, x, "all").items():
        np.testing.assert_array_equal(dn.forward(again, x, "all")[layer], y)


def test_parts_of_one_section(tmp_path: Path) -> None:
    nodes, constants, _ = GRAPHS["another epsilon"]
    model = dn.load_arrays(plain(tmp_path / "x.onnx", *nodes, **constants))
    assert model.cfg.to_bytes().decode() == (
        "[net]\nbatch=1\nsubdivisions=1\nwidth=6\nheight=8\nchannels=4\n\n"
        "[convolutional]\nbatch_normalize=1\nfilters=5\nsize=3\nstride=1\npad=1\n"
        "activation=leaky\n"
    )
    np.testing.assert_array_equal(model.params[0]["weights"], W)
    np.testing.assert_array_equal(model.params[0]["rolling_mean"], NORM["m"])
    np.testing.assert_allclose(model.params[0]["rolling_variance"], V + 0.00099, rtol=1e-6)


def test_older_opsets(tmp_path: Path) -> None:
    nodes = ("c = Upsample(x, f) mode=nearest", "y = Clip(c) min=0.0 max=6.0")
    path = plain(tmp_path / "x.onnx", *nodes, opset=9, f=UP)
    assert_computes(path, "upsample activation")
    nodes = ("c = ReduceMean(x) axes=[2,3] keepdims=0", "d = Unsqueeze(c) axes=[2,3]",
             "y = Squeeze(d) axes=[2,3]")  # fmt: skip
    assert_computes(plain(tmp_path / "x.onnx", *nodes, opset=11), "avgpool")


def test_several_outputs_and_those_that_others_read(tmp_path: Path) -> None:
    path = plain(
        tmp_path / "x.onnx", CONV, "y = Relu(c)", "z = Tanh(y)", "u = Conv(y, k)",
        outputs="u y z", w=W, k=normal(2, 5, 1, 1),
    )  # fmt: skip
    model = dn.load_arrays(path)
    names = [each.name for each in model.cfg.sections[1:]]
    assert names == ["convolutional", "activation", "route", "convolutional", "route"]
    x = np.random.default_rng(0).random((1, 4, 8, 6), np.float32)
    session = dn.OnnxFile(path, model)
    assert dn.compare(model, session, x).ok
    assert session.layers == model.network.outputs == (1, 3, 4)


def test_any_batch_is_none_of_ours(tmp_path: Path) -> None:
    path = plain(tmp_path / "x.onnx", "y = Conv(x, w)", dims=("n", 4, 8, 6), w=W)
    model = dn.load_arrays(path)
    x = np.random.default_rng(0).random((3, 4, 8, 6), np.float32)
    assert dn.compare(model, dn.OnnxFile(path, model), x).ok
    path = plain(tmp_path / "x.onnx", "y = Conv(x, w)", dims=(3, 4, 8, 6), w=W)
    assert dn.OnnxFile(path, model).batch == 3


REFUSED: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "operator": (("y = Exp(x)",), {}, "n0: Exp: Darknet has no section for this operator"),
    "slope": (("y = LeakyRelu(x) alpha=0.2",), {}, r"expected 0\.1 or 0\.01, found 0\.2"),
    "bounds": (("y = Clip(x) ",), {}, "Darknet has no activation with these bounds"),
    "pads": (("y = Conv(x, w) pads=[0,0,1,1]",), {"w": W}, r"found pads \[0, 0, 1, 1\]"),
    "same": (("y = Conv(x, w) auto_pad=SAME_UPPER",), {"w": W}, "unsupported auto_pad"),
    "dilation": (("y = Conv(x, w) dilations=[2,2]",), {"w": W}, "pads all sides equally"),
    "filters": (("y = Conv(x, w)",), {"w": normal(5, 4, 3, 1)}, "the filters are not square"),
    "window": (("y = Conv(x, w)",), {"w": normal(5, 4, 9, 9)}, "do not fit the image"),
    "ceil": (
        ("y = MaxPool(x) kernel_shape=[4,4] strides=[4,4] ceil_mode=1",), {},
        r"one more at the end \(found pads \[0, 0, 0, 0\]\)",
    ),
    "counted padding": (
        ("y = AveragePool(x) kernel_shape=[3,3] pads=[1,1,1,1] count_include_pad=1",), {},
        "unsupported count_include_pad",
    ),
    "linear": (("y = Resize(x, , f) mode=linear",), {"f": UP}, "unsupported mode"),
    "thirds": (("y = Resize(x, , f) mode=nearest",),
               {"f": np.array([1, 1, 1.5, 1.5], np.float32)},
               "are not enlarged by one whole number"),
    "other pixels": (
        ("y = Resize(x, , f) mode=nearest coordinate_transformation_mode=align_corners",),
        {"f": UP},
        "the pixels are taken from different positions",
    ),
    "weights that are computed": (("w = Exp(u)", "y = Conv(x, w)"), {"u": W}, "n0: Exp"),
    "input again": ((CONV, "y = Concat(x, c) axis=1"), {"w": W}, "the network input is read"),
    "rows": (("y = Concat(x, x) axis=2",), {}, "only channels can be joined"),
    "unequal parts": (("c = Relu(x)", "y, z = Split(c, s) axis=1"), {"s": ints(1, 3)},
                      "split into equal parts only"),
    "a part across": (("c = Relu(x)", "y = Slice(c, f, g, a)"),
                      {"f": ints(1), "g": ints(3), "a": ints(1)}, "sliced into equal parts only"),
    "softmax of an image": (("y = Softmax(x) axis=1",), {}, "only over all values"),
    "matrix of pixels": (("y = MatMul(x, u)",), {"u": normal(6, 3)}, "not a row of values"),
    "factor": (("y = Gemm(r, u) alpha=2.0", ), {"u": normal(4, 3)}, "Gemm"),
    "constant factor": (("y = Mul(x, f)",), {"f": normal(1)}, "multiply by a constant"),
    "constant summand": (("y = Add(x, f)",), {"f": normal(1, 4, 1, 1)}, "only the biases of a "
    "layer"),
    "epsilon": (
        ("c = Conv(x, w)", f"y = {BN.format('c')} epsilon=0.000001"),
        {**NORM, "v": np.zeros(5, np.float32)},
        "epsilon is too small",
    ),
    "doubles": (("y = Conv(x, w)",), {"w": W.astype(np.float64)}, "float32 or float16"),
    "sizes": ((CONV, "d = Conv(c, k)", "y = Mul(c, d)"), {"w": W, "k": normal(1, 5, 1, 1)},
              "shapes of the layers do not match"),
    "reshape": (("y = Reshape(x, z)",), {"z": ints(1, 8, 4, 6)}, "values into one row"),
    "halves of an image": (("y = Reshape(x, z)",), {"z": ints(2, -1)}, r"found \[2, -1\]"),
    "softmax of a pixel": (("d = GlobalAveragePool(x)", "y = Softmax(d)"), {}, "found axis -1"),
    "squeezed batch": (("d = GlobalAveragePool(x)", "y = Squeeze(d)"), {}, "axes 2 and 3"),
    "training": (
        ("y = Dropout(x, r, t)",), {"r": np.float32(0.5), "t": np.array(True)}, "dropout is active"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_darknet_does_not_compute_is_refused_by_name(tmp_path: Path, name: str) -> None:
    nodes, constants, reason = REFUSED[name]
    if name == "factor":
        nodes = ("r = Flatten(x)", *nodes)
        constants = {"u": normal(192, 3)}
    with pytest.raises(dn.WeightsError, match=reason) as caught:
        dn.load_arrays(plain(tmp_path / "x.onnx", *nodes, **constants))
    assert str(caught.value).startswith(f"{tmp_path / 'x.onnx'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dims", [(1, 4, "h", "w"), (1, 4, 8), (1, 4, 0, 6)])
def test_an_input_that_is_no_image_of_fixed_size(tmp_path: Path, dims: tuple[object, ...]) -> None:
    path = plain(tmp_path / "x.onnx", "y = Relu(x)", dims=dims)
    with pytest.raises(dn.WeightsError, match="the input is not an image of fixed size"):
        dn.load_arrays(path)
