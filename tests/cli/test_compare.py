from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.engines.base import ENGINES

from .conftest import FIXTURES, TINY, Cli


@pytest.fixture
def damaged(tiny: Path) -> Path:
    """The tiny model with a scale of layer 4 changed."""
    model = dn.load(f"{tiny}.cfg", f"{tiny}.weights")
    scales = model.params[4]["scales"].copy()
    scales[2] += 1
    model.params[4].update(scales=scales)  # type: ignore[attr-defined]
    dn.save(model, f"{tiny}.cfg", f"{tiny}.weights", force=True)
    return tiny


def test_with_an_engine(cli: Cli) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    answer = cli("compare", TINY, "--with", "onnxruntime")
    assert (answer.code, answer.err) == (0, "")
    dialect, x, who, heading, *rows, verdict = answer.out.splitlines()
    assert dialect.startswith("dialect: pjreddie (")
    assert x == "input: random, seed 0"
    assert who.startswith("with: onnxruntime 1.")
    assert heading.split() == [
        *("layer", "section", "shape", "largest", "max", "error", "relative"),
        *("mean", "cosine", "mismatches"),
    ]
    assert len(rows) == 12
    assert verdict == "all 12 layers agree within 0.0001 of their largest value"


def test_with_an_exported_file(cli: Cli, damaged: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    path = tmp_path / "x.onnx"
    assert cli("export", damaged, path, "--skip-proof").code == 0
    assert cli("compare", damaged, "--with", path).code == 0
    answer = cli("compare", TINY, "--with", path)
    assert answer.code == 1
    assert "layer 4 [convolutional] is the first that differs" in answer.out
    assert f"with: {path} in onnxruntime 1." in answer.out


def test_with_an_onnx_file_of_other_origin(cli: Cli, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    path = tmp_path / "x.onnx"
    path.write_bytes(b"\xff\xff no such thing")
    assert cli("compare", TINY, "--with", path).error == f"{path}: this is not an ONNX file"
    path.write_bytes(onnx.ModelProto(producer_name="another").SerializeToString())
    answer = cli("compare", TINY, "--with", path)
    assert answer.error.startswith(f"{path}: this is not a valid ONNX file")
    assert cli("compare", TINY, "--with", tmp_path / "no.onnx").code == 2


@pytest.mark.parametrize("form", ["stem", "cfg", "both"])
def test_with_another_model(cli: Cli, damaged: Path, tmp_path: Path, form: str) -> None:
    weights = tmp_path / "elsewhere.weights"
    words: tuple[object, ...] = {
        "stem": ("--with", damaged),
        "cfg": ("--with", f"{damaged}.cfg"),
        "both": ("--with", f"{damaged}.cfg", weights),
    }[form]
    shutil.copy(f"{damaged}.weights", weights)
    facts = cli("compare", f"{TINY}.cfg", f"{TINY}.weights", *words, "--json").json
    assert (facts["ok"], facts["first_wrong"]) == (False, 4)
    assert facts["differences"][4]["cosine"] < 1
    assert facts["provenance"] == {"program": "darknet-bn, dialect pjreddie"}


def test_with_a_recording(cli: Cli, damaged: Path) -> None:
    assert cli("compare", TINY, "--with", f"{TINY}.npz").code == 0
    answer = cli("compare", damaged, "--with", f"{TINY}.npz", "--json")
    assert (answer.code, answer.json["first_wrong"]) == (1, 4)
    answer = cli("compare", TINY, "--with", f"{TINY}.npz", "--seed", 3)
    assert answer.code == 2
    assert "a recording contains its own input" in answer.err


def test_on_a_given_input(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((2, 3, 64, 64), np.float32))
    answer = cli("compare", TINY, path, "--with", TINY)
    assert answer.code == 0
    assert f"input: {path}" in answer.out
    assert " 2 x 8 x 32 x 32 " in answer.out


def test_what_is_missing(cli: Cli) -> None:
    answer = cli("compare", TINY)
    assert answer.code == 2
    assert f"error: missing option: --with, one of {', '.join(ENGINES)}, or a file\n" in answer.err


@pytest.mark.parametrize("other", ["tensorrt", "no/such.cfg", "no.weights"])
def test_another_that_is_not_there(cli: Cli, other: str) -> None:
    answer = cli("compare", TINY, "--with", other)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines()[0] == (
        f"error: --with {other}: no such engine, file or model (engines: {', '.join(ENGINES)})"
    )


def test_a_net_in_which_float32_is_rough(cli: Cli) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    net = FIXTURES / "reports" / "export-float-noise" / "net"
    words = ("compare", net, "--with", "onnxruntime", "--dialect", "alexeyab")
    answer = cli(*words)
    assert answer.code == 0
    assert "except for float32 rounding, which gives " in answer.out.splitlines()[-1]
    assert cli(*words, "--tolerance", 1e-4).code == 1
    facts = cli(*words, "--json").json
    assert (facts["ok"], facts["tolerance"], facts["hint"]) == (True, 1e-4, None)
    row = facts["differences"][2]
    assert row["relative"] == row["error"] / row["largest"] < row["allowed"] == 4 * row["rounding"]


def small_variances(tiny: Path) -> None:
    """Let it matter where and how much is added to a variance."""
    model = dn.load(f"{tiny}.cfg", f"{tiny}.weights")
    for params in model.params:
        if "rolling_variance" in params:
            small = params["rolling_variance"] * np.float32(1e-3)
            params.update(rolling_variance=small)  # type: ignore[attr-defined]
    dn.save(model, f"{tiny}.cfg", f"{tiny}.weights", force=True)


@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
def test_the_batch_norm_of_opencv_4_is_named(cli: Cli, tiny: Path, dialect: str) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("OpenCV 5 reads no Darknet files")
    small_variances(tiny)
    words = ("compare", tiny, "--with", "opencv")
    answer = cli(*words, "--dialect", dialect)
    assert answer.code == 1
    assert answer.out.splitlines()[-1] == (
        "OpenCV 4 always computes σ = √(v + 1e-6); --dialect opencv agrees"
    )
    assert cli(*words, "--dialect", "opencv").code == 0
    hint = cli(*words, "--dialect", dialect, "--json").json["hint"]
    assert hint == answer.out.splitlines()[-1]


def test_no_dialect_is_named_that_does_not_agree(cli: Cli, tiny: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    small_variances(tiny)
    words = ("compare", tiny, "--with", "opencv", "--tolerance", 0)  # no two programs round alike
    assert "--dialect opencv" not in cli(*words).out
