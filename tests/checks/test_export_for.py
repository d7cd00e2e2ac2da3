"""Files for compilers of neural processors: proven, measured, and back to boxes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks.same_input import compare_layers
from darknet_bn.convert.compilers.prepare import prepare_for
from darknet_bn.convert.compilers.table import COMPILERS
from darknet_bn.engines.onnxruntime import open_file
from darknet_bn.pictures.prepare import own_fit, read_picture
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

ALL = sorted(COMPILERS)
TINY = FIXTURES / "tiny" / "tiny"
PICTURE = str(FIXTURES / "preprocess" / "rgba_10x15.png")
CONV = "[convolutional] filters=8 size=3 pad=1 activation={} batch_normalize=1"
# The weights of the fixture's head are random, so this much is over: some hundred boxes.
THRESHOLD = 0.5


@pytest.fixture
def tiny() -> dn.Model:
    return dn.load(f"{TINY}.cfg", f"{TINY}.weights")


def on_the_device(exported: dn.ExportedFor, x: np.ndarray) -> dict[int, np.ndarray]:
    """What a processor gives: the outputs of the file, by the layers that the result names."""
    found = open_file(exported.onnx.path)(x)
    names = {layer: exported.onnx.layers[layer] for layer in exported.end_nodes}
    return {layer: found[name] for layer, name in names.items()}


@pytest.mark.parametrize("name", ALL)
def test_the_outputs_become_the_boxes_that_detect_finds(
    name: str, tiny: dn.Model, tmp_path: Path
) -> None:
    exported = dn.export_for(tiny, tmp_path / "net.onnx", name)
    assert exported.onnx.proof is not None and exported.onnx.proof.ok
    im, x = read_picture(PICTURE, tiny, own_fit(tiny))
    settings = {"image_sizes": im.shape[1:], "threshold": THRESHOLD}
    (expected,) = dn.detections(tiny, x, **settings)
    outputs = on_the_device(exported, x)
    (found,) = dn.detections(tiny, outputs, **settings)
    assert dn.detections(tiny, dn.run_heads(tiny, outputs), **settings) == [found]
    assert len(expected) > 10
    if exported.output_changes:  # other slopes: the same boxes within what they change
        assert abs(len(found) - len(expected)) <= len(expected) / 10
        return
    assert [each.best.class_id for each in found] == [each.best.class_id for each in expected]
    np.testing.assert_allclose(
        [each.best.probability for each in found],
        [each.best.probability for each in expected],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        [each.box for each in found], [each.box for each in expected], atol=1e-3
    )


@pytest.mark.parametrize("name", ALL)
def test_classifiers_end_before_their_softmax(name: str, tmp_path: Path) -> None:
    digits = FIXTURES / "digits" / "digits"
    model = dn.load(f"{digits}.cfg", f"{digits}.weights")
    exported = dn.export_for(model, tmp_path / "net.onnx", name)
    assert list(exported.end_nodes) == [4]
    x = random_input(model, 1)
    outputs = on_the_device(exported, x)
    heads = dn.run_heads(model, outputs)
    tolerance = 0.05 if exported.output_changes else 1e-5
    np.testing.assert_allclose(heads[5], dn.forward(model, x)[5], atol=tolerance)
    (found,), (expected,) = dn.classify(model, outputs, top=1), dn.classify(model, x, top=1)
    assert found[0].class_id == expected[0].class_id


def test_replacements_are_measured(tmp_path: Path) -> None:
    sections = (CONV.format("mish"), "[maxpool] size=9 stride=1", CONV.format("linear"))
    model = random_model(cfg_text(*sections, width=16, height=16))
    exported = dn.export_for(model, tmp_path / "net.onnx", "hailo")
    mish, pool = exported.replaced
    assert (mish.layer, mish.section, mish.exact) == (0, "convolutional", True)
    assert (pool.layer, pool.section, pool.exact) == (1, "maxpool", True)
    assert mish.error is not None and 0 <= mish.error < 1e-6
    assert pool.error == 0
    assert exported.output_changes == {}
    assert exported.onnx.proof is not None
    assert exported.onnx.proof.tolerance == 1e-5


def test_changes_are_told_from_errors(tmp_path: Path) -> None:
    model = random_model(cfg_text(*[CONV.format("leaky")] * 3, CONV.format("linear")))
    exported = dn.export_for(model, tmp_path / "net.onnx", "dpu")
    assert [each.layer for each in exported.replaced] == [0, 1, 2]
    assert not any(each.exact for each in exported.replaced)
    errors = [each.error for each in exported.replaced]
    assert all(error is not None and 1e-4 < error < 1 / 64 for error in errors)
    assert exported.onnx.proof is not None
    allowed = {row.layer: row.allowed for row in exported.onnx.proof.differences}
    assert allowed == {0: 1e-5 + 1 / 64, 1: 1e-5 + 1 / 64, 2: 1e-5 + 1 / 64, 3: 1e-5}
    assert set(exported.output_changes) == {3}
    assert 1e-4 < exported.output_changes[3] < 0.05


@pytest.mark.parametrize("name", ["hailo", "dpu"])
def test_a_file_that_computes_something_else_is_not_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a layer behind one that changes by intention."""
    model = random_model(cfg_text(CONV.format("leaky"), CONV.format("linear")))
    other = random_model(cfg_text(CONV.format("leaky"), CONV.format("linear")), seed=1)
    mixed = replace(model, params=(model.params[0], other.params[1]))
    monkeypatch.setattr(
        "darknet_bn.checks.export_for.prepare_for",
        lambda model, *args, **options: prepare_for(mixed, *args, **options),
    )
    with pytest.raises(dn.ProofError, match=r"layer 1.*layer_001 of the exported file"):
        dn.export_for(model, tmp_path / "net.onnx", name, pictures=[PICTURE])
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_picture_that_cannot_be_read(tiny: dn.Model, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    with pytest.raises(dn.ImageError, match=r"broken\.png"):
        dn.export_for(tiny, tmp_path / "net.onnx", "rknn", pictures=[PICTURE, str(broken)])
    assert list(tmp_path.iterdir()) == [broken]


def test_existing_files_are_safe(tiny: dn.Model, tmp_path: Path) -> None:
    (tmp_path / "net.alls").write_text("mine")
    with pytest.raises(dn.DarknetError, match=r"net\.alls.*already exists"):
        dn.export_for(tiny, tmp_path / "net.onnx", "hailo")
    assert [path.name for path in tmp_path.iterdir()] == ["net.alls"]
    exported = dn.export_for(tiny, tmp_path / "net.onnx", "hailo", force=True)
    assert exported.paths == (tmp_path / "net.onnx", tmp_path / "net.alls")
    assert (tmp_path / "net.alls").read_text() != "mine"


def test_more_inputs_and_the_proof_are_written_down(tiny: dn.Model, tmp_path: Path) -> None:
    _, x = read_picture(PICTURE, tiny, own_fit(tiny))
    proof = tmp_path / "net.json"
    dn.export_for(tiny, tmp_path / "net.onnx", "rknn", inputs={"mine": x}, proof=proof)
    facts = json.loads(proof.read_bytes())
    assert list(facts["inputs"]) == ["random", "mine"]
    assert [row["name"] for row in facts["differences"]] == ["layer_010"] * 2


def test_unproven_files_have_no_figures(tiny: dn.Model, tmp_path: Path) -> None:
    exported = dn.export_for(tiny, tmp_path / "net.onnx", "dpu", pictures=[PICTURE], prove=False)
    assert exported.onnx.proof is None
    assert {each.error for each in exported.replaced} == {None}
    assert exported.output_changes == {}
    assert exported.calibration == tmp_path / "net.calibration.npy"
    assert np.load(exported.calibration).shape == (1, 3, 64, 64)
    assert repr(exported) == "<ExportedFor net.onnx for dpu, ends with layer_010/Conv>"


def test_every_layer_is_compared_on_what_the_file_gave_it(tiny: dn.Model, tmp_path: Path) -> None:
    exported = prepare_for(tiny, tmp_path / "net.onnx", "dpu").onnx.write()
    report = compare_layers(tiny, exported, {"x": random_input(tiny, 1)}, {0: 1 / 64})
    assert [row.layer for row in report.differences] == list(range(11))
    wrong = [row.layer for row in report.differences if not row.ok]
    assert wrong == [2, 3, 6, 9]  # the other layers with a slope, which none was told of


def test_layers_that_took_in_a_batch_norm_are_compared_whole(tmp_path: Path) -> None:
    linear = "[convolutional] filters=4 size=3 pad=1 activation=linear"
    model = random_model(cfg_text(linear, "[batchnorm]", linear))
    exported = prepare_for(model, tmp_path / "net.onnx", "hailo").onnx.write()
    report = compare_layers(model, exported, {"x": random_input(model, 1)}, {})
    assert ([row.layer for row in report.differences], report.ok) == ([1, 2], True)
