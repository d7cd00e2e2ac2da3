"""The graph of a file in 8 bits: what is rounded, and what is not."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.onnx.export import prepare_onnx
from tests.support.paths import FIXTURES

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("sympy", reason="sympy is not installed")

from darknet_bn.convert.onnx.quantize import (  # noqa: E402
    QUANTIZED,
    QuantizableOnnx,
    number_of,
    require_quantizer,
)

DIGITS, TINY = FIXTURES / "digits" / "digits", FIXTURES / "tiny" / "tiny"
ROUND, BACK = "QuantizeLinear", "DequantizeLinear"


def load(stem: Path) -> dn.Model:
    return dn.load(stem.with_suffix(".cfg"), stem.with_suffix(".weights"))


def content(model: dn.Model, **options: Any) -> bytes:
    stream = io.BytesIO()
    (write,) = prepare_onnx(model, "x.onnx", **options).files.values()
    write(stream)
    return stream.getvalue()


def quantized(net: QuantizableOnnx, keep: tuple[int, ...] = ()) -> Any:
    ranges = {name: (-2.0, 3.0) for name in net.values}
    return onnx.load_model_from_string(net.quantized(ranges, {}, keep, {"method": "min-max"}))


def kinds_around(graph: Any, name: str) -> tuple[list[str], list[str]]:
    """The kinds of nodes that a node reads, and of those that read it."""
    makers = {output: node for node in graph.node for output in node.output}
    (node,) = (each for each in graph.node if each.name == name)
    before = [makers[each].op_type for each in node.input if each in makers]
    after = [each.op_type for each in graph.node if node.output[0] in each.input]
    return before, after


@pytest.fixture(scope="module")
def digits() -> QuantizableOnnx:
    return QuantizableOnnx(content(load(DIGITS), batch="any"))


@pytest.fixture(scope="module")
def tiny() -> QuantizableOnnx:
    return QuantizableOnnx(content(load(TINY), batch="any"))


def test_layers_and_values_up_to_the_last_weights(
    digits: QuantizableOnnx, tiny: QuantizableOnnx
) -> None:
    assert digits.layers == (0, 1, 2, 3)
    assert digits.values[:2] == ("input", "layer_000/Conv")
    assert digits.values[-1] == "layer_003"
    assert digits.bytes_per_image == 4 * sum(
        size for size in (64, 2 * 16 * 64, 2 * 32 * 16, 2 * 64 * 16, 10 * 16)
    )
    assert tiny.layers == (0, 2, 3, 4, 6, 9, 10)
    assert "layer_011" not in tiny.values


def test_weights_have_a_scale_for_each_filter(digits: QuantizableOnnx) -> None:
    graph = quantized(digits).graph
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    weights = arrays["layer_001.weights_quantized"]
    assert weights.dtype == np.int8
    assert arrays["layer_001.weights_scale"].shape == (32,)
    assert "layer_001.weights" not in arrays
    model = dn.fold_batchnorm(load(DIGITS))
    scale = arrays["layer_001.weights_scale"].reshape(-1, 1, 1, 1)
    error = np.abs(weights * scale - model.params[1]["weights"])
    assert (error <= scale / 2 * 1.0001).all()


def test_what_comes_out_of_the_last_convolution_is_not_rounded(
    digits: QuantizableOnnx, tiny: QuantizableOnnx
) -> None:
    graph = quantized(digits).graph
    assert kinds_around(graph, "layer_002/Conv") == ([BACK, BACK, BACK], [ROUND])
    assert kinds_around(graph, "layer_003/Conv") == ([BACK, BACK, BACK], ["GlobalAveragePool"])
    assert kinds_around(graph, "layer_004/GlobalAveragePool") == (["Conv"], ["Reshape"])
    graph = quantized(tiny).graph
    before, after = kinds_around(graph, "layer_010/Conv")
    assert before == [BACK, BACK, BACK]
    assert ROUND not in after
    for node in graph.node:
        if number_of(node.name) == 11:
            assert not {ROUND, BACK} & set(kinds_around(graph, node.name)[0])


def test_layers_that_are_kept_have_their_weights_in_float32(digits: QuantizableOnnx) -> None:
    graph = quantized(digits, keep=(1, 3)).graph
    types = {each.name: onnx.numpy_helper.to_array(each).dtype for each in graph.initializer}
    for layer in (1, 3):
        assert types[f"layer_{layer:03d}.weights"] == types[f"layer_{layer:03d}.biases"]
        assert types[f"layer_{layer:03d}.weights"] == np.float32
    assert types["layer_002.weights_quantized"] == np.int8
    assert kinds_around(graph, "layer_001/Conv") == ([BACK], ["LeakyRelu"])
    assert digits.rounded((1, 3)) == {0: True, 1: False, 2: True, 3: False, 4: False, 5: False}


def test_all_else_about_the_file_stays(digits: QuantizableOnnx) -> None:
    before = onnx.load_model_from_string(content(load(DIGITS), batch="any"))
    after = quantized(digits)
    onnx.checker.check_model(after, full_check=True)
    assert after.graph.input == before.graph.input
    assert after.graph.output == before.graph.output
    assert after.ir_version == before.ir_version
    assert after.producer_name == "darknet-bn"
    facts, old = ({p.key: p.value for p in each.metadata_props} for each in (after, before))
    assert json.loads(facts.pop(QUANTIZED)) == {"method": "min-max"}
    layers = json.loads(facts.pop("darknet_layers"))
    assert layers["2"] == "layer_002_DequantizeLinear_Output"
    assert layers["3"] == "layer_003"
    assert {info.name for info in after.graph.value_info} == set(layers.values()) - {"layer_005"}
    assert facts == {key: value for key, value in old.items() if key in facts}


def test_a_file_that_is_quantized_is_no_model_to_load(
    digits: QuantizableOnnx, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantized(digits).SerializeToString())
    with pytest.raises(dn.DarknetError):
        dn.load_arrays(path)


def test_nothing_is_logged_or_printed(
    digits: QuantizableOnnx, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    handlers = list(logging.getLogger().handlers)
    quantized(digits)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger().handlers == handlers


def test_names_of_nodes() -> None:
    assert number_of("layer_012/Conv") == 12
    assert number_of("layer_003.boxes/Mul") == 3
    assert number_of("nms/Concat") is None


def test_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(dn.ExportError) as caught:
        require_quantizer()
    assert str(caught.value) == (
        "the package sympy is needed to quantise; pip install 'darknet-bn[quantize]'"
    )
