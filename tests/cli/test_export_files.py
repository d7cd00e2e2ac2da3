"""``export`` to files of ncnn and TFLite: what is said, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import darknet_bn as dn

from .conftest import FIXTURES, PICTURE, TINY, Cli

DIGITS = FIXTURES / "digits" / "digits"
TEST = FIXTURES / "digits" / "test.npz"
PICTURES = FIXTURES / "preprocess" / "*.png"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def needs(module: str) -> None:
    pytest.importorskip(module, reason=f"{module} is not installed")


def test_ncnn(cli: Cli) -> None:
    needs("ncnn")
    answer = cli("export", TINY, "tiny.param", "--head", "decoded", "--picture", PICTURE)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[1:4] == [
        "input: input, 3 x 64 x 64",
        "output: boxes, 768 x 4",
        "output: confs, 768 x 2",
    ]
    size = sum(Path(name).stat().st_size for name in ("tiny.param", "tiny.bin"))
    written = f"written: tiny.param and tiny.bin, {size} bytes, float32, batch norm folded"
    assert lines[-1] == written
    assert re.match(r"proven: ncnn [\d.]+, relative difference at most \d\.\de-0[67]$", lines[-3])
    assert dn.NcnnFile("tiny.param", dn.load(TINY)).layers[-1] == 11


def test_ncnn_in_8_bits(cli: Cli) -> None:
    needs("ncnn")
    answer = cli("export", DIGITS, "digits.param", "--int8", TEST, "--proof")
    assert answer.code == 0, answer.err
    lost = re.search(
        r"^loss: at most (0\.0\d+) of the largest value of a layer \(", answer.out, re.M
    )
    assert lost is not None
    assert float(lost[1]) < 0.06
    assert Path("digits.param.proof.json").exists()
    assert Path("digits.bin").stat().st_size < 30_000


def test_tflite(cli: Cli) -> None:
    needs("ai_edge_litert")
    facts = cli("export", TINY, "tiny.tflite", "--half", "--json").json
    assert facts["written"] == {
        **dict.fromkeys(("onnx", "arrays", "param", "bin", "proof")),
        "tflite": "tiny.tflite",
    }
    assert (facts["numbers"], facts["opset"]) == ("float16", None)
    assert facts["input_shape"] == [1, 64, 64, 3]
    assert facts["output_shapes"] == {"layer_011": [1, 16, 16, 21]}
    assert facts["proof"]["ok"]


def test_tflite_in_8_bits(cli: Cli) -> None:
    needs("ai_edge_quantizer")
    answer = cli("export", DIGITS, "digits.tflite", "--int8", TEST)
    assert answer.code == 0, answer.err
    proven, lost, written = answer.out.splitlines()[-3:]
    assert re.match(r"proven: litert [\d.]+, in 8 bits$", proven)
    assert re.match(r"loss: at most 0\.0\d+ of the largest value of a layer \(layer_00\d\)$", lost)
    assert ", int8, batch norm folded" in written


def test_the_edge_tpu(cli: Cli) -> None:
    needs("ai_edge_quantizer")
    words = ("--for", "edgetpu", "--calibration", PICTURES)
    answer = cli("export", TINY, "tiny.tflite", *words)
    assert answer.code == 0, answer.err
    assert "\nreplaced: leaky as the larger of x and 0.1 * x (5 layers)\n" in answer.out
    assert answer.out.splitlines()[-2:] == [
        "next, with Edge TPU compiler (not run here):",
        "  edgetpu_compiler -s tiny.tflite",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("x.param", "--opset", 17), "--opset does not apply to .param files"),
        (("x.tflite", "--any-size"), "--any-size does not apply to .tflite files"),
        (("x.param", "--batch", 2), "--batch does not apply to .param files"),
        (("x.param", "--head", "nms"), "--head nms is not one of raw, decoded"),
        (("x.param", "--half", "--int8", TEST), "--half and --int8 cannot be used together"),
        (("x.onnx", "--int8", TEST), "--int8 is for .param and .tflite; see darknet-bn quantize"),
        (("x.param", "--for", "dpu"), "--for dpu needs OUT to end in .onnx, not x.param"),
        (("x.onnx", "--for", "edgetpu"), "--for edgetpu needs OUT to end in .tflite, not x.onnx"),
        (("x.tflite", "--for", "edgetpu"), "--for edgetpu needs --calibration PICTURES"),
        (("x.param", "--int8", "no.mp4"), "expected a picture, a folder, a list, a .data or "),
        (("x.param", "--picture", "no.png"), "no.png: cannot be read"),
    ],
)
def test_what_does_not_apply_is_refused(cli: Cli, words: tuple[object, ...], message: str) -> None:
    answer = cli("export", TINY, *words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert list(Path().iterdir()) == []


def test_the_second_file_is_not_replaced_unasked(cli: Cli) -> None:
    Path("x.bin").write_bytes(b"mine")
    answer = cli("export", TINY, "x.param", "--skip-proof")
    assert answer.code == 2
    assert "x.bin" in answer.err
    assert Path("x.bin").read_bytes() == b"mine"
    assert cli("export", TINY, "x.param", "--skip-proof", "--force").code == 0
    assert Path("x.bin").read_bytes() != b"mine"
