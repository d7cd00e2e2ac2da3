"""A graph as data: values know what makes them, and names are the file's."""

from __future__ import annotations

import numpy as np

from darknet_bn.graph.graph import Graph, Value, count_uses


def test_a_value_knows_its_op() -> None:
    graph, x = Graph(), Value("x")
    first, second = graph.add_op("Split", "s", [x], ["a", "b"], {"axis": 1}).outputs
    assert (first.op, first.index, second.op, second.index) == (graph.ops[0], 0, graph.ops[0], 1)
    assert x.op is None
    assert graph.ops[0].outputs == (first, second)


def test_values_of_one_name_are_not_the_same() -> None:
    assert Value("x") != Value("x")


def test_a_file_may_give_a_value_another_name() -> None:
    graph = Graph()
    (value,) = graph.add_op("Relu", "r", [Value("x")], ["r"], {}).outputs
    assert graph.name(value) == "r"
    graph.names[value] = "layer_000"
    assert (graph.name(value), value.name) == ("layer_000", "r")


def test_a_constant_is_kept_as_it_is() -> None:
    graph, array = Graph(), np.ones(3, np.float32)
    value = graph.add_constant("ones", array)
    assert value.array is array
    assert graph.constants == [value]


def test_uses_are_inputs_and_outputs_of_the_graph() -> None:
    graph, x = Graph(), Value("x")
    (y,) = graph.add_op("Add", "a", [x, x], ["y"], {}).outputs
    (z,) = graph.add_op("Resize", "r", [y, None], ["z"], {}).outputs
    assert count_uses(graph.ops, [y, z]) == {x: 2, y: 2, z: 1}
