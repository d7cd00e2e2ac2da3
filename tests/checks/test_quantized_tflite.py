"""TFLite files of 8 bits: how much they lose."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.convert.tflite.ranges import Spread
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.nets import NETS, case_model
from tests.support.paths import FIXTURES

pytest.importorskip("ai_edge_quantizer", reason="ai-edge-quantizer is not installed")

FLAT = sorted(name for name in NETS if not case_model(name).network.recurrent)


@pytest.fixture(scope="module")
def digits() -> dn.Model:
    return dn.load(FIXTURES / "digits/digits.cfg", FIXTURES / "digits/digits.weights")


def images_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(FIXTURES / f"digits/{name}.npz") as data:
        return data["x"].astype(np.float32), data["y"]


def accuracy(model: dn.Model, path: Path) -> float:
    """Percent of the test images that a file tells right."""
    x, y = images_of("test")
    (outputs,) = dn.LiteRtFile(path, model).forward(x).values()
    return 100 * float(np.mean(outputs.argmax(1) == y))


@pytest.mark.parametrize("integers", ["none", "input", "all"])
def test_digits_lose_less_than_the_third_of_a_point(
    digits: dn.Model, tmp_path: Path, integers: Any
) -> None:
    dn.export_tflite(digits, tmp_path / "float.tflite", prove=False)
    exported = dn.export_tflite(
        digits, tmp_path / "int8.tflite", int8=images_of("train")[0][:200], integers=integers
    )
    assert exported.numbers == "int8"
    before, after = (accuracy(digits, tmp_path / f"{name}.tflite") for name in ("float", "int8"))
    assert after >= before - 0.3
    sizes = [(tmp_path / f"{name}.tflite").stat().st_size for name in ("float", "int8")]
    assert sizes[1] < 0.34 * sizes[0]
    report = exported.proof
    assert report is not None and report.ok
    assert report.precision == "int8"
    assert [row.layer for row in report.differences] == list(range(6))
    assert report.worst.relative < 0.05  # 0.033 was seen
    assert min(row.cosine for row in report.differences) > 0.999


@pytest.mark.parametrize("name", FLAT)
def test_every_kind_of_layer_keeps_its_sense(tmp_path: Path, name: str) -> None:
    model = case_model(name)
    exported = dn.export_tflite(model, tmp_path / "x.tflite", int8=random_input(model, 16))
    assert exported.proof is not None
    # 256 levels for what lies up to four deviations to both sides: some hundredths of the largest.
    assert exported.proof.worst.relative < 0.05
    assert min(row.cosine for row in exported.proof.differences) > 0.998


def test_boxes_and_scores_come_out_apart_in_8_bits(tmp_path: Path) -> None:
    model = dn.load(FIXTURES / "tiny/tiny.cfg", FIXTURES / "tiny/tiny.weights")
    images = np.random.default_rng(0).random((12, 3, 64, 64), np.float32)
    for head in ("raw", "yolov5", "yolov8"):
        with pytest.raises(dn.ExportError, match="boxes and scores cannot share"):
            dn.export_tflite(model, tmp_path / "x.tflite", int8=images, integers="all", head=head)
    assert not list(tmp_path.iterdir())
    exported = dn.export_tflite(
        model, tmp_path / "x.tflite", int8=iter([images]), integers="all", head="decoded", batch=2
    )
    assert exported.outputs == {"boxes": (2, 768, 4), "confs": (2, 768, 2)}
    assert exported.proof is not None
    rows = {row.name: row for row in exported.proof.differences}
    assert rows["confs"].relative < 0.1  # 0.046 was seen
    assert rows["boxes"].relative < 0.1  # 0.059


def test_a_file_that_does_something_else_is_not_written(
    digits: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from darknet_bn.checks import quantized_tflite

    whole = quantized_tflite.tensor_spreads

    def narrow(*args: Any, **options: Any) -> dict[str, Spread]:
        spreads = whole(*args, **options)
        return spreads | {"layer_002": Spread(0.0, 0.01, spreads["layer_002"].counts)}

    monkeypatch.setattr(quantized_tflite, "tensor_spreads", narrow)
    with pytest.raises(dn.ProofError, match="cosine with the model's output is 0"):
        dn.export_tflite(digits, tmp_path / "x.tflite", int8=images_of("train")[0][:50])
    assert not list(tmp_path.iterdir())


def test_less_loss_may_be_asked_for(digits: dn.Model, tmp_path: Path) -> None:
    images = images_of("train")[0][:50]
    dn.export_tflite(digits, tmp_path / "x.tflite", int8=images, tolerance=0.05)
    with pytest.raises(dn.ProofError, match="layer_005"):
        dn.export_tflite(digits, tmp_path / "y.tflite", int8=images, tolerance=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"int8": []}, dn.ExportError, "int8 needs images"),
        ({"int8": np.zeros((2, 3, 9, 9), np.float32)}, dn.ShapeError, "does not fit the net"),
        ({"int8": np.full((2, 1, 8, 8), np.nan, np.float32)}, dn.DarknetError, "not finite"),
        (
            {"int8": np.zeros((2, 1, 8, 8), np.float32), "half": True},
            dn.ExportError,
            "half and int8 cannot be used together",
        ),
        ({"integers": "input"}, dn.ExportError, "integers needs int8"),
        (
            {"int8": np.zeros((2, 1, 8, 8), np.float32), "integers": "some"},
            dn.ExportError,
            r"unknown choice of integers \(expected none, input, all",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    digits: dn.Model, tmp_path: Path, options: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        dn.export_tflite(digits, tmp_path / "x.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_sequences_are_refused(tmp_path: Path) -> None:
    cfg = cfg_text("[rnn] output=4 hidden=3").replace(b"[net]\n", b"[net]\ntime_steps=3\n")
    model = random_model(cfg)
    with pytest.raises(dn.ExportError, match="sequences"):
        dn.export_tflite(model, tmp_path / "x.tflite", int8=random_input(model, 3))


def test_without_the_package_one_line_says_what_to_type(
    digits: dn.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(
        dn.ExportError,
        match=r"^the package ai-edge-quantizer is not installed; pip install "
        r"'darknet-bn\[tflite-int8\]'$",
    ):
        dn.export_tflite(digits, tmp_path / "x.tflite", int8=images_of("train")[0][:5])
