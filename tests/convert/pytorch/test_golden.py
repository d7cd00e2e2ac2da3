"""Modules give what the real programs gave, and come back as the files that they were made of."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
from tests.support.builders import random_input
from tests.support.paths import FIXTURES

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")

RUNS = sorted(
    [*FIXTURES.glob("layers/*/*.npz"), *FIXTURES.glob("tiny/*.npz"), FIXTURES / "digits/digits.npz"]
)
# What golden data asks of us, and what another order of float32 sums may add.
TOLERANCE = 1e-5
MODELS = (
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
    "yolo-fastest/yolo-fastest",
    "yolo-fastest/yolo-fastest-1.1",
    "yoloface-50k/yoloface-50k",
    "yolov3-tiny/yolov3-tiny",
)


def load(cfg: Path, dialect: str) -> dn.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)  # odd options are part of the cases
        return dn.load(cfg, cfg.with_suffix(".weights"), dialect=dialect)


def assert_agrees(model: dn.Model, recorded: Path) -> int:
    """Compare all layers with a recording; return how many there were."""
    fixture = dn.load_fixture(recorded)
    nodes = model.network.nodes
    found = dn.open_session(model, "torch").forward(fixture.input(model.network.input.dims), "all")
    for layer in set(found) & set(fixture.layers):
        expected = fixture.layer(layer, nodes[layer].y.dims)
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0) or 1
        np.testing.assert_allclose(
            found[layer],
            expected,
            rtol=0,
            atol=TOLERANCE * largest,
            err_msg=f"{recorded} layer {layer} [{nodes[layer].layer.names[0]}]",
        )
    return len(found)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_runs(path: Path, tmp_path: Path) -> None:
    record = json.loads((path.parent / "provenance.json").read_bytes())["files"][path.name]
    (cfg,) = path.parent.glob("*.cfg")
    model = load(cfg, record["dialect"])
    losses = sum(node.layer.is_loss for node in model.network.nodes)  # read by nothing
    assert assert_agrees(model, path) >= len(model.network.nodes) - losses
    again = dn.from_torch(dn.to_torch(model), like=model)
    dn.save(again, tmp_path / "a.cfg", tmp_path / "a.weights")
    assert (tmp_path / "a.cfg").read_bytes() == cfg.read_bytes()
    assert (tmp_path / "a.weights").read_bytes() == cfg.with_suffix(".weights").read_bytes()


def test_all_runs_of_small_nets(shared: Path) -> None:
    folder = shared / "golden/layers"
    cases: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    programs = {"a": "pjreddie", "b": "alexeyab"}
    compared = 0
    for case, facts in cases.items():
        for name, made in facts["files"].items():
            model = load(folder / case / f"{case}.cfg", programs[made["oracle"]])
            compared += assert_agrees(model, folder / case / name)
    assert compared >= 500


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
