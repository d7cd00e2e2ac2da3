"""The contract of every layer in ONNX: ONNX Runtime computes what the layer does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.convert.onnx.export import OLDEST_OPSET, Exported
from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS
from tests.support.builders import cfg_text, random_input, random_model
from tests.support.examples import Example, LayerRun, cases
from tests.support.nets import AB, NETS, REFUSED_NETS, case_model, conv
from tests.support.onnx import run_graph, write_onnx

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

NEWEST_OPSET = onnx.defs.onnx_opset_version()
# Sums of some hundred float32 values in another order differ by 1e-6 of the largest.
TOLERANCE = 3e-6


CASES = cases(DIALECTS)


def proven(model: dn.Model, folder: Path, **options: Any) -> Exported:
    """Export a model; every layer agrees in ONNX Runtime."""
    exported = write_onnx(model, folder / "x.onnx", batch="any", **options)
    onnx.checker.check_model(str(exported.path), full_check=True)
    x = random_input(model, 2 * model.network.time_steps)
    proof = dn.prove(model, exported, {"x": x}, layers=True, tolerance=TOLERANCE)
    bad = [row for row in proof.differences if not row.relative <= TOLERANCE]
    assert not bad
    assert {row.layer for row in proof.differences} >= set(model.network.outputs)
    return exported


@pytest.mark.parametrize("opset", [OLDEST_OPSET, NEWEST_OPSET])
@pytest.mark.parametrize(("example", "dialect"), CASES)
def test_every_layer_is_expressed(example: Example, dialect: Dialect, opset: int) -> None:
    run = LayerRun(example, dialect)
    graph = GraphBuilder(opset, dialect, time_steps=example.time_steps)
    values = [Value(f"x{number}") for number in range(len(run.xs))]
    with graph.layer("layer_000", 0, run.p):
        if example.refused:
            with pytest.raises(dn.ExportError, match=example.refused):
                run.layer.onnx(graph, values, run.sources, run.p)
            return
        y = run.layer.onnx(graph, values, run.sources, run.p)
    images = np.zeros((example.batch, 1, 8, 8), np.float32)
    found = run_graph(graph, {graph.images: images} | dict(zip(values, run.xs, strict=True)), y)
    expected = run()
    difference = np.abs(found.reshape(expected.shape) - expected).max()
    assert difference <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("opset", [OLDEST_OPSET, NEWEST_OPSET])
@pytest.mark.parametrize("fold", [True, False], ids=["folded", "kept"])
@pytest.mark.parametrize("name", NETS)
def test_onnx_runtime_computes_what_the_layer_does(
    tmp_path: Path, name: str, fold: bool, opset: int
) -> None:
    proven(case_model(name), tmp_path, fold=fold, opset=opset)


@pytest.mark.parametrize("opset", [OLDEST_OPSET, NEWEST_OPSET])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(tmp_path: Path, activation: str, opset: int) -> None:
    proven(
        random_model(cfg_text(conv(f"activation={activation} size=3 pad=1 batch_normalize=1"))),
        tmp_path,
        opset=opset,
    )


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"stair"}))  # it jumps
def test_every_activation_for_large_values(tmp_path: Path, activation: str) -> None:
    cfg = cfg_text(f"[convolutional] filters=2 size=1 activation={activation}", channels=1)
    model = dn.load(cfg, None, dialect=AB)
    params = {"weights": np.full((2, 1, 1, 1), 100, np.float32), "biases": np.zeros(2, np.float32)}
    model.params[0].update(params)  # type: ignore[attr-defined]
    proven(model, tmp_path)


@pytest.mark.parametrize("reason", REFUSED_NETS)
def test_what_operators_do_not_express_is_refused_by_layer(tmp_path: Path, reason: str) -> None:
    model = random_model(cfg_text(*REFUSED_NETS[reason]))
    with pytest.raises(dn.ExportError, match=reason) as caught:
        write_onnx(model, tmp_path / "x.onnx")
    assert caught.value.where.layer == len(REFUSED_NETS[reason]) - 1
    assert not list(tmp_path.iterdir())
