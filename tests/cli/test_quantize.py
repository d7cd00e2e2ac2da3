"""The command quantize."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.labelled import box_set
from tests.support.paths import FIXTURES
from tests.support.pictures import PREPROCESS

from .conftest import Cli

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("sympy", reason="sympy is not installed")

DIGITS = FIXTURES / "digits"
MODEL = (DIGITS / "digits.cfg", DIGITS / "digits.weights")


def test_what_is_printed(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    words = ("--test", DIGITS / "test.npz", "-o", out, "--images", 64)
    answer = cli("quantize", *MODEL, DIGITS / "train.npz", *words)
    assert (answer.code, answer.err) == (0, "")
    dialect, headings, *rows, size, speed, loss, written = answer.out.splitlines()
    at = next(at for at, row in enumerate(rows) if row.startswith("ranges: "))
    rows, (ranges, errors, *most) = rows[:at], rows[at:]
    assert dialect.startswith("dialect: pjreddie")
    assert re.split(r"  +", headings) == ["layer", "section", "in", "max error", "error", "cosine"]
    assert [row.split()[:3] for row in rows] == [
        *([f"{layer}", "convolutional", "int8"] for layer in range(4)),
        ["4", "avgpool", "float32"],
        ["5", "softmax", "float32"],
    ]
    assert re.fullmatch(r"ranges: (min-max|percentile|entropy), from 64 images", ranges)
    assert re.fullmatch(r"error of the outputs: min-max \S+, percentile \S+, entropy \S+", errors)
    for line in most:  # unless no layer in float32 would help
        assert re.fullmatch(r"most is lost in layer (\d): \S+ with --keep \1", line)
    bytes_now = out.stat().st_size
    assert re.fullmatch(rf"size: \d+ -> {bytes_now} bytes \(3\d %\)", size)
    assert re.fullmatch(r"speed: \S+ -> \S+ ms a picture, in ONNX Runtime here", speed)
    model = dn.load(*MODEL)
    data = dn.load_dataset(DIGITS / "test.npz", model, train=False)
    after = dn.evaluate(model, data, session=dn.OnnxFile(out, model))
    assert isinstance(after, dn.Accuracy)
    assert re.fullmatch(r"loss: -?\d\.\d\d points of top 1, 98\.61 -> (\S+) % on 360 images", loss)
    assert f"-> {100 * after.top_1:.2f} %" in loss
    assert written == f"written: {out}"


def test_quiet_prints_the_loss(cli: Cli, tmp_path: Path) -> None:
    words = ("-o", tmp_path / "a.onnx", "-q", "--images", 16, "--method", "min-max")
    answer = cli("quantize", *MODEL, DIGITS / "test.npz", *words)
    assert answer.err == ""
    (line,) = answer.out.splitlines()
    assert line.startswith("loss: ")


def test_json(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    words = ("-o", out, "--json", "--images", 16, "--keep", "0,2", "--batch", "any")
    facts = cli("quantize", *MODEL, DIGITS / "test.npz", *words).json
    assert facts["kept"] == [0, 2]
    assert facts["images"] == 16
    assert facts["test"] == facts["data"] == str(DIGITS / "test.npz")
    assert facts["loss"]["measure"] == "top 1"
    assert facts["loss"]["images"] == 360
    assert [row["numbers"] for row in facts["layers"]] == [
        *("float32", "int8", "float32", "int8", "float32", "float32")
    ]
    assert facts["written"] == {"onnx": str(out)}
    assert facts["int8"]["bytes"] == out.stat().st_size < facts["float32"]["bytes"]
    assert facts["input_shape"] == ["batch", 1, 8, 8]
    assert facts["output_shapes"] == {"layer_005": ["batch", 10]}
    assert facts["seconds"] > 0


def test_layers_from_one_to_another(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    words = ("-o", tmp_path / "a.onnx", "--json", "--method", "min-max", "--keep", "0-3,6")
    answer = cli("quantize", tiny, PREPROCESS / "gray_21x12.png", *words)
    assert answer.json["kept"] == [0, 2, 3, 6]  # 1 has no weights


@pytest.mark.parametrize("way", ["folder", "pattern", "picture", "data", "labels"])
def test_pictures(cli: Cli, tiny: Path, tmp_path: Path, way: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    boxes = {"gray_21x12": [(1, 0.5, 0.5, 0.9, 0.9)]} if way == "labels" else {}
    data = box_set(folder, boxes)
    if way == "data":
        for each in folder.glob("*x*.txt"):
            each.unlink()
    word = {
        "folder": folder,
        "pattern": folder / "*.png",
        "picture": PREPROCESS / "gray_21x12.png",
    }.get(way, data)
    answer = cli(
        *("quantize", tiny, word, "-o", tmp_path / "a.onnx", "--json", "--method", "min-max")
    )
    facts = answer.json
    assert answer.code == 0
    assert facts["images"] == (1 if way == "picture" else 3)
    assert facts["fit"] == "letterbox"
    measure = "mAP@0.50" if way == "labels" else "agreement"
    assert facts["loss"]["measure"] == measure
    assert facts["test"] == (str(data) if way == "labels" else None)
    assert (facts["loss"]["boxes"] is None) == (way == "labels")


def test_a_picture_that_cannot_be_read_is_left_out(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    box_set(folder, {})
    (folder / "broken.png").write_bytes(b"no picture")
    words = ("-o", tmp_path / "a.onnx", "--json", "--method", "min-max")
    answer = cli("quantize", tiny, folder, *words)
    assert answer.code == 1
    assert answer.json["images"] == 3
    (line,) = answer.err.splitlines()
    assert line.startswith(f"warning: {folder / 'broken.png'}: ")


def test_too_much_loss_leaves_nothing(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    x = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    np.savez(tmp_path / "set.npz", x=x, y=np.zeros((2, 1, 5), np.float32))
    before = sorted(tmp_path.iterdir())
    words = ("quantize", tiny, PREPROCESS, "-o", out, "--max-loss", 0, "--method", "entropy")
    answer = cli(*words)
    assert (answer.code, answer.out) == (1, "")
    assert answer.error.startswith(f"{out}: 8 bits lose too much")
    assert re.search(r"more images may help, or --max-loss \S+ allows it$", answer.error)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["-o", "a.weights"], "OUT is a name that ends in .onnx, not a.weights"),
        (["-o", "a.onnx", "--keep", "1,x"], "'1,x' is not a list of layers such as 3,5-9"),
        (["-o", "a.onnx", "--keep", "7"], "layer 7 cannot be kept in float32"),
        (["-o", "a.onnx", "--max-loss", "-1"], "-1"),
    ],
)
def test_usage(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("quantize", *MODEL, DIGITS / "test.npz", *words)
    assert answer.code == 2
    assert error in answer.err
    assert list(tmp_path.iterdir()) == []


def test_no_pictures(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    answer = cli("quantize", tiny, folder, "-o", tmp_path / "a.onnx")
    assert (answer.code, answer.error) == (2, f"{folder}: the folder contains no pictures")
    x = np.zeros((2, 3, 8, 8), np.float32)
    np.savez(tmp_path / "set.npz", x=x, y=np.zeros((2, 1, 5), np.float32))
    answer = cli("quantize", tiny, tmp_path / "set.npz", "-o", tmp_path / "a.onnx")
    assert answer.code == 2
    assert not (tmp_path / "a.onnx").exists()


def test_names_are_stored(cli: Cli, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    out = tmp_path / "a.onnx"
    words = ("--names", DIGITS / "digits.names", "-o", out, "--method", "min-max", "--images", 9)
    assert cli("quantize", *MODEL, DIGITS / "test.npz", *words).code == 0
    facts = {each.key: each.value for each in onnx.load(out).metadata_props}
    assert facts["names"].startswith("{0: ")
    assert '"method": "min-max"' in facts["darknet_quantized"]


# The signal comes while the file is written, before it is measured.
HIT = """
import os, signal, sys
from darknet_bn.checks import quantize
from darknet_bn.cli.program import main

real = quantize.OnnxFile

def hit(path, *rest):
    if os.path.basename(path).startswith("."):
        os.kill(os.getpid(), signal.SIGINT)
    return real(path, *rest)

quantize.OnnxFile = hit
main()
"""


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    words = ["quantize", *map(str, MODEL), str(DIGITS / "test.npz"), "-o", "a.onnx", "--images=9"]
    done = subprocess.run(
        [sys.executable, "-c", HIT, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")
    assert os.listdir(tmp_path) == []


def test_a_package_that_is_absent(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)
    answer = cli("quantize", *MODEL, DIGITS / "test.npz", "-o", tmp_path / "a.onnx")
    assert (answer.code, answer.error) == (
        2,
        "the package sympy is needed to quantise; pip install 'darknet-bn[quantize]'",
    )
