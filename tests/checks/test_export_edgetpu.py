"""Files for the Edge TPU: 8 bits throughout, operators that it has, and back to boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.pictures.prepare import own_fit, read_picture
from tests.support.builders import cfg_text, random_model
from tests.support.paths import FIXTURES

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
pytest.importorskip("ai_edge_quantizer", reason="ai-edge-quantizer is not installed")

PICTURES = sorted(map(str, (FIXTURES / "preprocess").glob("*.png")))
CONV = "[convolutional] filters=4 size=3 pad=1 activation={}"
# Of the operators that Coral lists, and of those that the quantiser puts before and after.
OPERATORS = {
    *("ADD", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "MAXIMUM", "MAX_POOL_2D", "MUL"),
    *("PAD", "QUANTIZE", "RESIZE_NEAREST_NEIGHBOR"),
}


@pytest.fixture
def tiny() -> dn.Model:
    return dn.load(FIXTURES / "tiny/tiny.cfg", FIXTURES / "tiny/tiny.weights")


def interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    reference = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = Interpreter(str(path), experimental_op_resolver_type=reference)
    made.allocate_tensors()
    return made


def test_all_is_in_8_bits_and_comes_back_to_boxes(tiny: dn.Model, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    exported = dn.export_edgetpu(tiny, path, PICTURES)
    assert exported.notes == (
        "leaky as the larger of x and 0.1 * x (5 layers)",
        f"not run here: edgetpu_compiler -s {path}",
    )
    made = interpreter(path)
    assert {each["op_name"] for each in made._get_ops_details()} <= OPERATORS
    assert {each["dtype"] for each in made.get_tensor_details()} <= {np.int8, np.int32}
    (given,), (out,) = made.get_input_details(), made.get_output_details()
    _, x = read_picture(PICTURES[0], tiny, own_fit(tiny))
    (scale, zero), (step, origin) = given["quantization"], out["quantization"]
    levels = np.rint(x.transpose(0, 2, 3, 1) / scale) + zero
    made.set_tensor(given["index"], levels.clip(-128, 127).astype(np.int8))
    made.invoke()
    y = (made.get_tensor(out["index"]).astype(np.float32) - origin) * np.float32(step)
    found = dn.run_heads(tiny, {10: y.transpose(0, 3, 1, 2)})
    expected = dn.forward(tiny, x)
    # 8 bits of 4 layers: a few hundredths, here of values that a sigmoid has made flat.
    assert np.abs(found[11] - expected[11]).max() < 0.1 * np.abs(expected[11]).max()
    assert exported.proof is not None
    losses = {row.layer: row.relative for row in exported.proof.differences}
    assert 0.001 < losses[10] < 0.1


def test_what_the_tpu_lacks_is_refused_by_name(tmp_path: Path) -> None:
    model = random_model(cfg_text(CONV.format("leaky"), CONV.format("mish")))
    with pytest.raises(dn.ExportError, match=r"layer 1: edgetpu has nothing for this layer.*Mish"):
        dn.export_edgetpu(model, tmp_path / "net.tflite", PICTURES)
    good = random_model(cfg_text(CONV.format("relu")))
    with pytest.raises(dn.ExportError, match="there are no pictures"):
        dn.export_edgetpu(good, tmp_path / "net.tflite", [])
    with pytest.raises(dn.DarknetError, match=r"\.tflite"):
        dn.export_edgetpu(good, tmp_path / "net.onnx", PICTURES)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_kept(
    tiny: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from darknet_bn.checks import export_edgetpu as module
    from darknet_bn.convert.compilers.rewriting import Replacement

    wrong = Replacement("LeakyRelu", "wrong", lambda graph, op: graph.add("Relu", op.inputs[0]))
    row = replace(module.EDGETPU, replacements=(wrong,))
    monkeypatch.setattr(module, "EDGETPU", row)
    with pytest.raises(dn.ProofError, match=r"layer 0.*does not"):
        dn.export_edgetpu(tiny, tmp_path / "net.tflite", PICTURES)
    assert not list(tmp_path.iterdir())
    exported = dn.export_edgetpu(tiny, tmp_path / "net.tflite", PICTURES, prove=False)
    assert exported.proof is None
