"""Exported files: what they say of themselves, their forms, and what is refused."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.convert.onnx import file as onnx_file
from darknet_bn.convert.onnx.export import DEFAULT_OPSET, Exported
from tests.support.builders import cfg_text, random_input, random_model, with_time_steps
from tests.support.crashes import dies
from tests.support.onnx import write_onnx
from tests.support.paths import FIXTURES

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

TINY = FIXTURES / "tiny" / "tiny"
CONV = "[convolutional] filters=4 size=3 pad=1 batch_normalize=1 activation=leaky"
NET = cfg_text(
    CONV, "[maxpool] size=2 stride=2", CONV, "[upsample] stride=2", "[route] layers=-1,0"
)


@pytest.fixture
def tiny() -> dn.Model:
    return dn.load(f"{TINY}.cfg", f"{TINY}.weights")


def run(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": x}), strict=True))


def dims_of(info: Any) -> list[int | str]:
    return [each.dim_param or each.dim_value for each in info.type.tensor_type.shape.dim]


def properties(model: onnx.ModelProto) -> dict[str, str]:
    return {each.key: each.value for each in model.metadata_props}


# -- what the file says ----------------------------------------------------------------------


def test_names_and_shapes_are_readable(tmp_path: Path) -> None:
    model = random_model(NET)
    exported = write_onnx(model, tmp_path / "net.onnx", force=True)
    file = onnx.load(tmp_path / "net.onnx")
    assert [node.name for node in file.graph.node] == [
        "layer_000/Conv",
        "layer_000/LeakyRelu",
        "layer_001/MaxPool",
        "layer_002/Conv",
        "layer_002/LeakyRelu",
        "layer_003/Resize",
        "layer_004/Concat",
    ]
    assert {each.name for each in file.graph.initializer} >= {
        "layer_000.weights",
        "layer_000.biases",
        "layer_002.weights",
    }
    (x,), (y,) = file.graph.input, file.graph.output
    assert (x.name, dims_of(x)) == ("input", [1, 3, 8, 8])
    assert (y.name, dims_of(y)) == ("layer_004", [1, 8, 8, 8])
    assert {each.name: dims_of(each) for each in file.graph.value_info} == {
        "layer_000": [1, 4, 8, 8],
        "layer_001": [1, 4, 4, 4],
        "layer_002": [1, 4, 4, 4],
        "layer_003": [1, 4, 8, 8],
    }
    assert exported.layers == {layer: f"layer_{layer:03d}" for layer in range(5)}
    assert file.graph.name == "net"
    assert [each.version for each in file.opset_import] == [DEFAULT_OPSET]


def test_batch_norm_is_kept_if_asked(tmp_path: Path) -> None:
    write_onnx(random_model(NET), tmp_path / "net.onnx", fold=False, force=True)
    file = onnx.load(tmp_path / "net.onnx")
    norms = [node for node in file.graph.node if node.op_type == "BatchNormalization"]
    assert [node.name for node in norms] == [
        "layer_000/BatchNormalization",
        "layer_002/BatchNormalization",
    ]
    assert [each.f for each in norms[0].attribute] == [np.float32(1e-5)]


def test_the_file_tells_what_it_was_made_from(tmp_path: Path, tiny: dn.Model) -> None:
    write_onnx(tiny, tmp_path / "x.onnx", names=["cat", "dog's"], force=True)
    file = onnx.load(tmp_path / "x.onnx")
    facts = properties(file)
    assert facts["darknet_dialect"] == "pjreddie"
    assert facts["darknet_head"] == "raw"
    assert ast.literal_eval(facts["names"]) == {0: "cat", 1: "dog's"}
    assert json.loads(facts["darknet_layers"])["11"] == "layer_011"
    for suffix in ("cfg", "weights"):
        digest = hashlib.sha256(Path(f"{TINY}.{suffix}").read_bytes()).hexdigest()
        assert facts[f"darknet_{suffix}_sha256"] == digest
    assert file.producer_name == "darknet-bn"


@pytest.mark.parametrize("opset", range(13, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_from_13_on(tmp_path: Path, tiny: dn.Model, opset: int) -> None:
    write_onnx(tiny, tmp_path / "x.onnx", opset=opset, head="decoded", batch="any", force=True)
    onnx.checker.check_model(str(tmp_path / "x.onnx"), full_check=True)


# -- batch and size --------------------------------------------------------------------------


def test_any_batch(tmp_path: Path) -> None:
    model = random_model(NET)
    write_onnx(model, tmp_path / "x.onnx", batch="any", force=True)
    for batch in (1, 4):
        x = random_input(model, batch)
        (y,) = run(tmp_path / "x.onnx", x).values()
        np.testing.assert_allclose(y, dn.forward(model, x)[4], rtol=0, atol=1e-5 * np.abs(y).max())


def test_any_size(tmp_path: Path) -> None:
    model = random_model(NET)
    write_onnx(model, tmp_path / "x.onnx", any_size=True, batch=2, force=True)
    for h, w in ((8, 8), (6, 20)):
        sized = model.resized(h, w)
        x = random_input(sized, 2)
        (y,) = run(tmp_path / "x.onnx", x).values()
        np.testing.assert_allclose(y, dn.forward(sized, x)[4], rtol=0, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize(
    "section",
    ["[crnn] output=2 hidden=3 pad=1", "[conv_lstm] output=2 pad=1 peephole=1"],
)
def test_images_with_a_memory_take_any_size(tmp_path: Path, section: str) -> None:
    cfg = with_time_steps(cfg_text(section, height=6), 2)
    model = random_model(cfg)
    write_onnx(model, tmp_path / "x.onnx", any_size=True, batch=4, force=True)
    for h, w in ((6, 8), (9, 5)):
        sized = model.resized(h, w)
        x = random_input(sized, 4)
        (y,) = run(tmp_path / "x.onnx", x).values()
        np.testing.assert_allclose(y, dn.forward(sized, x)[0], rtol=0, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("[connected] output=3", r"\[connected\] layer 1: a full matrix needs"),
        ("[reorg] stride=2", r"\[reorg\] layer 1: the order of \[reorg\] needs"),
        ("[crop] crop_width=2 crop_height=2", "a crop of the middle needs"),
        ("[softmax]", "a softmax over an image needs"),
        ("[region] classes=0 num=1 coords=4", r"\[region\] needs"),
        ("[convolutional] size=9 stride=2", "a window larger than the image needs"),
        ("[maxpool] size=9 stride=2 padding=0", "a window larger than the image needs"),
    ],
)
def test_layers_that_need_their_size_refuse_any(tmp_path: Path, section: str, reason: str) -> None:
    filters = 5 if "region" in section else 4
    model = random_model(cfg_text(CONV.replace("=4", f"={filters}", 1), section))
    with pytest.raises(dn.ExportError, match=reason):
        write_onnx(model, tmp_path / "x.onnx", any_size=True, force=True)


def test_sides_that_are_taken_for_each_other_need_a_fixed_size(tmp_path: Path) -> None:
    cfg = with_time_steps(cfg_text("[crnn] output_filters=2 hidden_filters=3"), 2)
    with pytest.raises(dn.ExportError, match="width and height are swapped needs a fixed"):
        write_onnx(random_model(cfg, "pjreddie"), tmp_path / "x.onnx", any_size=True, force=True)


def test_a_batch_must_hold_whole_sequences(tmp_path: Path) -> None:
    text = cfg_text("[rnn] output=4 hidden=3").replace(b"[net]", b"[net]\ntime_steps=3")
    model = random_model(text)
    exported = write_onnx(model, tmp_path / "x.onnx", force=True)
    assert exported.input.dims == (3, 3, 8, 8)
    with pytest.raises(dn.ExportError, match=r"expected a multiple of 3, found 4"):
        write_onnx(model, tmp_path / "x.onnx", batch=4, force=True)


# -- precision -------------------------------------------------------------------------------


def test_half_holds_half_and_agrees_as_well_as_it_can(tmp_path: Path, tiny: dn.Model) -> None:
    write_onnx(tiny, tmp_path / "x.onnx", half=True, force=True)
    file = onnx.load(tmp_path / "x.onnx")
    kinds = {each.name: each.data_type for each in file.graph.initializer}
    assert kinds["layer_000.weights"] == onnx.TensorProto.FLOAT16
    types = [each.type.tensor_type.elem_type for each in (*file.graph.input, *file.graph.output)]
    assert types == [onnx.TensorProto.FLOAT] * 2
    x = random_input(tiny, 1)
    (y,) = run(tmp_path / "x.onnx", x).values()
    expected = dn.forward(tiny, x)[11]
    error = np.abs(y - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 1e-2  # 11 bits in each of a dozen layers


def test_half_of_what_is_no_head_comes_out_single(tmp_path: Path) -> None:
    model = random_model(NET)
    exported = write_onnx(
        model, tmp_path / "x.onnx", half=True, fold=False, any_size=True, force=True
    )
    onnx.checker.check_model(str(tmp_path / "x.onnx"), full_check=True)
    x = random_input(model, 1)
    (y,) = run(tmp_path / "x.onnx", x).values()
    assert y.dtype == np.float32
    assert (exported.values["layer_000"].half, exported.outputs["layer_004"].half) == (True, False)
    np.testing.assert_allclose(y, dn.forward(model, x)[4], rtol=0, atol=1e-2 * np.abs(y).max())


def test_weights_that_half_cannot_hold_are_refused(tmp_path: Path) -> None:
    model = dn.load(cfg_text("[convolutional] filters=1 size=1 activation=linear"), None)
    model.params[0].update(weights=np.full((1, 3, 1, 1), 1e5, np.float32))  # type: ignore[attr-defined]
    with pytest.raises(dn.ExportError, match=r"layer 0: layer_000\.weights does not fit") as caught:
        write_onnx(model, tmp_path / "x.onnx", half=True, force=True)
    assert caught.value.where.layer == 0


# -- large files -----------------------------------------------------------------------------


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may have a few bytes only."""
    monkeypatch.setattr(onnx_file, "_LARGEST", onnx_file._ROOM + 1000)
    monkeypatch.setattr(onnx_file, "_ALIGNED", 64)


