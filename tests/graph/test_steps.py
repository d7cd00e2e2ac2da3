"""A graph of a sequence, with each image apart."""

from __future__ import annotations

import numpy as np

from darknet_bn.graph.graph import Graph, Value
from darknet_bn.graph.steps import apart


def test_each_image_has_its_operators_and_all_have_the_constants() -> None:
    graph, x = Graph(), Value("x")
    graph.inputs.append(x)
    weights = graph.add_constant("w", np.ones(1, np.float32))
    (y,) = graph.add_op("Mul", "layer_000/Mul", [x, weights], ["m"], {}).outputs
    graph.names[y] = "layer_000"
    graph.outputs = [y]
    single, values = apart(graph, 2)
    assert [op.name for op in single.ops] == ["layer_000/Mul_0", "layer_000/Mul_1"]
    assert [op.inputs for op in single.ops] == [(each, weights) for each in single.inputs]
    assert [single.name(each) for each in single.inputs] == ["x_0", "x_1"]
    assert [single.name(each) for each in single.outputs] == ["layer_000_0", "layer_000_1"]
    assert values[y] == tuple(single.outputs)


def test_what_cuts_and_joins_the_batch_is_gone() -> None:
    graph, x = Graph(), Value("x")
    graph.inputs.append(x)
    first, second = graph.add_op("Split", "s", [x], ["a", "b"], {"axis": 0}).outputs
    (sums,) = graph.add_op("Add", "add", [first, second], ["c"], {}).outputs
    (y,) = graph.add_op("Concat", "j", [sums, first], ["d"], {"axis": 0}).outputs
    single, values = apart(graph, 2)
    assert [op.kind for op in single.ops] == ["Add"]
    assert single.ops[0].inputs == tuple(single.inputs)
    assert values[y] == (single.ops[0].outputs[0], single.inputs[0])


def test_what_cuts_other_axes_stays() -> None:
    graph, x = Graph(), Value("x")
    graph.inputs.append(x)
    graph.add_op("Split", "s", [x], ["a", "b"], {"axis": 1})
    single, _ = apart(graph, 3)
    assert [op.kind for op in single.ops] == ["Split"] * 3


def test_dimensions_are_not_taken_for_images() -> None:
    graph, x = Graph(), Value("x")
    graph.inputs.append(x)
    (shape,) = graph.add_op("Shape", "shape", [x], ["n"], {}).outputs
    more = graph.add_constant("more", np.array([4, 5]))
    (dims,) = graph.add_op("Concat", "dims", [shape, more], ["d"], {"axis": 0}).outputs
    single, values = apart(graph, 2)
    assert [op.kind for op in single.ops] == ["Shape", "Shape", "Concat", "Concat"]
    assert len(values[dims]) == 2
