"""A graph: names, constants, precision."""

from __future__ import annotations

import numpy as np
import pytest

import darknet_bn as dn
from darknet_bn.graph.graph import Graph


@pytest.fixture
def graph() -> Graph:
    return Graph(18, dn.PJREDDIE)


def test_names_say_where_a_value_comes_from(graph: Graph) -> None:
    with graph.within("layer_007"):
        first, second = graph.add("Relu", "x"), graph.add("Relu", "x")
        weights = graph.constant("weights", np.ones(3, np.float32))
        with graph.part("wz"):
            inner = graph.constant("weights", np.zeros(3, np.float32))
    assert (first, second) == ("layer_007/Relu", "layer_007/Relu_2")
    assert (weights, inner) == ("layer_007.weights", "layer_007.wz.weights")
    assert [op.name for op in graph.ops] == [first, second]


def test_a_value_gets_another_name_wherever_it_is_used(graph: Graph) -> None:
    value = graph.add("Relu", "x")
    graph.add("Add", value, value)
    graph.rename(value, "layer_000")
    relu, add = graph.ops
    assert relu.outputs == ("layer_000",)
    assert add.inputs == ("layer_000", "layer_000")


def test_an_array_that_layers_share_is_there_once(graph: Graph) -> None:
    shared = np.ones(3, np.float32)
    with graph.within("layer_000"):
        name = graph.constant("weights", shared)
    with graph.within("layer_001"):
        assert graph.constant("weights", shared) == name
        assert graph.constant("weights", shared.copy()) == "layer_001.weights"
    assert list(graph.constants) == ["layer_000.weights", "layer_001.weights"]


def test_float64_is_rounded_once(graph: Graph) -> None:
    name = graph.constant("x", np.array([1 / 3], np.float64))
    assert graph.constants[name].dtype == np.float32
    assert graph.constants[name] == np.float32(1 / 3)


def test_float16_holds_what_it_can(graph: Graph) -> None:
    graph.half = True
    name = graph.constant("x", np.array([65504, -np.inf, 0.1], np.float32))
    np.testing.assert_array_equal(
        graph.constants[name], np.array([65504, -np.inf, 0.1], np.float16)
    )
    exact = graph.constant("scales", np.ones(4, np.float32), exact=True)
    assert graph.constants[exact].dtype == np.float32
    with pytest.raises(
        dn.ExportError,
        match=r"input\.y does not fit into float16 \(expected at most 65504, found 70000\)",
    ):
        graph.constant("y", np.array([1, 7e4], np.float32))


def test_single_precision_is_for_a_part_only(graph: Graph) -> None:
    graph.half = True
    with graph.single():
        name = graph.number("x", 0.1)
    assert graph.constants[name].dtype == np.float32
    assert graph.half


def test_numbers_that_change_nothing_add_nothing(graph: Graph) -> None:
    assert graph.scaled("x", 1) == "x"
    assert graph.shifted("x", 0) == "x"
    assert graph.split("x", 1, [5]) == ("x",)
    assert graph.by_time("x") == ("x",)
    assert not graph.ops


@pytest.mark.parametrize("opset", [13, 18])
def test_axes_are_an_attribute_or_an_input(opset: int) -> None:
    graph = Graph(opset, dn.PJREDDIE, time_steps=2)
    graph.reduce("ReduceMax", "x", 1)
    graph.reduce("ReduceSum", "x", 1)
    graph.by_time("x")
    largest, total, split = graph.ops
    assert ("axes" in largest.attributes) == (opset == 13)
    assert len(total.inputs) == 2
    assert ("num_outputs" in split.attributes) == (opset == 18)


def test_what_needs_a_size_refuses_any() -> None:
    graph = Graph(18, dn.PJREDDIE, fixed_size=False)
    with pytest.raises(dn.ExportError, match=r"^a crop needs a fixed input size; drop --any-size$"):
        graph.require_fixed_size("a crop")
