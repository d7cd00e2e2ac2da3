"""A graph that is being made: names, parameters, constants, precision."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value

X = Value("x")


@pytest.fixture
def graph() -> GraphBuilder:
    return GraphBuilder(18, dn.PJREDDIE)


def array_of(value: Value) -> np.ndarray:
    assert value.array is not None
    return value.array


def test_names_say_where_a_value_comes_from(graph: GraphBuilder) -> None:
    with graph.within("layer_007"):
        values = graph.add("Relu", X), graph.add("Relu", X), *graph.split(X, 1, [2, 3])
        weights = graph.constant("weights", np.ones(3, np.float32))
        with graph.part("wz"):
            inner = graph.constant("weights", np.zeros(3, np.float32))
            again = graph.constant("weights", np.zeros(3, np.float32))
    assert [each.name for each in values] == [
        "layer_007/Relu",
        "layer_007/Relu_2",
        "layer_007/Split:0",
        "layer_007/Split:1",
    ]
    assert [each.name for each in (weights, inner, again)] == [
        "layer_007.weights",
        "layer_007.wz.weights",
        "layer_007.wz.weights_1",
    ]
    assert [op.name for op in graph.ops] == [
        "layer_007/Relu",
        "layer_007/Relu_2",
        "layer_007/Split",
    ]


def test_which_constant_is_which_parameter_is_recorded(graph: GraphBuilder) -> None:
    params = {"biases": np.zeros(3, np.float32), "wz.biases": np.zeros(3, np.float32)}
    with graph.layer("layer_005", 4, params):
        biases = graph.parameter("biases")
        with graph.part("wz"):
            inner = graph.parameter("biases")
        graph.constant("biases", params["biases"])  # equal values are not a parameter
    assert graph.parameters == {(4, "biases", False): biases, (4, "wz.biases", False): inner}
    assert biases.array is params["biases"]
    assert inner.array is params["wz.biases"]


def test_a_parameter_that_layers_share_is_there_once(graph: GraphBuilder) -> None:
    params = {"weights": np.ones(3, np.float32)}
    with graph.layer("layer_000", 0, params):
        weights = graph.parameter("weights")
    with graph.layer("layer_001", 0, params):
        assert graph.parameter("weights") is weights
    with graph.layer("layer_002", 2, params):
        assert graph.parameter("weights").name == "layer_002.weights"
    assert [each.name for each in graph.constants] == ["layer_000.weights", "layer_002.weights"]


def test_a_parameter_in_float16_is_another_constant(graph: GraphBuilder) -> None:
    graph.half = True
    with graph.layer("layer_000", 0, {"weights": np.ones(3, np.float32)}):
        half = graph.parameter("weights")
        with graph.single():
            single = graph.parameter("weights")
    assert (array_of(half).dtype, array_of(single).dtype) == (np.float16, np.float32)
    assert graph.parameters == {(0, "weights", True): half, (0, "weights", False): single}


def test_float64_is_rounded_once(graph: GraphBuilder) -> None:
    value = graph.constant(X, np.array([1 / 3], np.float64))
    assert array_of(value).dtype == np.float32
    assert array_of(value) == np.float32(1 / 3)


def test_float16_holds_what_it_can(graph: GraphBuilder) -> None:
    graph.half = True
    value = graph.constant(X, np.array([65504, -np.inf, 0.1], np.float32))
    np.testing.assert_array_equal(array_of(value), np.array([65504, -np.inf, 0.1], np.float16))
    exact = graph.constant("scales", np.ones(4, np.float32), exact=True)
    assert array_of(exact).dtype == np.float32
    with pytest.raises(
        dn.ExportError,
        match=r"input\.y does not fit into float16 \(expected at most 65504, found 70000\)",
    ):
        graph.constant("y", np.array([1, 7e4], np.float32))


def test_single_precision_is_for_a_part_only(graph: GraphBuilder) -> None:
    graph.half = True
    with graph.single():
        value = graph.number(X, 0.1)
    assert array_of(value).dtype == np.float32
    assert graph.half


def test_numbers_that_change_nothing_add_nothing(graph: GraphBuilder) -> None:
    assert graph.scaled(X, 1) == X
    assert graph.shifted(X, 0) == X
    assert graph.split(X, 1, [5]) == (X,)
    assert graph.by_time(X) == (X,)
    assert not graph.ops


@pytest.mark.parametrize("opset", [13, 18])
def test_axes_are_an_attribute_or_an_input(opset: int) -> None:
    graph = GraphBuilder(opset, dn.PJREDDIE, time_steps=2)
    graph.reduce("ReduceMax", X, 1)
    graph.reduce("ReduceSum", X, 1)
    graph.by_time(X)
    largest, total, split = graph.ops
    assert ("axes" in largest.attributes) == (opset == 13)
    assert len(total.inputs) == 2
    assert ("num_outputs" in split.attributes) == (opset == 18)


def test_what_needs_a_size_refuses_any() -> None:
    graph = GraphBuilder(18, dn.PJREDDIE, fixed_size=False)
    with pytest.raises(dn.ExportError, match=r"^a crop needs a fixed input size; drop --any-size$"):
        graph.require_fixed_size("a crop")
