"""What compilers are given: only operators that they have, without heads, with what they read."""

from __future__ import annotations

import shlex
from pathlib import Path

import onnx
import pytest

import darknet_bn as dn
from darknet_bn.convert.compilers.prepare import described, prepare_for
from darknet_bn.convert.compilers.table import COMPILERS
from tests.support.builders import cfg_text, random_model, with_time_steps
from tests.support.nets import NETS, case_model
from tests.support.paths import FIXTURES

ALL = sorted(COMPILERS)
TINY = FIXTURES / "tiny" / "tiny"
CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky"
CONSTANT = "the output does not depend on the picture"
# The nets of the tests of layers that a compiler has nothing for: the operator that it lacks.
REFUSED = {
    "dpu": {
        "a loss that is read": "Sigmoid",
        "attention": "Sigmoid",
        "binary": "Greater",
        "connected": "Sigmoid",
        "connected behind images": "Sigmoid",
        "conv_lstm": "Sigmoid",
        "crnn": "Reshape",
        "deconvolutional": "Sigmoid",
        "detection": "Reshape",
        "detection without classes": "Reshape",
        "gru": "Reshape",
        "l2norm": "ReduceL2",
        "local": "Reshape",
        "losses": "Sigmoid",
        "lstm": "Reshape",
        "maxpool over channels": "Max",
        "normalization": "Pow",
        "normalization of few": "Pow",
        "reorg": "Reshape",
        "reorg flat": "Reshape",
        "reorg3d": "SpaceToDepth",
        "rnn": "Sigmoid",
        "route of unequal images": "Reshape",
        "shortcut with weights": "Sigmoid",
    },
    "hailo": {
        "a loss that is read": "Reshape",
        "binary": "Greater",
        "connected": "Reshape",
        "connected behind images": "Reshape",
        "conv_lstm": "Reshape",
        "crnn": "Reshape",
        "detection": "Reshape",
        "detection without classes": "Reshape",
        "gru": "Reshape",
        "local": "Reshape",
        "losses": "Reshape",
        "lstm": "Reshape",
        "normalization": "Pow",
        "normalization of few": "Pow",
        "reorg": "Reshape",
        "reorg flat": "Reshape",
        "reorg3d": "Reshape",
        "rnn": "Reshape",
        "route of unequal images": "Reshape",
    },
    "rknn": {"a loss that is read": CONSTANT, "reorg3d": "Reshape with 6 dimensions"},
    "tensorrt": {"a loss that is read": CONSTANT},
}


@pytest.fixture
def tiny() -> dn.Model:
    return dn.load(f"{TINY}.cfg", f"{TINY}.weights")


@pytest.mark.parametrize("name", ALL)
def test_what_a_compiler_lacks_is_refused_and_nothing_else(name: str, tmp_path: Path) -> None:
    refused = {}
    for case in sorted(NETS):
        model = case_model(case)
        model = model.with_time_steps(1) if model.network.time_steps > 1 else model
        try:
            prepared = prepare_for(model, tmp_path / "net.onnx", name)
        except dn.ExportError as error:
            assert error.where.section in {each.name for each in model.cfg.sections}
            refused[case] = error.found or error.problem
        else:
            kinds = {node.op_type for node in written(prepared, tmp_path).graph.node}
            assert kinds <= set(COMPILERS[name].operators), case
    assert refused == REFUSED[name]


