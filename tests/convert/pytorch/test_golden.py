"""Modules give what the real programs gave, and come back as the files that they were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import darknet_bn as dn
from tests.support.builders import random_input
from tests.support.golden import (
    MODELS,
    RUNS,
    TOLERANCE,
    assert_all_agree,
    assert_small_nets_agree,
    load,
)

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("path", RUNS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_runs(path: Path, tmp_path: Path) -> None:
    model = assert_all_agree(path, "torch")
    again = dn.from_torch(dn.to_torch(model), like=model)
    dn.save(again, tmp_path / "a.cfg", tmp_path / "a.weights")
    (cfg,) = path.parent.glob("*.cfg")
    assert (tmp_path / "a.cfg").read_bytes() == cfg.read_bytes()
    assert (tmp_path / "a.weights").read_bytes() == cfg.with_suffix(".weights").read_bytes()


def test_all_runs_of_small_nets(shared: Path) -> None:
    assert_small_nets_agree(shared, "torch")


@pytest.mark.parametrize("name", MODELS)
def test_trained_models(shared: Path, name: str) -> None:
    model = load(shared / "models" / f"{name}.cfg", "auto")
    x = random_input(model, 1)
    report = dn.compare(model, dn.open_session(model, "torch"), x, tolerance=TOLERANCE)
    assert report.ok, str(report)
    assert len(report.differences) == len(model.network.nodes)
    again = dn.from_torch(dn.to_torch(model), like=model)
    for params, other in zip(again.params, model.params, strict=True):
        assert all(array.tobytes() == other[key].tobytes() for key, array in params.items())
