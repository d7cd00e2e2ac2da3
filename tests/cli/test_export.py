from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import darknet_bn as dn

from .conftest import PICTURE, TINY, Cli

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "tiny.onnx"


def test_what_is_said(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out)
    assert (answer.code, answer.err) == (0, "")
    dialect, x, y, heading, row, proven, allowed, written = answer.out.splitlines()
    assert dialect.startswith("dialect: pjreddie (")
    assert x == "input: input, 1 x 3 x 64 x 64"
    assert y == "output: layer_011, 1 x 21 x 16 x 16"
    assert heading.split() == ["output", "on", "largest", "max", "error", "relative", "cosine"]
    assert row.startswith("layer_011  random  ")
    assert proven.startswith("proven: onnxruntime 1.")
    assert ", relative difference at most " in proven
    assert allowed == "  (allowed 1e-05; worst is layer_011)"
    size = out.stat().st_size
    assert written == f"written: {out}, {size} bytes, opset 18, batch norm folded"


def test_every_option(cli: Cli, out: Path, tmp_path: Path) -> None:
    (tmp_path / "two.names").write_text("cat\ndog\n")
    words = ("--opset", 14, "--head", "decoded", "--keep-batch-norm", "--batch", 2)
    answer = cli("export", TINY, out, *words, "--names", tmp_path / "two.names", "--json")
    assert answer.code == 0
    facts = answer.json
    assert (facts["opset"], facts["head"], facts["input"]) == (14, "decoded", [2, 3, 64, 64])
    assert facts["outputs"] == {"boxes": [2, 768, 4], "confs": [2, 768, 2]}
    assert facts["proof"]["rows"][0]["ok"] is True
    file = onnx.load(out)
    assert {each.key: each.value for each in file.metadata_props}["names"] == "{0: 'cat', 1: 'dog'}"
    assert "BatchNormalization" in {node.op_type for node in file.graph.node}


def test_any_batch_and_any_size(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out, "--batch", "any", "--any-size")
    assert answer.code == 0
    assert "input: input, batch x 3 x height x width\n" in answer.out
    assert "output: layer_011, batch x 21 x any x any\n" in answer.out
    assert "random, larger" in answer.out


def test_pictures_and_layers_are_proven_and_written_down(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out, "--picture", PICTURE, "--layers", "--proof")
    assert answer.code == 0
    assert f"written: {out} and {out}.proof.json, " in answer.out
    proof = json.loads(Path(f"{out}.proof.json").read_bytes())
    assert list(proof["inputs"]) == ["random", str(PICTURE)]
    assert len(proof["rows"]) == 24
    assert {row["layer"] for row in proof["rows"]} == set(range(12))
    assert all(row["ok"] for row in proof["rows"])
    assert proof["tolerance"] == 1e-5


def test_half_is_allowed_more(cli: Cli, out: Path) -> None:
    assert cli("export", TINY, out, "--half").code == 0
    answer = cli("export", TINY, out, "--half", "--tolerance", 1e-5, "--force")
    assert answer.code == 1
    assert "layer_011 of the exported file does not agree; nothing was written" in answer.error


def test_what_does_not_agree_is_not_written(
    cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = dn.prove

    def on_another(model: dn.Model, *words: object, **options: object) -> dn.Proof:
        weights = model.params[10]["weights"] + np.float32(0.1)
        model.params[10].update(weights=weights)  # type: ignore[attr-defined]
        return prove(model, *words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(dn, "prove", on_another)
    answer = cli("export", TINY, out, "--proof")
    assert answer.code == 1
    assert answer.out == ""
    assert "[yolo] layer 11: layer_011 of the exported file does not agree" in answer.error
    assert "expected a difference of at most 1e-05 of" in answer.error
    assert "with random); --tolerance allows more" in answer.error
    assert not list(out.parent.iterdir())


def test_without_onnx_runtime_nothing_is_proven(
    cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = cli("export", TINY, out)
    assert answer.code == 0
    assert answer.err == (
        "warning: nothing was proven: onnxruntime is not installed; pip install onnxruntime\n"
    )
    assert "proven" not in answer.out
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = cli("export", TINY, out, "--proof", "--force")
    assert answer.code == 2
    assert answer.error == "the package onnxruntime is not installed; pip install onnxruntime"


def test_a_proof_can_be_left_out(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out, "--skip-proof")
    assert (answer.code, answer.err) == (0, "")
    assert "proven" not in answer.out
    assert cli("export", TINY, out, "--skip-proof", "--layers").code == 2


def test_what_onnx_cannot_suppress_is_warned_of(cli: Cli, tiny: Path, out: Path) -> None:
    cfg = tiny.with_name("tiny.cfg")
    cfg.write_text(cfg.read_text() + "\nnms_kind=greedynms\n")
    answer = cli("export", tiny, out, "--head", "nms")
    assert answer.code == 0
    assert answer.err.startswith("warning: ONNX suppresses boxes by their IoU")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--batch", "many"), 2, "'many' is neither a number nor any"),
        (("--opset", "12"), 2, "there is no such opset"),
        (("--head", "yolov9"), 2, "'yolov9' is not one of"),
        (("--thresh", "2"), 2, "it must be from 0 to 1"),
        (("--picture", "no.jpg"), 2, "no.jpg"),
    ],
)
def test_words_that_make_no_sense(
    cli: Cli, out: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    answer = cli("export", TINY, out, *words)
    assert answer.code == code
    assert message in answer.err
    assert not out.exists()


def test_a_file_that_is_there_stays(cli: Cli, out: Path) -> None:
    out.write_bytes(b"mine")
    answer = cli("export", TINY, out)
    assert answer.code == 2
    assert answer.error == f"{out}: the file already exists; use --force to overwrite it"
    assert out.read_bytes() == b"mine"
