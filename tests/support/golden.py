"""What the real programs computed, held against a model in an engine."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import darknet_bn as dn
from tests.support.paths import FIXTURES

RUNS = sorted(
    [*FIXTURES.glob("layers/*/*.npz"), *FIXTURES.glob("tiny/*.npz"), FIXTURES / "digits/digits.npz"]
)
"""The recordings that are part of the project."""
MODELS = (
    "yolov3-tiny/yolov3-tiny",
    "yolo-fastest/yolo-fastest",
    "yolo-fastest/yolo-fastest-1.1",
    "yoloface-50k/yoloface-50k",
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
)
"""The trained models of the shared folder."""
TOLERANCE = 1e-5
"""What golden data asks of us; folding and another order of float32 sums fit into it, and ncnn's
own exp and tanh.  The worst of the small nets is 2.9e-6, of the trained models 5.6e-6."""


def load(cfg: Path, dialect: str) -> dn.Model:
    """Load a model whose odd options are part of the case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        return dn.load(cfg, cfg.with_suffix(".weights"), dialect=dialect)


def model_of(recorded: Path) -> dn.Model:
    """Load the model of a recording that is part of the project."""
    record = json.loads((recorded.parent / "provenance.json").read_bytes())["files"][recorded.name]
    (cfg,) = recorded.parent.glob("*.cfg")
    return load(cfg, record["dialect"])


def assert_agrees(model: dn.Model, recorded: Path, engine: str) -> int:
    """Compare all layers that an engine shows with a recording; return how many it shows."""
    fixture = dn.load_fixture(recorded)
    nodes = model.network.nodes
    session = dn.open_session(model, engine)
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


def assert_all_agree(recorded: Path, engine: str) -> dn.Model:
    """Compare every layer that is read by anything; return the model."""
    model = model_of(recorded)
    losses = sum(node.layer.is_loss for node in model.network.nodes)
    assert assert_agrees(model, recorded, engine) >= len(model.network.nodes) - losses
    return model


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


def assert_small_nets_agree(shared: Path, engine: str) -> None:
    """Compare all layers of all of them."""
    compared = sum(
        assert_agrees(load(cfg, dialect), recorded, engine)
        for (cfg, dialect), recorded in small_nets(shared).items()
    )
    assert compared >= 500
