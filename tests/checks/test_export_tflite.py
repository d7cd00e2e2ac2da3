"""TFLite files are written only if LiteRT computes the same with them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.tflite import flat_model
from tests.support.builders import LONG_RANGE, cfg_text, random_input, random_model
from tests.support.paths import FIXTURES

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")


@pytest.fixture
def model() -> dn.Model:
    return random_model(LONG_RANGE)


@pytest.fixture
def detector() -> dn.Model:
    return dn.load(FIXTURES / "tiny/tiny.cfg", FIXTURES / "tiny/tiny.weights")


def test_every_layer_is_proven(model: dn.Model, tmp_path: Path) -> None:
    path, proof = tmp_path / "x.tflite", tmp_path / "x.json"
    steps: list[str] = []
    exported = dn.export_tflite(
        model,
        path,
        inputs={"other": random_input(model, seed=3)},
        proof=proof,
        stage=lambda what, count: steps.append(what),
    )
    assert exported.paths == (path,)
    assert (exported.target, exported.numbers) == ("TFLite", "float32")
    assert exported.outputs == {"layer_014": (1, 8, 8, 3), "layer_018": (1, 7)}
    assert repr(exported) == "<ExportedFiles x.tflite: float32, outputs layer_014, layer_018>"
    report = exported.proof
    assert report is not None and report.ok
    assert [row.layer for row in report.differences] == [*range(19)] * 2
    assert report.worst.relative < 1e-5
    assert json.loads(proof.read_bytes()) == {"schema": 1, **report.json()}
    assert steps[:2] == ["writing the file", "proving: opening the file in litert"]


def test_a_file_that_computes_something_else_is_not_written(
    model: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = flat_model.FlatModel.bytes

    def damaged(self: flat_model.FlatModel, description: str) -> bytes:
        for operator in self.operators:
            weights = operator.inputs[1] if operator.kind == "CONV_2D" else None
            if weights is not None and weights.name == "layer_004.weights":
                assert weights.array is not None
                weights.array = weights.array * np.float32(1.001)
        return whole(self, description)

    monkeypatch.setattr(flat_model.FlatModel, "bytes", damaged)
    with pytest.raises(dn.ProofError) as caught:
        dn.export_tflite(model, tmp_path / "x.tflite")
    assert caught.value.where.layer == 4
    assert not list(tmp_path.iterdir())


def test_what_litert_does_not_take_is_not_written(
    model: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = flat_model.FlatModel.bytes

    def damaged(self: flat_model.FlatModel, description: str) -> bytes:
        self.operators[0].inputs = self.operators[0].inputs[:1]
        return whole(self, description)

    monkeypatch.setattr(flat_model.FlatModel, "bytes", damaged)
    with pytest.raises(dn.ProofError, match=r"the file cannot be proven: litert .*prove=False"):
        dn.export_tflite(model, tmp_path / "x.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize(
    ("head", "outputs"),
    [
        ("raw", {"layer_011": (2, 16, 16, 21)}),
        ("decoded", {"boxes": (2, 768, 4), "confs": (2, 768, 2)}),
        ("yolov5", {"output0": (2, 768, 7)}),
        ("yolov8", {"output0": (2, 6, 768)}),
    ],
)
def test_heads_come_out_in_many_forms(
    detector: dn.Model, tmp_path: Path, head: Any, outputs: dict[str, tuple[int, ...]], half: bool
) -> None:
    exported = dn.export_tflite(detector, tmp_path / "x.tflite", head=head, batch=2, half=half)
    assert exported.outputs == outputs
    assert exported.proof is not None and exported.proof.ok
    rows = {row.name for row in exported.proof.differences if row.layer is None}
    assert rows == (set() if head == "raw" else {"boxes", "confs"})
    # Seen were 1.5e-6, and 8.5e-4 with weights of 11 bits.
    assert exported.proof.worst.relative < (3e-3 if half else 5e-6)


def test_boxes_that_are_wrong_are_not_written(
    detector: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = flat_model.FlatModel.bytes

    def damaged(self: flat_model.FlatModel, description: str) -> bytes:
        for tensor in self.tensors():
            if tensor.array is not None and tensor.name.endswith("anchors"):
                tensor.array = tensor.array * np.float32(1.01)
        return whole(self, description)

    monkeypatch.setattr(flat_model.FlatModel, "bytes", damaged)
    dn.export_tflite(detector, tmp_path / "x.tflite")
    with pytest.raises(dn.ProofError, match="boxes"):
        dn.export_tflite(detector, tmp_path / "y.tflite", head="decoded")
    assert [each.name for each in tmp_path.iterdir()] == ["x.tflite"]


def test_in_float16_a_file_is_half_as_large(model: dn.Model, tmp_path: Path) -> None:
    model = dn.load(FIXTURES / "digits/digits.cfg", FIXTURES / "digits/digits.weights")
    dn.export_tflite(model, tmp_path / "x.tflite")
    exported = dn.export_tflite(model, tmp_path / "y.tflite", half=True)
    assert exported.numbers == "float16"
    assert exported.proof is not None and exported.proof.precision == "float16"
    sizes = [(tmp_path / name).stat().st_size for name in ("x.tflite", "y.tflite")]
    assert sizes[1] < 0.55 * sizes[0]


def test_a_value_too_large_for_float16_is_refused(tmp_path: Path) -> None:
    model = random_model(cfg_text("[convolutional] filters=2 size=1 activation=linear"))
    params = {"biases": np.array([0, 1e6], np.float32)}
    model.params[0].update(params)  # type: ignore[attr-defined]
    with pytest.raises(dn.ExportError, match=r"layer_000.biases does not fit .* 65504, found 1e\+"):
        dn.export_tflite(model, tmp_path / "x.tflite", half=True)
    assert not list(tmp_path.iterdir())


def test_sequences_take_as_many_images_as_they_are_long(tmp_path: Path) -> None:
    cfg = cfg_text("[rnn] output=4 hidden=3").replace(b"[net]\n", b"[net]\ntime_steps=3\n")
    exported = dn.export_tflite(random_model(cfg), tmp_path / "x.tflite")
    assert exported.outputs == {"layer_000": (3, 1, 1, 4)}
    with pytest.raises(dn.ExportError, match="ends inside a sequence"):
        dn.export_tflite(random_model(cfg), tmp_path / "y.tflite", batch=4)


def test_names_and_preparation_are_in_the_file(detector: dn.Model, tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    dn.export_tflite(detector, path, names=["square", "disc"], prove=False)
    facts = json.loads(flat_model.read_metadata(path.read_bytes())["darknet"])
    assert facts["names"] == ["square", "disc"]
    assert (facts["colours"], facts["range"], facts["head"]) == ("RGB", "0..1", "raw")
    assert facts["layers"]["11"] == ["layer_011", "last"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "nms"}, r"unknown head format for TFLite \(expected raw, decoded, yolov5, "),
        ({"batch": 0}, "the batch is too small"),
        ({"path": "x.onnx"}, r"\.tflite"),
        ({"proof": "x.txt"}, r"\.json"),
    ],
)
def test_what_cannot_be_is_refused(
    model: dn.Model, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    given = {"path": "x.tflite", **options}
    for key in ("path", "proof"):
        if key in given:
            given[key] = tmp_path / given[key]
    with pytest.raises(dn.DarknetError, match=message):
        dn.export_tflite(model, **given)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_kept_unless_forced(model: dn.Model, tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(b"mine")
    with pytest.raises(dn.DarknetError, match="exists"):
        dn.export_tflite(model, path)
    assert path.read_bytes() == b"mine"
    dn.export_tflite(model, path, force=True)
    assert path.read_bytes()[4:8] == b"TFL3"


def test_without_the_package_one_line_says_what_to_type(
    model: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(dn.ExportError, match=r"not installed; pip install 'darknet-bn\[tflite\]'"):
        dn.export_tflite(model, tmp_path / "x.tflite")