def written(prepared: object, folder: Path) -> onnx.ModelProto:
    prepared.onnx.write(force=True)  # type: ignore[attr-defined]
    model = onnx.load(folder / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("name", ALL)
def test_files_end_before_the_head(name: str, tiny: dn.Model, tmp_path: Path) -> None:
    prepared = prepare_for(tiny, tmp_path / "net.onnx", name)
    file = written(prepared, tmp_path)
    assert [each.version for each in file.opset_import] == [COMPILERS[name].opset]
    assert prepared.end_nodes == {10: "layer_010/Conv"}
    (output,) = file.graph.output
    (last,) = (node for node in file.graph.node if output.name in node.output)
    assert (output.name, last.name, last.op_type) == ("layer_010", "layer_010/Conv", "Conv")
    assert not any(node.name.startswith("layer_011") for node in file.graph.node)
    facts = {each.key: each.value for each in file.metadata_props}
    assert (facts["darknet_head"], facts["darknet_compiler"]) == ("none", name)
    read = {each for node in file.graph.node for each in node.input}
    assert {each.name for each in file.graph.initializer} <= read  # nothing that nobody reads


def test_heads_that_share_what_they_read_have_one_end(tmp_path: Path) -> None:
    yolo = "[yolo] num=2 mask=0,1 classes=1 anchors=1,2,3,4"
    cfg = cfg_text(
        "[convolutional] filters=12 size=1 activation=linear", yolo, "[route] layers=0", yolo
    )
    prepared = prepare_for(random_model(cfg), tmp_path / "net.onnx", "hailo")
    assert prepared.end_nodes == {0: "layer_000/Conv"}
    assert list(prepared.onnx.exported.outputs) == ["layer_000"]


def test_older_opsets_have_axes_as_attributes(tmp_path: Path) -> None:
    model = random_model(cfg_text(CONV, "[l2norm]"), "pjreddie")
    nodes = written(prepare_for(model, tmp_path / "net.onnx", "tensorrt"), tmp_path).graph.node
    (length,) = (node for node in nodes if node.op_type == "ReduceL2")
    assert len(length.input) == 1
    assert {each.name: list(each.ints) for each in length.attribute}["axes"] == [1]


def test_parts_that_no_input_changes_are_computed(tmp_path: Path) -> None:
    conv = "[convolutional] filters=4 size=1 activation=linear"
    cfg = cfg_text(conv, "[implicit] filters=4 atoms=1", "[shortcut] from=0 activation=linear")
    model = random_model(cfg, "alexeyab")
    file = written(prepare_for(model, tmp_path / "net.onnx", "rknn"), tmp_path)
    kinds = {node.op_type for node in file.graph.node}
    assert {"Conv", "Add"} <= kinds
    assert not kinds & {"Shape", "Expand", "Concat"}  # of which the values are made elsewhere


def test_layers_are_named_and_activations_advised_on(tmp_path: Path) -> None:
    mish = CONV.replace("leaky", "mish")
    model = random_model(cfg_text(CONV, mish))
    with pytest.raises(dn.ExportError) as caught:
        prepare_for(model, tmp_path / "net.onnx", "dpu")
    assert str(caught.value) == (
        "line 12: [convolutional] layer 1: dpu has nothing for this layer (expected operators of "
        "Vitis AI for the DPU, found Mish); train the net with leaky or relu, not mish"
    )


def test_what_no_compiler_takes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = random_model(cfg_text(CONV))
    with pytest.raises(dn.ExportError, match=r"unknown compiler.*hailo.*found 'openvino'"):
        prepare_for(model, path, "openvino")
    with pytest.raises(dn.DarknetError, match=r"ending in \.onnx.*'\.hef'"):
        prepare_for(model, tmp_path / "net.hef", "hailo")
    recurrent = random_model(
        with_time_steps(cfg_text(CONV, "[crnn] hidden_filters=2"), 2), "pjreddie"
    )
    with pytest.raises(dn.ExportError, match=r"\[crnn\] layer 1: .*single pictures"):
        prepare_for(recurrent, path, "rknn")
    flat = random_model(b"[net]\ninputs=7\n[connected]\noutput=3\n")
    with pytest.raises(dn.ExportError, match="nets for pictures"):
        prepare_for(flat, path, "rknn")
    bare = random_model(cfg_text("[softmax]"))
    with pytest.raises(dn.ExportError, match="nothing is left of the net without its head"):
        prepare_for(bare, path, "rknn")


def test_a_kind_of_replacement_is_described_once(tiny: dn.Model, tmp_path: Path) -> None:
    prepared = prepare_for(tiny, tmp_path / "net.onnx", "dpu")
    assert described(prepared.replaced) == ["leaky with a slope of 26/256, not 0.1 (5 layers)"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("pictures", [False, True])
def test_templates_are_filled(name: str, pictures: bool, tiny: dn.Model, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    paths = [str(FIXTURES / "preprocess" / "rgba_10x15.png")] if pictures else []
    prepared = prepare_for(tiny, folder / "net.onnx", name, pictures=paths)
    assert not any("$" in each for each in prepared.commands)
    words = [word for each in prepared.commands for word in shlex.split(each, comments=True)]
    assert not any(word.startswith("folder") for word in words)  # no shell takes names apart
    assert prepared.commands or (name, pictures) == ("dpu", False)
    for path, write in prepared.beside.items():
        if path.suffix != ".npy":
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as stream:
                write(stream)
            assert "$" not in path.read_text()
    if name == "dpu" and pictures:
        compile((folder / "net.quantize.py").read_text(), "net.quantize.py", "exec")
    if name == "hailo":
        assert "--end-node-names layer_010/Conv" in prepared.commands[0]
        assert (folder / "net.alls").read_text() == (
            "normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])\n"
        )
    if name == "rknn":
        config = (folder / "net.yml").read_text()
        assert "        - 1,3,64,64\n" in config
        assert "      outputs:\n        - layer_010\n" in config
        assert f"    quantize: {str(pictures).lower()}\n" in config
        assert (folder / "net.dataset.txt").exists() is pictures
