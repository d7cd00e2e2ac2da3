from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.checks import export as proving
from darknet_bn.cli.progress import Bar

from .conftest import FIXTURES, PICTURE, TINY, Cli, as_classifier

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

NOISE = FIXTURES / "reports" / "export-float-noise"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "tiny.onnx"


def test_what_is_said(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out)
    assert (answer.code, answer.err) == (0, "")
    dialect, x, y, pictures, heading, row, proven, limits, written = answer.out.splitlines()
    assert dialect.startswith("dialect: pjreddie (")
    assert x == "input: input, 1 x 3 x 64 x 64"
    assert y == "output: layer_011, 1 x 21 x 16 x 16"
    assert pictures == "pictures: letterbox, grey 0.5; RGB, 0..1"
    assert heading.split() == ["output", "on", "largest", "max", "error", "relative", "cosine"]
    assert row.startswith("layer_011  random  ")
    assert proven.startswith("proven: onnxruntime 1.")
    assert ", relative difference at most " in proven
    assert limits == "  (allowed 1e-05; worst is layer_011)"
    size = out.stat().st_size
    assert written == f"written: {out}, {size} bytes, opset 18, batch norm folded"


def test_every_option(cli: Cli, out: Path, tmp_path: Path) -> None:
    (tmp_path / "two.names").write_text("cat\ndog\n")
    words = ("--opset", 14, "--head", "decoded", "--keep-batch-norm", "--batch", 2)
    answer = cli("export", TINY, out, *words, "--names", tmp_path / "two.names", "--json")
    assert answer.code == 0
    facts = answer.json
    assert (facts["opset"], facts["head"], facts["input_shape"]) == (14, "decoded", [2, 3, 64, 64])
    assert facts["output_shapes"] == {"boxes": [2, 768, 4], "confs": [2, 768, 2]}
    assert facts["proof"]["differences"][0]["ok"] is True
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
    assert len(proof["differences"]) == 24
    assert {row["layer"] for row in proof["differences"]} == set(range(12))
    assert all(row["ok"] for row in proof["differences"])
    assert proof["tolerance"] == 1e-5


def test_half_is_allowed_more(cli: Cli, out: Path) -> None:
    assert cli("export", TINY, out, "--half").code == 0
    answer = cli("export", TINY, out, "--half", "--tolerance", 1e-5, "--force")
    assert answer.code == 1
    assert (
        "layer_011 of the exported file does not agree with the model; nothing was written"
        in answer.error
    )


