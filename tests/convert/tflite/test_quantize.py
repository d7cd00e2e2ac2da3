"""What computes in 8 bits, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.quantized_tflite import quantized_tflite
from darknet_bn.convert.tflite.export import TfliteHead, tflite_bytes
from darknet_bn.convert.tflite.quantize import Integers, Plan, quantized
from tests.support.builders import cfg_text, random_input, random_model

pytest.importorskip("ai_edge_quantizer", reason="ai-edge-quantizer is not installed")

BN = "[convolutional] filters=8 size=3 pad=1 batch_normalize=1 activation"
LAST = "[convolutional] filters=14 size=1 activation=linear"
YOLO = "[yolo] classes=2 num=2 anchors=1,2,3,4"


def plan_of(*sections: str) -> Plan:
    model = random_model(cfg_text(*sections))
    return Plan(tflite_bytes(model).model, is_detector=model.network.is_detector)


def kinds_in(data: bytes) -> list[tuple[str, str]]:
    """The operators of a file, each with the type of what it makes."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    types = {value: name for name, value in vars(schema.TensorType).items() if name[0] != "_"}
    model = schema.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    found = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        found.append((names[code], types[graph.Tensors(operator.Outputs(0)).Type()]))
    return found


def int8_of(
    *sections: str, integers: Integers = "none", head: TfliteHead = "raw"
) -> list[tuple[str, str]]:
    model = random_model(cfg_text(*sections))
    images = random_input(model, 8)
    made = quantized_tflite(
        model,
        images,
        integers,
        head=head,
        batch=None,
        names=None,
        stage=lambda what, count: None,
    )
    return kinds_in(made.data)


def test_what_follows_the_last_weights_stays_float() -> None:
    plan = plan_of(f"{BN}=leaky", LAST, "[avgpool]", "[softmax]")
    assert plan.weights_only == []
    assert {name.partition("/")[0] for name in plan.floats} == {"layer_002", "layer_003"}


def test_the_last_weights_of_a_detector_compute_in_float() -> None:
    plan = plan_of(f"{BN}=leaky", LAST, YOLO, "[route] layers=0", LAST, YOLO)
    assert plan.weights_only == ["layer_001", "layer_004"]
    assert {name.partition("/")[0] for name in plan.floats} == {"layer_002", "layer_005"}


def test_what_bends_too_much_stays_float_by_itself() -> None:
    plan = plan_of(f"{BN}=mish", f"{BN}=swish", f"{BN}=leaky", LAST)
    assert {name.partition("/")[0] for name in plan.floats} == {"layer_000"}
    assert "layer_000/Conv" not in plan.floats  # its convolution computes in 8 bits


def test_leaky_computes_in_8_bits_too() -> None:
    kinds = int8_of(f"{BN}=leaky", f"{BN}=leaky", LAST)
    assert kinds == [
        ("QUANTIZE", "INT8"),
        *[("CONV_2D", "INT8"), ("LEAKY_RELU", "INT8")] * 2,
        ("CONV_2D", "INT8"),
        ("DEQUANTIZE", "FLOAT32"),
    ]


def test_leaky_that_is_read_in_several_scales_computes_once() -> None:
    kinds = int8_of(f"{BN}=leaky", f"{BN}=leaky", "[route] layers=-1,0", "[shortcut] from=0", LAST)
    names = [kind for kind, _ in kinds]
    assert names.count("LEAKY_RELU") == 2
    assert ("LEAKY_RELU", "FLOAT32") not in kinds
    assert "DEQUANTIZE" not in names[:-1]


@pytest.mark.parametrize(
    ("integers", "head", "first", "last"),
    [
        ("none", "raw", ("QUANTIZE", "INT8"), ("SELECT_V2", "FLOAT32")),
        ("input", "raw", ("CONV_2D", "INT8"), ("SELECT_V2", "FLOAT32")),
        ("all", "decoded", ("CONV_2D", "INT8"), ("QUANTIZE", "INT8")),
    ],
)
def test_integers_go_in_and_out_if_that_is_asked_for(
    integers: Integers, head: TfliteHead, first: tuple[str, str], last: tuple[str, str]
) -> None:
    kinds = int8_of(f"{BN}=leaky", LAST, YOLO, integers=integers, head=head)
    assert (kinds[0], kinds[-1]) == (first, last)


def test_what_the_quantiser_does_not_take_is_one_line() -> None:
    model = random_model(cfg_text(f"{BN}=leaky", LAST))
    made = tflite_bytes(model)
    plan = Plan(made.model, is_detector=False)
    with pytest.raises(dn.ExportError, match="ai-edge-quantizer cannot read the file") as caught:
        quantized(made.data, plan, {"input": (0.0, 1.0)})
    assert "\n" not in str(caught.value)


def test_the_bytes_are_the_same_each_time() -> None:
    model = random_model(cfg_text(f"{BN}=leaky", LAST))
    made = tflite_bytes(model)
    ranges = dict.fromkeys(made.model.computed(), (-1.0, 2.0))
    plan = Plan(made.model, is_detector=False)
    first, second = (quantized(made.data, plan, ranges) for _ in range(2))
    assert first == second


def test_arrays_begin_where_the_schema_wants_them() -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = random_model(
        cfg_text(f"{BN}=leaky", "[convolutional] filters=70 size=3 activation=relu")
    )
    made = tflite_bytes(model)
    ranges = dict.fromkeys(made.model.computed(), (-1.0, 2.0))
    data = quantized(made.data, Plan(made.model, is_detector=False), ranges)
    whole, flat = np.frombuffer(data, np.uint8), schema.Model.GetRootAs(data)
    for number in range(flat.BuffersLength()):
        buffer = flat.Buffers(number)
        assert buffer.Offset() == buffer.Size() == 0
        array = buffer.DataAsNumpy()
        if isinstance(array, np.ndarray):
            assert (array.ctypes.data - whole.ctypes.data) % 16 == 0
