"""Exported files give in ONNX Runtime what the real programs gave."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.convert.onnx.export import OLDEST_OPSET
from tests.support.onnx import write_onnx
from tests.support.paths import FIXTURES

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

RUNS = sorted(
    [*FIXTURES.glob("layers/*/*.npz"), *FIXTURES.glob("tiny/*.npz"), FIXTURES / "digits/digits.npz"]
)
NEWEST_OPSET = onnx.defs.onnx_opset_version()
# What golden data asks of us, and what folding and another order of float32 sums may add.
TOLERANCE = 1e-5
MODELS = (
    "yolov3-tiny/yolov3-tiny",
    "yolo-fastest/yolo-fastest",
    "yolo-fastest/yolo-fastest-1.1",
    "yoloface-50k/yoloface-50k",
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc",
)
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


def load(cfg: Path, dialect: str) -> dn.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)  # odd options are part of the cases
        return dn.load(cfg, cfg.with_suffix(".weights"), dialect=dialect)


def assert_agrees(model: dn.Model, recorded: Path) -> int:
    """Compare all layers with a recording; return how many there were."""
    fixture = dn.load_fixture(recorded)
    nodes = model.network.nodes
    session = dn.open_session(model, "onnxruntime")
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


def can_be_folded(model: dn.Model) -> bool:
    """Not if recorded statistics give no finite factor, such as gru's in the other program."""
    try:
        dn.fold_batchnorm(model)
    except dn.FoldError:
        return False
    return True


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
