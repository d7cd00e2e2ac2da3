"""What ncnn computes is what the real programs gave."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
import tests.support.random_nets as nets
from darknet_bn.kernels.activations import ACTIVATIONS as ALL
from darknet_bn.model.weights import Header
from tests.convert.onnx.test_golden import MODELS, RUNS, load, small_nets
from tests.support.builders import random_floats

pytest.importorskip("ncnn", reason="ncnn is not installed")

# What golden data asks of us, and what folding, another order of float32 sums and ncnn's own
# exp and tanh may add.  The worst of the small nets is 2.9e-6, of the trained ones 5.6e-6.
TOLERANCE = 1e-5
MAKERS = (*nets.PLAIN, nets.reorg, nets.connected, nets.softmax, nets.yolo, nets.region)
MAKERS = (*MAKERS, nets.unequal_shortcut, nets.downsample, nets.activation, nets.l2norm, nets.crop)
ACTIVATIONS = [name for name, row in ALL.items() if name != "stair" and not row.extended]


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


@pytest.mark.parametrize("seed", range(12))
def test_random_nets(tmp_path: Path, seed: int) -> None:
    cfg = nets.random_cfg(seed, MAKERS, ACTIVATIONS)
    network = dn.build_network(dn.parse_cfg(cfg), dn.PJREDDIE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        floats = Header().to_bytes() + random_floats(network, seed)
        model = dn.load(cfg, floats, dialect="pjreddie")
    x = np.random.default_rng(seed).random((2, *network.input.dims), np.float32)
    ranges = dn.activation_ranges(model, [x])
    dn.export_ncnn(model, tmp_path / "net.param", inputs={"x": x})
    dn.export_ncnn(model, tmp_path / "int8.param", int8=ranges, inputs={"x": x})