def prove_another(monkeypatch: pytest.MonkeyPatch, change: float) -> None:
    """Let files be compared with a model of which a filter differs."""
    prove = proving.prove

    def on_another(model: dn.Model, *words: object, **options: object) -> dn.Report:
        weights = model.params[10]["weights"] + np.float32(change)
        model.params[10].update(weights=weights)  # type: ignore[attr-defined]
        return prove(model, *words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(proving, "prove", on_another)


def test_what_does_not_agree_is_not_written(
    cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove_another(monkeypatch, 0.1)
    answer = cli("export", TINY, out, "--proof")
    assert answer.code == 1
    assert answer.out == ""
    assert "[yolo] layer 11: layer_011 of the exported file does not agree" in answer.error
    assert "expected a relative difference of at most 1e-05," in answer.error
    assert re.search(r"float32 rounding alone gives \d\.?\d*e-0[67]\), found 0\.\d+", answer.error)
    hint = answer.error.rpartition("with random); ")[2]
    assert re.fullmatch(
        r"this is \d{5,} times the rounding error; --tolerance [\d.]+ allows it nevertheless",
        hint,
    )
    assert not list(out.parent.iterdir())


def test_the_tolerance_that_is_named_is_enough(
    cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove_another(monkeypatch, 1e-3)
    for words in ((), ("--tolerance", 2e-6)):
        answer = cli("export", TINY, out, *words, "--force")
        named = re.search(r"--tolerance (\S+) allows it", answer.error)
        assert named is not None
        monkeypatch.undo()
        prove_another(monkeypatch, 1e-3)
        assert cli("export", TINY, out, "--tolerance", named[1], "--force").code == 0


def test_a_net_in_which_float32_is_rough(cli: Cli, out: Path) -> None:
    answer = cli("export", NOISE / "net", out, "--dialect", "alexeyab")
    assert (answer.code, answer.err) == (0, "")
    *_, heading, row, _, limits, _ = answer.out.splitlines()
    assert heading.split()[-2:] == ["rounding", "allowed"]
    rounding, allowed = (float(each) for each in row.split()[-2:])
    assert allowed == pytest.approx(4 * rounding, rel=0.05)
    assert re.fullmatch(
        r"  \(float32 rounding alone gives \S+; allowed \S+; worst is layer_002\)", limits
    )
    facts = cli("export", NOISE / "net", out, "--dialect", "alexeyab", "--json", "--force").json
    (row_facts,) = facts["proof"]["differences"]
    assert row_facts["rounding"] == pytest.approx(rounding, rel=0.05)
    assert row_facts["relative"] < row_facts["allowed"] == 4 * row_facts["rounding"]
    answer = cli(
        "export", NOISE / "net", out, "--dialect", "alexeyab", "--tolerance", 1e-5, "--force"
    )
    assert answer.code == 1


def test_a_box_that_rounding_does_not_explain(
    cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = proving.prove

    def with_a_problem(*words: object, **options: object) -> dn.Report:
        proof = found(*words, **options)  # type: ignore[arg-type]
        rows = tuple(
            replace(row, problem="the box of class 0 is missing")
            if row.name == "detections"
            else row
            for row in proof.differences
        )
        return replace(proof, differences=rows)

    monkeypatch.setattr(proving, "prove", with_a_problem)
    answer = cli("export", TINY, out, "--head", "nms")
    assert answer.code == 1
    assert answer.error == (
        "detections: detections of the exported file does not agree with the model; nothing was "
        "written (found "
        "with random: the box of class 0 is missing); rounding does not explain that"
    )


def test_the_heads_are_proven_even_if_there_are_no_boxes(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out, "--head", "nms", "--thresh", 1)
    assert answer.code == 0
    assert "layer_011   random" in answer.out
    assert (
        "boxes: none above the threshold on random; use --picture for a stronger proof\n"
        in answer.out
    )


# -- without ONNX Runtime --------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--proof",), ("--layers",)])
def test_without_onnx_runtime_nothing_is_written(
    cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = cli("export", TINY, out, *words)
    assert (answer.code, answer.out) == (1, "")
    assert answer.error == (
        "the result cannot be proven, so nothing was written: onnxruntime is not installed; pip "
        "install "
        "onnxruntime, or use --skip-proof"
    )
    assert not out.exists()


def test_a_proof_can_be_left_out(cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = cli("export", TINY, out, "--skip-proof")
    assert (answer.code, answer.err) == (0, "")
    assert "proven" not in answer.out
    assert out.exists()
    assert cli("export", TINY, out, "--skip-proof", "--layers").code == 2


def test_a_file_that_onnx_runtime_does_not_take(
    cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise dn.DarknetError("onnxruntime cannot load the file: too new")

    monkeypatch.setattr("darknet_bn.checks.proof.open_file", refuse)
    answer = cli("export", TINY, out)
    assert answer.code == 1
    assert answer.error == (
        "the file cannot be proven: onnxruntime cannot load the file: too new; --skip-proof writes "
        "the file unproven"
    )
    assert not list(out.parent.iterdir())


# -- how pictures are prepared ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "classifies", "resize"),
    [
        ("pjreddie", False, "letterbox, grey 0.5"),
        ("alexeyab", False, "stretch"),
        ("pjreddie", True, "letterbox, grey 0.5"),
        ("alexeyab", True, "crop, shorter side to 64, centre"),
    ],
)
def test_the_file_and_json_say_how_pictures_are_prepared(
    cli: Cli, tiny: Path, out: Path, dialect: str, classifies: bool, resize: str
) -> None:
    if classifies:
        as_classifier(tiny)
    names = tiny.with_name("two.names")
    names.write_text("cat\ndog\n")
    words = () if classifies else ("--names", names)
    facts = cli("export", tiny, out, "--dialect", dialect, *words, "--json").json
    assert facts["preparation"] == {
        "resize": resize,
        "interpolation": "bilinear, corner pixels on corner pixels",
        "colours": "RGB",
        "range": "0..1",
    }
    assert facts["names"] == (None if classifies else ["cat", "dog"])
    told = {each.key: each.value for each in onnx.load(out).metadata_props}
    for key, value in facts["preparation"].items():
        assert told[f"darknet_{key}"] == value
    assert told.get("names") == (None if classifies else "{0: 'cat', 1: 'dog'}")


def test_a_net_that_takes_no_pictures_says_nothing_of_them(cli: Cli, out: Path) -> None:
    cfg = out.with_name("net.cfg")
    cfg.write_text("[net]\ninputs=3\n\n[connected]\noutput=2\nactivation=linear\n")
    out.with_name("net.weights").write_bytes(bytes(16 + 4 * (2 + 6)))
    facts = cli("export", cfg, out, "--json").json
    assert facts["preparation"] is None
    assert "darknet_resize" not in {each.key for each in onnx.load(out).metadata_props}
    assert "pictures:" not in cli("export", cfg, out, "--force").out


def test_decoded_boxes_of_any_size(cli: Cli, out: Path) -> None:
    answer = cli("export", TINY, out, "--head", "decoded", "--any-size")
    assert answer.code != 0
    assert answer.error == (
        "decoded boxes need a fixed input size; use --head raw or drop --any-size"
    )


def test_what_is_going_on_is_shown(cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    init = Bar.__init__

    def noted(self: Bar, label: str, steps: int | None) -> None:
        shown.append(label)
        init(self, label, steps)

    monkeypatch.setattr(Bar, "__init__", noted)
    assert cli("export", NOISE / "net", out, "--dialect", "alexeyab").code == 0
    assert shown == [
        "writing the file",
        "proving: opening the file in onnxruntime",
        "proving: running the file in onnxruntime",
        "proving: running the model",
        "proving: measuring rounding errors in float64",
    ]


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
        (("--opset", "12"), 2, "unsupported opset"),
        (("--head", "yolov9"), 2, "'yolov9' is not one of"),
        (("--thresh", "2"), 2, "must be from 0 to 1"),
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
