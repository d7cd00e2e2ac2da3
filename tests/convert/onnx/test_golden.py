"""Exported files give in ONNX Runtime what the real programs gave."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.convert.onnx.export import OLDEST_OPSET
from tests.support.golden import (
    MODELS,
    RUNS,
    TOLERANCE,
    assert_all_agree,
    assert_small_nets_agree,
    load,
    small_nets,
)
from tests.support.onnx import write_onnx

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

NEWEST_OPSET = onnx.defs.onnx_opset_version()
ALWAYS = ((1, False, OLDEST_OPSET), (3, True, NEWEST_OPSET))

in_every_form = pytest.mark.parametrize(
    ("batch", "fold", "opset"),
    [
        pytest.param(
            *form,
            marks=() if form in ALWAYS else pytest.mark.exhaustive,
            id=f"{form[0]}-{'folded' if form[1] else 'kept'}-{form[2]}",
        )
        for form in itertools.product((1, 3), (True, False), (OLDEST_OPSET, NEWEST_OPSET))
    ],
)


def can_be_folded(model: dn.Model) -> bool:
    """Not if recorded statistics give no finite factor, such as gru's in the other program."""
    try:
        dn.fold_batchnorm(model)
    except dn.FoldError:
        return False
    return True


@pytest.mark.parametrize("path", RUNS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_runs(path: Path) -> None:
    assert_all_agree(path, "onnxruntime")


def test_all_runs_of_small_nets(shared: Path) -> None:
    assert_small_nets_agree(shared, "onnxruntime")


@in_every_form
def test_all_small_nets_in_every_form(
    shared: Path, tmp_path: Path, batch: int, fold: bool, opset: int
) -> None:
    proven = 0
    for cfg, dialect in small_nets(shared):
        model = load(cfg, dialect)
        if fold and not can_be_folded(model):
            continue
        prove(model, tmp_path, batch * model.network.time_steps, fold=fold, opset=opset)
        proven += 1
    assert proven >= 120


def prove(model: dn.Model, folder: Path, batch: int, **options: Any) -> None:
    """Export for a batch; the file passes ONNX's checker, and its outputs agree."""
    x = np.random.default_rng(0).random((batch, *model.network.input.dims), np.float32)
    exported = write_onnx(model, folder / "x.onnx", batch=batch, **options, force=True)
    onnx.checker.check_model(str(exported.path), full_check=True)
    proof = dn.prove(model, exported, {"x": x}, tolerance=TOLERANCE)
    assert proof.ok, proof.worst


@in_every_form
@pytest.mark.parametrize("name", MODELS)
def test_trained_models_in_every_form(
    shared: Path, tmp_path: Path, name: str, batch: int, fold: bool, opset: int
) -> None:
    cfg = shared / "models" / f"{name}.cfg"
    prove(load(cfg, "auto"), tmp_path, batch, fold=fold, opset=opset)
