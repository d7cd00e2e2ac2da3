"""Graphs as TFLite files for tests that run them themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darknet_bn.convert.tflite.flat_model import FlatModel
from darknet_bn.convert.tflite.lower import lowered
from darknet_bn.graph.graph import Graph, Value


def run_graph(
    graph: Graph, given: Mapping[Value, np.ndarray], y: Value, *, delegates: bool
) -> np.ndarray:
    """Run a graph in LiteRT, with or without XNNPACK; all in Darknet's order."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    made = lowered(graph, {value: array.shape for value, array in given.items()}, {"y": y})
    kind = OpResolverType.AUTO if delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=made.model.bytes("a test"), experimental_op_resolver_type=kind, num_threads=1
    )
    runner = interpreter.get_signature_runner()
    found = runner(
        **{
            graph.name(value): array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
            for value, array in given.items()
            if graph.name(value) in made.model.inputs
        }
    )["y"]
    return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found


def kinds_of(model: FlatModel) -> list[str]:
    """The operators of a model, in the order in which they run."""
    return [each.kind for each in model.operators]