@pytest.mark.usefixtures("small_files")
def test_arrays_lie_beside_a_file_that_would_be_too_large(tmp_path: Path, tiny: dn.Model) -> None:
    target, written = tmp_path / "x.onnx", tmp_path / "proof.json"
    exported = dn.export_onnx(tiny, target, layers=True, proof=written, force=True)
    beside = exported.beside
    assert beside is not None
    assert re.fullmatch(r"x\.onnx\.[0-9a-f]{12}\.data", beside.name)
    assert sorted(tmp_path.iterdir()) == [written, target, beside]
    assert exported.proof is not None
    assert len(exported.proof.differences) == 12
    assert json.loads(written.read_bytes()) == {"schema": 1} | exported.proof.json()
    onnx.checker.check_model(str(target), full_check=True)
    whole = onnx.load(target)
    write_onnx(tiny, tmp_path / "y.onnx", force=True)
    assert target.stat().st_size < beside.stat().st_size
    x = random_input(tiny, 1)
    np.testing.assert_array_equal(
        run(target, x)["layer_011"], run(tmp_path / "y.onnx", x)["layer_011"]
    )
    assert {each.name for each in whole.graph.initializer} == {
        each.name for each in onnx.load(tmp_path / "y.onnx").graph.initializer
    }


@pytest.mark.usefixtures("small_files")
def test_arrays_never_lie_beside_the_file_of_another_model(tmp_path: Path, tiny: dn.Model) -> None:
    """However early a program dies that replaces the two files of a model by another model's."""
    other = random_model(tiny.cfg.to_bytes())
    x = random_input(tiny, 1)
    expected = [dn.forward(each, x)[11] for each in (tiny, other)]
    died = 0
    for last in range(1, 100):
        folder = tmp_path / str(last)
        folder.mkdir()
        path = folder / "x.onnx"
        write_onnx(tiny, path)
        if not dies(lambda path=path: write_onnx(other, path, force=True), last):
            break
        died += 1
        if path.exists():  # it is the key file of the two, and may be absent
            found = run(path, x)["layer_011"]
            assert any(np.allclose(found, each, rtol=0, atol=1e-3) for each in expected)
    assert died >= 6
    assert len(list(folder.iterdir())) == 2  # the old arrays are gone with the file they were of


