"""What is written proven is not there unless it proves right, in Python as in commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.checks import convert, export, fold
from darknet_bn.run.random_input import random_input
from tests.support.builders import cfg_text, random_model, weights_bytes
from tests.support.paths import FIXTURES

CONV = "[convolutional] filters=4 size=3 pad=1 activation=leaky batch_normalize=1"
CFG = cfg_text(CONV, "[maxpool] size=2 stride=2", CONV)
NOISE = FIXTURES / "reports" / "export-float-noise" / "net"


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def damaged(model: dn.Model) -> dn.Model:
    """The same with other biases in the last layer."""
    *front, last = model.params
    biases = last["biases"] + np.float32(0.1)
    return replace(model, params=(*front, {**last, "biases": biases}))


def on_damaged(verb: Callable[..., dn.Report]) -> Callable[..., dn.Report]:
    """A proof for which the model is another."""
    return lambda model, *words, **options: verb(damaged(model), *words, **options)


class TestFold:
    @pytest.mark.parametrize("name", ["out", "out.cfg", "out.weights"])
    def test_the_files_are_those_of_the_folded_model(self, tmp_path: Path, name: str) -> None:
        model = random_model(CFG)
        report = dn.fold_files(model, tmp_path / name)
        assert report.ok
        assert [each.layer for each in report.differences] == [0, 1, 2]
        assert names_in(tmp_path) == ["out.cfg", "out.weights"]
        dn.save(dn.fold_batchnorm(model), tmp_path / "b.cfg", tmp_path / "b.weights")
        for end in ("cfg", "weights"):
            assert (tmp_path / f"out.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()

    @pytest.mark.parametrize("there", [False, True])
    def test_a_wrong_fold_writes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
    ) -> None:
        if there:
            (tmp_path / "out.weights").write_bytes(b"old")
        right = fold.fold_batchnorm
        monkeypatch.setattr(fold, "fold_batchnorm", lambda model: damaged(right(model)))
        with pytest.raises(dn.ProofError) as caught:
            dn.fold_files(random_model(CFG), tmp_path / "out", force=True)
        assert caught.value.where.layer == 2
        assert str(caught.value).endswith("allows it")
        assert "; tolerance=" in str(caught.value)
        assert names_in(tmp_path) == ["out.weights"] * there
        if there:
            assert (tmp_path / "out.weights").read_bytes() == b"old"

    def test_the_tolerance_decides_and_the_one_that_is_named_is_enough(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = dn.load(f"{NOISE}.cfg", f"{NOISE}.weights", dialect="alexeyab")
        # Of this image the noise is above 1e-4 with any code of BLAS; of most it is not.
        monkeypatch.setattr(
            "darknet_bn.checks.fold.random_input", lambda network, _: random_input(network, 7)
        )
        with pytest.raises(dn.ProofError, match="float32 rounding alone gives") as caught:
            dn.fold_files(model, tmp_path / "out", tolerance=1e-4)
        assert not names_in(tmp_path)
        named = str(caught.value).partition("tolerance=")[2].split()[0]
        assert dn.fold_files(model, tmp_path / "out", tolerance=float(named)).ok

    def test_statistics_that_cannot_be_folded_write_nothing(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        variance = np.full(4, -1, np.float32)
        params = ({**model.params[0], "rolling_variance": variance}, *model.params[1:])
        with pytest.raises(dn.FoldError):
            dn.fold_files(replace(model, params=params), tmp_path / "out")
        assert not names_in(tmp_path)

    def test_files_that_are_there_stay(self, tmp_path: Path) -> None:
        (tmp_path / "out.cfg").write_bytes(b"mine")
        with pytest.raises(dn.DarknetError, match="the file already exists; use force=True"):
            dn.fold_files(random_model(CFG), tmp_path / "out")
        assert names_in(tmp_path) == ["out.cfg"]


class TestExport:
    @pytest.fixture(autouse=True)
    def engine(self) -> None:
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

    def test_a_file_that_appears_is_proven(self, tmp_path: Path) -> None:
        model = random_model(CFG)
        one = np.zeros((1, *model.network.input.dims), np.float32)
        exported = dn.export_onnx(model, tmp_path / "x.onnx", batch=2, inputs={"zero": one})
        assert exported.proof is not None
        assert exported.proof.ok
        rows = [(each.input, each.shape[0]) for each in exported.proof.differences]
        assert rows == [("random", 2), ("zero", 2)]
        assert list(exported.proof.inputs) == ["random", "zero"]

    def test_what_computes_something_else_is_not_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "prove", on_damaged(export.prove))
        with pytest.raises(dn.ProofError, match="layer_002 of the exported file does") as caught:
            dn.export_onnx(random_model(CFG), tmp_path / "x.onnx", proof=tmp_path / "x.json")
        assert caught.value.where.layer == 2
        assert "tolerance=" in str(caught.value.hint)
        assert not names_in(tmp_path)

    def test_the_proof_beside_it_says_what_the_report_does(self, tmp_path: Path) -> None:
        proof = tmp_path / "x.proof.json"
        exported = dn.export_onnx(random_model(CFG), tmp_path / "x.onnx", proof=proof)
        assert exported.proof is not None
        assert json.loads(proof.read_bytes()) == {"schema": 1} | exported.proof.json()
        with pytest.raises(dn.DarknetError, match="the file already exists"):
            dn.export_onnx(random_model(CFG), tmp_path / "y.onnx", proof=proof)
        assert names_in(tmp_path) == ["x.onnx", "x.proof.json"]

    def test_without_onnx_runtime_the_line_that_says_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(
            dn.ProofError,
            match=r"^the result cannot be proven, so nothing was written: onnxruntime is not "
            r"installed; "
            r"pip install onnxruntime, or use prove=False$",
        ):
            dn.export_onnx(random_model(CFG), tmp_path / "x.onnx")
        assert not names_in(tmp_path)
        exported = dn.export_onnx(random_model(CFG), tmp_path / "x.onnx", prove=False)
        assert exported.proof is None
        assert names_in(tmp_path) == ["x.onnx"]


class TestConvert:
    @pytest.fixture
    def from_onnx(self, tmp_path: Path) -> dn.Model:
        """A model that was read from an exported file, in a folder of its own."""
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
        (tmp_path / "there").mkdir()
        dn.export_onnx(random_model(CFG), tmp_path / "there" / "x.onnx", prove=False)
        return dn.load_arrays(tmp_path / "there" / "x.onnx")

    @pytest.mark.parametrize("end", [".weights", ".npz", ".safetensors", ".pt"])
    def test_what_was_read_from_onnx_is_proven(
        self, tmp_path: Path, from_onnx: dn.Model, end: str
    ) -> None:
        cfg = tmp_path / "a.cfg" if end == ".weights" else None
        report = dn.convert_file(from_onnx, tmp_path / f"a{end}", cfg)
        assert report is not None
        assert report.ok
        assert {each.layer for each in report.differences} == {0, 1, 2}
        assert names_in(tmp_path) == sorted([f"a{end}", "there", *(["a.cfg"] if cfg else [])])

    @pytest.mark.parametrize("end", [".weights", ".npz"])
    def test_what_computes_something_else_is_not_written(
        self, tmp_path: Path, from_onnx: dn.Model, monkeypatch: pytest.MonkeyPatch, end: str
    ) -> None:
        monkeypatch.setattr(convert, "prove_file", on_damaged(convert.prove_file))
        with pytest.raises(dn.ProofError, match="layer_002 of the file does not agree"):
            dn.convert_file(from_onnx, tmp_path / f"a{end}")
        assert names_in(tmp_path) == ["there"]
        assert dn.convert_file(from_onnx, tmp_path / f"a{end}", prove=False) is None
        assert names_in(tmp_path) == [f"a{end}", "there"]

    def test_without_onnx_runtime_nothing_is_written(
        self, tmp_path: Path, from_onnx: dn.Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(dn.ProofError, match=r"or use prove=False$"):
            dn.convert_file(from_onnx, tmp_path / "a.weights")
        assert names_in(tmp_path) == ["there"]

    def test_a_model_of_darknet_has_nothing_to_prove(self, tmp_path: Path) -> None:
        model = dn.load(CFG, weights_bytes(CFG))
        assert dn.convert_file(model, tmp_path / "a.npz", names="ultralytics") is None
        assert dn.load_arrays(tmp_path / "a.npz").network == model.network
