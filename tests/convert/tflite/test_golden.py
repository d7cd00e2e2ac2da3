"""TFLite files give in LiteRT what the real programs gave."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import darknet_bn as dn
import tests.support.random_nets as nets
from darknet_bn.model.weights import Header
from tests.support.builders import random_floats
from tests.support.paths import FIXTURES

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

RUNS = sorted(
    [*FIXTURES.glob("layers/*/*.npz"), *FIXTURES.glob("tiny/*.npz"), FIXTURES / "digits/digits.npz"]
)
# What golden data asks of us, and what folding and another order of float32 sums may add.
TOLERANCE = 1e-5
MODELS = (
    "yolov3-tiny/yolov3-tiny",
    "yolo-fastest/yolo-fastest",
    "yolo-fastest/yolo-fastest-1.1",
    "yoloface-50k/yoloface-50k",
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
)
MAKERS = (*nets.PLAIN, nets.reorg, nets.connected, nets.softmax, nets.yolo, nets.region)
ACTIVATIONS = ("linear", "leaky", "logistic", "relu", "elu", "selu", "tanh", "hardtan")


def load(cfg: Path, dialect: str) -> dn.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)  # odd options are part of the cases
        return dn.load(cfg, cfg.with_suffix(".weights"), dialect=dialect)


def assert_agrees(model: dn.Model, recorded: Path) -> int:
    """Compare all layers with a recording; return how many there were."""
    fixture = dn.load_fixture(recorded)
    nodes = model.network.nodes
    session = dn.open_session(model, "litert")
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
    losses = sum(node.layer.is_loss for node in model.network.nodes)  # read by nothing
    assert assert_agrees(model, path) >= len(model.network.nodes) - losses


def small_nets(shared: Path) -> dict[tuple[Path, str], Path]:
    """Each net with each dialect that it was run with, and what that gave."""
    folder = shared / "golden/layers"
    cases: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    programs = {"a": "pjreddie", "b": "alexeyab"}
    return {
        (folder / case / f"{case}.cfg", programs[made["oracle"]]): folder / case / name
        for case, facts in cases.items()
        for name, made in facts["files"].items()
    }


def test_all_runs_of_small_nets(shared: Path) -> None:
    compared = sum(
        assert_agrees(load(cfg, dialect), recorded)
        for (cfg, dialect), recorded in small_nets(shared).items()
    )
    assert compared >= 500


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