# -- what goes wrong -------------------------------------------------------------------------


def test_what_is_refused_does_not_appear(
    tmp_path: Path, tiny: dn.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.onnx"
    target.write_bytes(b"what was there")

    def refuse(model: dn.Model, exported: Exported, *words: object, **options: object) -> None:
        assert exported.path != target
        assert exported.path.exists()
        raise dn.ExportError("no")

    monkeypatch.setattr("darknet_bn.checks.export.prove", refuse)
    with pytest.raises(dn.ExportError, match=r"^no$"):
        dn.export_onnx(tiny, target, proof=tmp_path / "proof.json", force=True)
    assert target.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 12}, rf"unsupported opset \(expected 13 to {onnx.defs.onnx_opset_version()}"),
        ({"opset": 1000}, "unsupported opset"),
        ({"head": "yolov9"}, "unknown head format"),
        ({"batch": 0}, "the batch is too small"),
        (
            {"head": "nms", "any_size": True},
            r"decoded boxes need a fixed input size; use --head raw or drop --any-size",
        ),
    ],
)
def test_options_that_make_no_sense(
    tmp_path: Path, tiny: dn.Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(dn.ExportError, match=message):
        write_onnx(tiny, tmp_path / "x.onnx", **options, force=True)
    assert not list(tmp_path.iterdir())


def test_boxes_need_a_head(tmp_path: Path) -> None:
    with pytest.raises(dn.DarknetError, match="no detection head"):
        write_onnx(random_model(NET), tmp_path / "x.onnx", head="decoded", force=True)


def test_without_the_package_the_line_that_installs_it(
    tmp_path: Path, tiny: dn.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        dn.ExportError, match=r"onnx is not installed; pip install 'darknet-bn\[onnx"
    ):
        write_onnx(tiny, tmp_path / "x.onnx", force=True)
