"""What ncnn computes is what the real programs gave."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import darknet_bn as dn
import tests.support.random_nets as nets
from darknet_bn.kernels.activations import ACTIVATIONS as ALL
from darknet_bn.model.weights import Header
from tests.support.builders import random_floats
from tests.support.golden import (
    MODELS,
    RUNS,
    TOLERANCE,
    assert_agrees,
    assert_small_nets_agree,
    load,
    model_of,
)

pytest.importorskip("ncnn", reason="ncnn is not installed")

MAKERS = (*nets.PLAIN, nets.reorg, nets.connected, nets.softmax, nets.yolo, nets.region)
MAKERS = (*MAKERS, nets.unequal_shortcut, nets.downsample, nets.activation, nets.l2norm, nets.crop)
ACTIVATIONS = [name for name, row in ALL.items() if name != "stair" and not row.extended]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_runs(path: Path) -> None:
    model = model_of(path)
    assert assert_agrees(model, path, "ncnn") >= len(model.network.outputs)


def test_all_runs_of_small_nets(shared: Path) -> None:
    assert_small_nets_agree(shared, "ncnn")


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
