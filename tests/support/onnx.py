"""Graphs and exported files for tests that run them themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

import darknet_bn as dn
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value

write_onnx = partial(dn.export_onnx, prove=False)


def run_graph(graph: GraphBuilder, given: Mapping[Value, np.ndarray], y: Value) -> np.ndarray:
    """Run a graph in ONNX Runtime, with nothing between it and the program that could mend it."""
    (array,) = run_values(graph, given, [y])
    return array


def run_values(
    graph: GraphBuilder, given: Mapping[Value, np.ndarray], values: Sequence[Value]
) -> list[np.ndarray]:
    """Run a graph in ONNX Runtime, and return some of its values in float32."""
    import onnx
    import onnxruntime

    def info(name: str, array: np.ndarray | None) -> onnx.ValueInfoProto:
        shape = None if array is None else array.shape
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    nodes = [
        onnx.helper.make_node(
            op.kind,
            ["" if each is None else each.name for each in op.inputs],
            [each.name for each in op.outputs],
            **{
                key: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
                for key, value in op.attributes.items()
            },
        )
        for op in graph.ops
    ]
    if not values:
        return []
    names = [f"y{number}" for number in range(len(values))]
    nodes += [
        onnx.helper.make_node("Identity", [value.name], [name])
        for value, name in zip(values, names, strict=True)
    ]
    whole = onnx.helper.make_graph(
        nodes,
        "graph",
        [info(value.name, array) for value, array in given.items()],
        [info(name, None) for name in names],
        [
            onnx.numpy_helper.from_array(np.asarray(each.array), each.name)
            for each in graph.constants
        ],
    )
    imports = [onnx.helper.make_opsetid("", graph.opset)]
    version = onnx.helper.find_min_ir_version_for(imports)
    model = onnx.helper.make_model(whole, opset_imports=imports, ir_version=version)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    arrays: list[np.ndarray] = session.run(
        names, {value.name: array for value, array in given.items()}
    )
    return arrays
