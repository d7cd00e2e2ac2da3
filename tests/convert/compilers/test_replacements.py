"""What stands for operators that compilers lack computes the same, and is all that is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.checks.same_input import compare_layers
from darknet_bn.convert.compilers.prepare import prepare_for
from darknet_bn.convert.compilers.table import COMPILERS
from tests.support.builders import cfg_text, random_input, random_model

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

CONV = "[convolutional] filters=8 size=3 pad=1 activation={} batch_normalize=1"
PLAIN = CONV.format("linear")
BOTH = (PLAIN, PLAIN, PLAIN, "[shortcut] from=-2,-3 activation=linear")
# For each text: a compiler that needs it, the dialect, the layer, a net, and what must be gone.
CASES: dict[str, tuple[str, str, int, tuple[str, ...], str]] = {
    "mish as x * tanh(softplus(x))": ("hailo", "alexeyab", 0, (CONV.format("mish"),), "Mish"),
    "selu as a factor times elu": ("rknn", "alexeyab", 0, (CONV.format("selu"),), "Selu"),
    "a negative as times -1": (
        "rknn",
        "alexeyab",
        0,
        (CONV.format("normalize_channels_softmax"),),
        "Neg",
    ),
    "a sum of several as one addition after the other": ("hailo", "alexeyab", 3, BOTH, "Sum"),
    "a length as the root of a sum of squares": (
        "rknn",
        "pjreddie",
        1,
        (PLAIN, "[l2norm]"),
        "ReduceL2",
    ),
    "maxpool above 5x5 as a chain of 5x5": (
        "hailo",
        "alexeyab",
        1,
        (PLAIN, "[maxpool] size=13 stride=1"),
        "",
    ),
    "reorg as reshape and space-to-depth": (
        "rknn",
        "pjreddie",
        1,
        (PLAIN, "[reorg] stride=2"),
        "Transpose",
    ),
    "leaky with a slope of 26/256, not 0.1": ("dpu", "pjreddie", 0, (CONV.format("leaky"),), ""),
}


def test_every_replacement_of_the_table_is_tried() -> None:
    texts = {each.text for compiler in COMPILERS.values() for each in compiler.replacements}
    assert texts == set(CASES)


@pytest.mark.parametrize("text", sorted(CASES))
def test_a_replacement_changes_what_it_may(text: str, tmp_path: Path) -> None:
    name, dialect, layer, sections, gone = CASES[text]
    model = random_model(cfg_text(*sections, width=12, height=10), dialect)
    prepared = prepare_for(model, tmp_path / "net.onnx", name)
    assert [(each.layer, each.replacement.text) for each in prepared.replaced] == [(layer, text)]
    exported = prepared.onnx.write()
    kinds = {node.op_type for node in onnx.load(exported.path).graph.node}
    assert gone not in kinds
    change = prepared.replaced[0].replacement.change
    report = compare_layers(model, exported, {"x": random_input(model, 1)}, {layer: change})
    assert report.ok
    (row,) = (each for each in report.differences if each.layer == layer)
    # Some operators more round a few times more; a change is seen, and below what it may be.
    assert change / 30 < row.relative <= change if change else row.relative <= 1e-6


@pytest.mark.parametrize(
    "options",
    [
        "size=6 stride=1",
        "size=7 stride=2",
        "size=9 stride=3 padding=8",
        "size=13 stride=1 padding=4",
        "size=8 stride=2 padding=1",
        "size=11 stride=4 padding=0",
    ],
)
def test_chains_of_pools_see_the_same_pixels(options: str, tmp_path: Path) -> None:
    cfg = cfg_text(f"[maxpool] {options}", width=17, height=14)
    model = random_model(cfg)
    exported = prepare_for(model, tmp_path / "net.onnx", "hailo").onnx.write()
    pools = [node for node in onnx.load(exported.path).graph.node if node.op_type == "MaxPool"]
    assert len(pools) > 1
    x = -10 - np.abs(random_input(model, 1))  # so that padding with anything else would be seen
    report = compare_layers(model, exported, {"x": x}, {})
    assert [row.error for row in report.differences] == [0]


def test_a_slope_that_the_dpu_does_not_have_is_refused(tmp_path: Path) -> None:
    model = random_model(cfg_text(CONV.format("relie")), "pjreddie")
    with pytest.raises(dn.ExportError, match=r"layer 0: dpu has nothing.*slope of 0\.01"):
        prepare_for(model, tmp_path / "net.onnx", "dpu")
