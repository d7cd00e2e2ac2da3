"""Every published cfg in ONNX: the shapes that ONNX infers are ours; small nets are run too."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

import darknet_bn as dn
from darknet_bn.convert.build import ExportGraph, ExportOptions, build_graph
from darknet_bn.convert.onnx.export import DEFAULT_OPSET
from darknet_bn.convert.onnx.file import skeleton
from darknet_bn.dialect import DIALECTS
from darknet_bn.model.network import Network
from tests.support.onnx import write_onnx
from tests.support.published import (
    FORKS,
    NOT_IN_THE_TABLE,
    path_of,
    random_file,
    read,
    small,
    table,
    write_tree_of_9k,
)

SMALL, LARGEST = 16e6, 110e6  # bytes of weights up to which a net is run


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree_of_9k(tmp_path)
    monkeypatch.chdir(tmp_path)


def all_cfgs(shared: Path) -> tuple[str, ...]:
    return (*table(shared), *NOT_IN_THE_TABLE)


def without_weights(network: Network, path: Path, dialect: str) -> dn.Model:
    """A model whose arrays are all zeros that take no memory."""
    zero = np.zeros((), np.float32)
    params = [
        {param.name: np.broadcast_to(zero, param.shape) for param in node.params}
        for node in network.nodes
    ]
    shared = tuple(params[node.owner] for node in network.nodes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dn.DarknetWarning)
        cfg = dn.load_cfg(path)
    return dn.Model(cfg, network, shared, dn.Header(revision=5), DIALECTS[dialect], "", 0)


def inferred(made: ExportGraph) -> dict[str, tuple[int, ...]]:
    """The shapes that ONNX infers, with the weights as inputs, so that they need no values."""
    graph = onnx.GraphProto.FromString(skeleton(made, "net"))
    del graph.value_info[:]
    del graph.output[:]
    for value in made.graph.constants:
        name, array = value.name, np.asarray(value.array)
        if array.dtype == np.int64 or array.size <= 64:  # some are shapes, or factors of them
            graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        else:
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
    for name in made.outputs:
        graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", DEFAULT_OPSET)]
    )
    known = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    return {
        info.name: tuple(each.dim_value for each in info.type.tensor_type.shape.dim)
        for info in (*known.value_info, *known.output)
    }


def test_the_shapes_that_onnx_infers_are_ours(shared: Path) -> None:
    compared = 0
    for cfg in all_cfgs(shared):
        network, dialect = read(shared, cfg), FORKS[cfg.split("/")[0]]
        model = without_weights(network, path_of(shared, cfg), dialect)
        if model.network.time_steps > 8:  # hundreds of steps, each the same
            model = model.with_time_steps(8)
        batch = model.network.time_steps
        made = build_graph(model, ExportOptions(opset=DEFAULT_OPSET, fold=False, batch=batch))
        shapes = inferred(made)
        for layer, name in made.layers.items():
            dims = (batch, *model.network.nodes[layer].y.dims)
            assert shapes.get(name, dims if name == "input" else None) == dims, (
                f"{cfg} layer {layer}"
            )
        assert set(made.layers) == set(network.ancestors(network.outputs)), cfg
        compared += 1
    assert compared == 140


@pytest.mark.parametrize(
    ("largest", "count"), [(SMALL, 5), pytest.param(LARGEST, 40, marks=pytest.mark.exhaustive)]
)
def test_those_of_moderate_size_compute_the_same(
    shared: Path, tmp_path: Path, largest: float, count: int
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    seen: set[tuple[object, ...]] = set()
    for cfg in all_cfgs(shared):
        network = read(shared, cfg)
        same = tuple((type(node.layer), node.y.c, node.params) for node in network.nodes)
        if 4 * network.stored_floats > largest or same in seen:
            continue
        seen.add(same)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dn.DarknetWarning)
            dialect = FORKS[cfg.split("/")[0]]
            model = small(dn.load(path_of(shared, cfg), random_file(network), dialect=dialect))
        x = np.random.default_rng(1).random((1, *model.network.input.dims), np.float32)
        exact, fast = (dn.forward(model, x, "outputs", exact=exact) for exact in (True, False))
        exported = write_onnx(model, tmp_path / "x.onnx", force=True)
        for row in dn.prove(model, exported, {"x": x}).differences:
            assert row.layer is not None
            # Deep nets with random weights multiply the rounding of their first layers.
            y, other = exact[row.layer], fast[row.layer]
            noise = float(np.abs(y - other).max() / np.abs(y).max())
            assert row.relative <= max(1e-5, 4 * noise), f"{cfg} {row}"
    assert len(seen) >= count
