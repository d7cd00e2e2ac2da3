from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn

from .conftest import FIXTURES, TINY, Cli

FORMATS = (".safetensors", ".npz", ".pt", ".pth")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("names", ["auto", "darknet", "tianxiaomo"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_there_and_back_gives_the_same_two_files(
    cli: Cli, out: Path, suffix: str, names: str
) -> None:
    answer = cli("convert", TINY, out / f"a{suffix}", "--names", names)
    assert (answer.code, answer.err) == (0, "")
    answer = cli("convert", out / f"a{suffix}", out / "b-1.1.weights")
    assert (answer.code, answer.err) == (0, "")
    assert names_in(out) == [f"a{suffix}", "b-1.1.cfg", "b-1.1.weights"]
    for end in ("cfg", "weights"):
        assert (out / f"b-1.1.{end}").read_bytes() == Path(f"{TINY}.{end}").read_bytes()


def test_the_text_tells_what_was_done(cli: Cli, out: Path) -> None:
    file = out / "a.pt"
    answer = cli("convert", f"{TINY}.cfg", f"{TINY}.weights", file, "--names", "ultralytics")
    dialect, header, converted, checked, written = answer.out.splitlines()
    assert dialect.startswith("dialect: pjreddie (weights version 0.2.0")
    assert header == "header: version 0.2.0, 20 bytes; 0 images seen in training"
    assert converted == "converted: 32 arrays with 21373 values, with ultralytics names"
    assert checked == "checked: the written file reads back bit for bit"
    assert written == f"written: {file}, 85512 -> {os.path.getsize(file)} bytes"
    answer = cli("convert", file, out / "b.weights")
    dialect, header, converted, checked, written = answer.out.splitlines()
    assert dialect == "dialect: pjreddie (as the file says)"
    assert converted == "converted: 32 arrays with 21373 values"
    size = os.path.getsize(file)
    assert written == f"written: {out}/b.cfg and {out}/b.weights, {size} -> 85512 bytes"


def test_json_tells_the_same(cli: Cli, out: Path) -> None:
    file = f"{out}/a.npz"
    facts = cli("convert", TINY, file, "--json").json
    assert facts["scheme"] == "darknet"
    assert (facts["arrays"], facts["values"]) == (32, 21373)
    assert facts["written"] == {"file": file, "cfg": None}
    assert (facts["bytes_before"], facts["bytes_after"]) == (85512, os.path.getsize(file))
    facts = cli("convert", file, out / "b.weights", "--json").json
    assert (facts["cfg"], facts["weights"], facts["scheme"]) == (file, file, None)
    assert facts["written"] == {"file": f"{out}/b.weights", "cfg": f"{out}/b.cfg"}


def test_a_file_of_another_program_needs_the_cfg(cli: Cli, out: Path) -> None:
    model = dn.load(f"{TINY}.cfg", f"{TINY}.weights")
    arrays = {
        f"layer_{layer:03d}.{name}": each
        for layer, params in enumerate(model.params)
        for name, each in params.items()
    }
    np.savez(out / "a.npz", **arrays)  # type: ignore[arg-type]
    answer = cli("convert", out / "a.npz", out / "b.weights")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error == (
        f"{out}/a.npz: the file does not contain a cfg (files of other programs never do); give "
        "the .cfg that "
        "belongs to it as well"
    )
    for cfg in (f"{TINY}.cfg", TINY):
        answer = cli("convert", cfg, out / "a.npz", out / "b.weights", "--force")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.splitlines()[-1].startswith(f"written: {out}/b.weights, ")
    assert names_in(out) == ["a.npz", "b.weights"]
    assert (out / "b.weights").read_bytes() == Path(f"{TINY}.weights").read_bytes()


def test_from_one_format_to_another(cli: Cli, out: Path) -> None:
    assert cli("convert", TINY, out / "a.pt", "--names", "ultralytics").code == 0
    answer = cli("convert", out / "a.pt", out / "b.safetensors", "--names", "eriklindernoren")
    assert "with eriklindernoren names" in answer.out
    assert cli("convert", out / "b.safetensors", out / "c.weights").code == 0
    assert (out / "c.weights").read_bytes() == Path(f"{TINY}.weights").read_bytes()


def test_what_is_there_is_replaced_with_force_only(cli: Cli, out: Path) -> None:
    assert cli("convert", TINY, out / "a.pt").code == 0
    for taken, words in (
        ("a.pt", (TINY, out / "a.pt")),
        ("b.cfg", (out / "a.pt", out / "b.weights")),
    ):
        (out / taken).touch()
        before = names_in(out)
        answer = cli("convert", *words)
        assert (answer.code, answer.out) == (2, "")
        assert (
            answer.error == f"{out}/{taken}: the file already exists; use --force to overwrite it"
        )
        assert names_in(out) == before
        assert cli("convert", *words, "--force").code == 0


def test_a_refused_file_leaves_nothing(cli: Cli, out: Path, tiny: Path) -> None:
    (out / "a.pt").write_bytes(b"\x80\x02cposix\nsystem\n.")
    answer = cli("convert", tiny, out / "a.pt", out / "b.weights")
    assert (answer.code, answer.out) == (2, "")
    assert answer.error.startswith(f"{out}/a.pt: this is not a PyTorch file")
    answer = cli("convert", tiny, out / "nowhere" / "a.pt")
    assert answer.error == f"{out}/nowhere: the folder does not exist"
    assert names_in(out) == ["a.pt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a"], "missing argument: OUT"),
        (
            ["a", "b"],
            "the suffix of OUT, 'b', is not one of .weights, .safetensors, .npz, .pt, .pth",
        ),
        (
            ["a.cfg", "a.weights"],
            "the model is already in Darknet's format; give OUT a different one",
        ),
        (["a", "b", "c", "d.pt"], "too many arguments"),
        (
            ["a.weights", "a.cfg", "b.pt"],
            "the cfg comes first; try: darknet-bn convert a.cfg a.weights b.pt",
        ),
        (["a.weights", "a.pt", "b.weights"], "expected the cfg before a.pt, not a.weights"),
        (["a.pt", "b.weights", "--partial"], "--partial is for .weights"),
        (["a", "b.pt", "--names", "keras"], "'keras' is not one of 'auto', 'darknet'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(cli: Cli, words: list[str], message: str) -> None:
    answer = cli("convert", *words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_help_has_an_example_of_each_direction(cli: Cli) -> None:
    text = " ".join(cli("convert", "--help").out.split())
    for words in (
        "yolov3.cfg yolov3.weights yolov3.safetensors",
        "yolov3.safetensors yolov3.weights",
        "yolov3.cfg best.pt yolov3-best.weights",
    ):
        assert f"Example: darknet-bn convert {words}" in text


# -- from ONNX -------------------------------------------------------------------------------


@pytest.fixture
def exported(cli: Cli, out: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    assert cli("export", TINY, out / "a.onnx").code == 0
    return out / "a.onnx"


def test_an_exported_file_becomes_the_folded_pair(cli: Cli, out: Path, exported: Path) -> None:
    answer = cli("convert", exported, out / "b.weights")
    assert (answer.code, answer.err) == (0, "")
    dialect, _, _, proven, limits, _, written = answer.out.splitlines()
    assert dialect == "dialect: pjreddie (as the file says)"
    assert proven.startswith(f"proven: {exported} in onnxruntime 1.")
    assert ", relative difference at most " in proven
    assert limits.startswith("  (allowed 1e-05; worst is layer_0")
    assert written.startswith(f"written: {out}/b.cfg and {out}/b.weights, ")
    folded = dn.fold_batchnorm(dn.load(f"{TINY}.cfg", f"{TINY}.weights"))
    dn.save(folded, out / "c.cfg", out / "c.weights")
    for end in ("cfg", "weights"):
        assert (out / f"b.{end}").read_bytes() == (out / f"c.{end}").read_bytes()
    facts = cli("convert", exported, out / "d.npz", "--json").json
    proof = facts["proof"]
    assert proof["ok"]
    relative = f"{proof['worst']['relative']:.2g}"
    assert (
        proven
        == f"proven: {proof['provenance']['program']}, relative difference at most {relative}"
    )
    assert (
        limits == f"  (allowed {proof['worst']['allowed']:.2g}; worst is {proof['worst']['name']})"
    )


def test_what_computes_something_else_is_not_written(cli: Cli, out: Path, exported: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    file = onnx.load(exported)
    for each in file.metadata_props:
        each.value = each.value.replace("activation=leaky", "activation=relu", 1)
    onnx.save(file, exported)
    answer = cli("convert", exported, out / "b.weights")
    assert answer.code == 1
    assert answer.error.startswith(f"{exported}: layer 0: layer_000 of the file does not agree")
    assert "; nothing was written (expected a relative difference of at most 1e-05," in answer.error
    assert "the rounding error; --tolerance" in answer.error
    assert names_in(out) == ["a.onnx"]
    assert cli("convert", exported, out / "b.weights", "--tolerance", 10).code == 0


def test_a_net_in_which_float32_is_rough(cli: Cli, out: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    net = FIXTURES / "reports" / "export-float-noise" / "net"
    assert cli("export", net, out / "a.onnx", "--dialect", "alexeyab").code == 0
    answer = cli("convert", out / "a.onnx", out / "b.weights")
    assert (answer.code, answer.err) == (0, "")
    assert "(float32 rounding alone gives " in answer.out
    answer = cli("convert", out / "a.onnx", out / "c.weights", "--tolerance", 1e-6)
    assert answer.code == 1
    assert "does not agree" in answer.error


def test_without_onnx_runtime_nothing_is_written(
    cli: Cli, out: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = cli("convert", exported, out / "b.weights")
    assert (answer.code, answer.out) == (1, "")
    assert answer.error == (
        "the result cannot be proven, so nothing was written: onnxruntime is not installed; pip "
        "install "
        "onnxruntime, or use --skip-proof"
    )
    assert names_in(out) == ["a.onnx"]
    answer = cli("convert", exported, out / "b.weights", "--skip-proof")
    assert (answer.code, answer.err) == (0, "")
    assert "proven" not in answer.out
    assert names_in(out) == ["a.onnx", "b.cfg", "b.weights"]


@pytest.mark.parametrize("word", ["--skip-proof", "--tolerance=1"])
def test_what_is_not_proven_by_running_has_no_options_of_a_proof(
    cli: Cli, out: Path, word: str
) -> None:
    answer = cli("convert", TINY, out / "a.pt", word)
    assert answer.code == 2
    assert "--skip-proof and --tolerance are for ONNX files only" in answer.err


def test_onnx_is_written_by_export(cli: Cli, out: Path) -> None:
    answer = cli("convert", TINY, out / "a.onnx")
    assert answer.code == 2
    assert f"use darknet-bn export to write {out / 'a.onnx'}" in answer.err
