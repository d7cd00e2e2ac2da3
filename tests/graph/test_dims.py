"""Dimensions of values: the same as ONNX Runtime computes, value by value."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_bn.convert.onnx.export import DEFAULT_OPSET, OLDEST_OPSET
from darknet_bn.dialect import DIALECTS, Dialect
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.dims import sizes_of
from darknet_bn.graph.graph import Value
from tests.support.examples import Example, LayerRun, cases
from tests.support.onnx import run_values

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

EXPRESSED = [case for case in cases(DIALECTS) if not case.values[0].refused]
BOOLEAN = ("Equal", "Greater")


@pytest.mark.parametrize("opset", [OLDEST_OPSET, DEFAULT_OPSET])
@pytest.mark.parametrize(("example", "dialect"), EXPRESSED)
def test_every_value_has_the_dimensions_it_is_computed_with(
    example: Example, dialect: Dialect, opset: int
) -> None:
    run = LayerRun(example, dialect)
    graph = GraphBuilder(opset, dialect, time_steps=example.time_steps)
    values = [Value(f"x{number}") for number in range(len(run.xs))]
    with graph.layer("layer_000", 0, run.p):
        run.layer.onnx(graph, values, run.sources, run.p)
    images = np.zeros((example.batch, 1, 8, 8), np.float32)
    given = {graph.images: images} | dict(zip(values, run.xs, strict=True))
    sizes = sizes_of(graph, {value: array.shape for value, array in given.items()})
    made = [value for op in graph.ops if op.kind not in BOOLEAN for value in op.outputs]
    computed = [value for value in made if value not in sizes.known]
    for value, array in zip(computed, run_values(graph, given, computed), strict=True):
        assert sizes.dims[value] == array.shape, value
    for value, array in sizes.known.items():
        assert sizes.dims[value] == array.shape, value


def test_what_depends_on_dimensions_alone_is_known() -> None:
    graph = GraphBuilder(DEFAULT_OPSET, DIALECTS["alexeyab"])
    batch = graph.slice(graph.add("Shape", graph.images), 0, 0, 1)
    shape = graph.add("Concat", batch, graph.ints("dims", 2, 3), axis=0)
    whole = graph.add("Expand", graph.constant("row", np.array([1.0, 2.0, 3.0])), shape)
    y = graph.add("Add", whole, graph.zeros_like(whole))
    sizes = sizes_of(graph, {graph.images: (4, 3, 8, 8)})
    np.testing.assert_array_equal(sizes.known[whole], np.broadcast_to([1, 2, 3], (4, 2, 3)))
    assert sizes.dims[y] == (4, 2, 3)
    assert y not in sizes.known
