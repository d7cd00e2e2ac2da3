"""``export --for``: what is said about files for compilers, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from .conftest import PICTURE, TINY, Cli

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "tiny.onnx"


def test_what_is_said(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out, "--for", "hailo", "--calibration", PICTURE)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[2] == "output: layer_010, 1 x 21 x 16 x 16"
    assert lines[8:] == [
        "end node: layer_010/Conv, the output of layer 10",
        f"calibration: {out.with_name('tiny.calibration.npy')}, 1 picture, NHWC, 0..255 in uint8",
        f"written: {out}, {out.stat().st_size} bytes, opset 17, batch norm folded",
        f"written with it: {out.with_name('tiny.calibration.npy')}, {out.with_name('tiny.alls')}",
        "next, with Hailo Dataflow Compiler (not run here):",
        f"  hailo parser onnx {out} --net-name tiny --hw-arch hailo8 --end-node-names "
        "layer_010/Conv -y",
        f"  hailo optimize tiny.har --hw-arch hailo8 --model-script {out.with_name('tiny.alls')} "
        f"--calib-set-path {out.with_name('tiny.calibration.npy')} --output-har-path "
        "tiny_optimized.har",
        "  hailo compiler tiny_optimized.har --hw-arch hailo8",
        "what it computes becomes the model's output by dn.run_heads(model, {10: ...})",
    ]
    assert np.load(out.with_name("tiny.calibration.npy")).shape == (1, 64, 64, 3)


def test_replacements_are_told(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out, "--for", "dpu")
    assert answer.code == 0
    assert re.search(
        r"^replaced: leaky with a slope of 26/256, not 0\.1; 5 layers, error on the same input at "
        r"most 0\.00\d+ in layer \d+$",
        answer.out,
        re.MULTILINE,
    )
    assert re.search(r"^changed: the output of layer 10 by at most 0\.00\d+ of", answer.out, re.M)
    assert "--calibration PICTURES gives what its quantiser needs" in answer.out


def test_json(cli: Cli, out: Path) -> None:
    words = ("--for", "rknn", "--calibration", PICTURE, "--json")
    facts = cli("export", TINY, out, *words).json["compiler"]
    assert facts["name"] == "rknn"
    assert facts["end_nodes"] == {"10": "layer_010/Conv"}
    assert facts["calibration"] == {
        "path": str(out.with_name("tiny.calibration")),
        "pictures": 1,
        "layout": "HWC",
        "range": "0..255 in uint8",
    }
    assert facts["commands"] == [
        f"python -m rknn.api.rknn_convert -t rk3588 -i {out.with_name('tiny.yml')} -o {out.parent}"
    ]
    assert facts["run_here"] is False
    assert facts["files"][0] == str(out)
    assert all(Path(path).exists() for path in facts["files"])
    (path,) = out.with_name("tiny.dataset.txt").read_text().splitlines()
    assert np.load(path).shape == (64, 64, 3)
    assert cli("export", TINY, out, "--force", "--json").json["compiler"] is None


def test_folders_of_pictures(cli: Cli, out: Path) -> None:
    words = ("--for", "tensorrt", "--calibration", PICTURE.parent)
    answer = cli("export", TINY, out, *words, "--json")
    count = answer.json["compiler"]["calibration"]["pictures"]
    assert count > 1
    assert len(np.load(out.with_name("tiny.calibration.npy"), mmap_mode="r")) == count


def test_words_that_do_not_go_together(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out, "--calibration", PICTURE)
    assert (answer.code, "--calibration needs --for" in answer.err) == (2, True)
    for words in (("--opset", 13), ("--head", "nms"), ("--half",), ("--layers",)):
        answer = cli("export", TINY, out, "--for", "rknn", *words)
        assert answer.code == 2
        assert f"--for decides what {words[0]} would" in answer.err
    answer = cli("export", TINY, out, "--for", "hail")
    assert answer.code == 2
    assert "'hailo', 'rknn', 'dpu', 'tensorrt'" in answer.err
    answer = cli("export", TINY, out, "--for", "edgetpu")
    assert answer.code == 2
    assert "--for edgetpu needs OUT to end in .tflite" in answer.err
    assert not out.exists()


def test_pictures_that_are_missing(cli: Cli, out: Path, tmp_path: Path) -> None:
    words = ("--for", "rknn", "--calibration", tmp_path / "none.png")
    answer = cli("export", TINY, out, *words)
    assert answer.code == 2
    assert "none.png" in answer.err
    assert not out.exists()


def test_a_layer_that_the_compiler_lacks(cli: Cli, out: Path, tmp_path: Path) -> None:
    cfg = tmp_path / "tiny.cfg"
    text = TINY.with_suffix(".cfg").read_text()
    cfg.write_text(text.replace("activation=leaky", "activation=mish", 1))
    answer = cli("export", cfg, TINY.with_suffix(".weights"), out, "--for", "dpu")
    assert answer.code == 2
    assert "layer 0: dpu has nothing for this layer" in answer.error
    assert "not mish" in answer.error
