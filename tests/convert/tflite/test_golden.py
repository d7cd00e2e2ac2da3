"""TFLite files give in LiteRT what the real programs gave."""

from __future__ import annotations

from pathlib import Path

import pytest

import darknet_bn as dn
import tests.support.random_nets as nets
from darknet_bn.model.weights import Header
from tests.support.builders import random_floats
from tests.support.golden import (
    MODELS,
    RUNS,
    TOLERANCE,
    assert_all_agree,
    assert_small_nets_agree,
    load,
)

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

MAKERS = (*nets.PLAIN, nets.reorg, nets.connected, nets.softmax, nets.yolo, nets.region)
ACTIVATIONS = ("linear", "leaky", "logistic", "relu", "elu", "selu", "tanh", "hardtan")


@pytest.mark.parametrize("path", RUNS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_runs(path: Path) -> None:
    assert_all_agree(path, "litert")


def test_all_runs_of_small_nets(shared: Path) -> None:
    assert_small_nets_agree(shared, "litert")


@pytest.mark.parametrize("name", MODELS)
def test_trained_models(shared: Path, tmp_path: Path, name: str) -> None:
    model = load(shared / "models" / f"{name}.cfg", "auto")
    picture = dn.prepare(dn.load_image(shared / "images/dog.jpg"), model)
    exported = dn.export_tflite(model, tmp_path / "x.tflite", inputs={"dog.jpg": picture})
    assert exported.proof is not None
    rows = exported.proof.differences
    assert len(rows) == 2 * len(model.network.nodes)
    # One layer of Yolo-Fastest differs by 1.04e-5, as much as rounding alone makes of it.
    assert max(row.relative for row in rows) <= 1.1 * TOLERANCE
    assert max(row.relative for row in rows if row.layer in model.network.outputs) <= TOLERANCE


@pytest.mark.parametrize("seed", range(12))
def test_random_nets(tmp_path: Path, seed: int) -> None:
    cfg = nets.random_cfg(seed, MAKERS, ACTIVATIONS)
    network = dn.build_network(dn.parse_cfg(cfg), dn.PJREDDIE)
    (tmp_path / "net.cfg").write_bytes(cfg)
    floats = Header().to_bytes() + random_floats(network, seed)
    (tmp_path / "net.weights").write_bytes(floats)
    model = dn.load(tmp_path / "net.cfg", tmp_path / "net.weights", dialect="pjreddie")
    dn.export_tflite(model, tmp_path / "net.tflite")  # 1e-5, or four times what rounding makes
