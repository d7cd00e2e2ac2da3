"""What ncnn computes is what the real programs gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
from tests.convert.onnx.test_golden import MODELS, RUNS, load, small_nets

pytest.importorskip("ncnn", reason="ncnn is not installed")

# What golden data asks of us, and what folding, another order of float32 sums and ncnn's own
# exp and tanh may add.  The worst of the small nets is 2.9e-6, of the trained ones 5.6e-6.
TOLERANCE = 1e-5


def assert_agrees(model: dn.Model, recorded: Path) -> int:
    """Compare all layers with a recording; return how many there were."""
    fixture = dn.load_fixture(recorded)
    nodes = model.network.nodes
    session = dn.open_session(model, "ncnn")
    found = session.forward(fixture.input(model.network.input.dims), "all")
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
def test_committed_runs(path: Path) -> None:
    record = json.loads((path.parent / "provenance.json").read_bytes())["files"][path.name]
    (cfg,) = path.parent.glob("*.cfg")
    model = load(cfg, record["dialect"])
    assert assert_agrees(model, path) >= len(model.network.outputs)


def test_all_runs_of_small_nets(shared: Path) -> None:
    compared = sum(
        assert_agrees(load(cfg, dialect), recorded)
        for (cfg, dialect), recorded in small_nets(shared).items()
    )
    assert compared >= 500


@pytest.mark.parametrize("name", MODELS)
def test_trained_models(shared: Path, name: str) -> None:
    model = load(shared / "models" / f"{name}.cfg", "auto")
    x = np.random.default_rng(0).random((1, *model.network.input.dims), np.float32)
    session = dn.open_session(model, "ncnn")
    assert set(session.layers) == set(model.network.ancestors(model.network.outputs))
    found, expected = session.forward(x, "all"), dn.forward(model, x, "all")
    for layer, y in found.items():
        largest = np.abs(expected[layer]).max()
        assert np.abs(y - expected[layer]).max() <= TOLERANCE * largest, layer
