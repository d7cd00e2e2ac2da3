"""A folded model as ONNX by hand, to measure against: only the layers of the measured nets.

It is deliberately a second writer: the files of `darknet-bn export` are measured against it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import darknet_bn as dn


def write_onnx(model: dn.Model, path: Path) -> None:
    """Write the layers.

    Parameters
    ----------
    model : Model
        A model of convolutional (linear, leaky, mish, logistic, swish), maxpool, upsample, route,
        shortcut and yolo layers.
    path : Path
        The ``.onnx`` to write, for a batch of one.
    """
    graph = _Graph()
    folded = dn.fold_batchnorm(model)
    shape = folded.network.input
    for index, node in enumerate(folded.network.nodes):
        xs = [graph.names[source] for source in node.sources]
        kind = node.layer.names[0]
        make = getattr(graph, kind, None)
        if node.layer.is_alias(node.xs):
            graph.names[index] = xs[0]
        elif make is None:
            raise dn.DarknetError(f"[{kind}] cannot be measured as ONNX")
        else:
            graph.names[index] = make(index, node, xs, folded.params[index])
    outputs = [
        helper.make_tensor_value_info(graph.names[index], TensorProto.FLOAT, None)
        for index in folded.network.outputs
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape.dims])
    made = helper.make_graph(graph.nodes, "darknet", [x], outputs, graph.weights)
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(made, opset_imports=[opset], ir_version=9), path)


class _Graph:
    """Nodes and constants, with one method for each kind of layer."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.names = {-1: "x"}

    def add(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def activation(self, index: int, x: str, name: str) -> str:
        y = f"y{index}"
        if name == "leaky":
            return self.add("LeakyRelu", [x], y, alpha=0.1)
        if name == "swish":
            return self.add("Mul", [x, self.add("Sigmoid", [x], f"s{index}")], y)
        plain = {"mish": "Mish", "logistic": "Sigmoid", "relu": "Relu", "linear": "Identity"}
        return self.add(plain[name], [x], y)

    def convolutional(self, index: int, node: object, xs: list[str], p: dn.Params) -> str:
        g = node.layer.geometry
        y = self.add(
            "Conv",
            [
                *xs,
                self.constant(f"w{index}", p["weights"]),
                self.constant(f"b{index}", p["biases"]),
            ],
            f"c{index}",
            strides=[g.stride_y, g.stride_x],
            pads=[g.pad * g.dilation] * 4,
            dilations=[g.dilation] * 2,
            group=g.groups,
        )
        return self.activation(index, y, node.layer.activation)

    def maxpool(self, index: int, node: object, xs: list[str], p: dn.Params) -> str:
        w = node.layer.window
        before, after = w.padding // 2, w.padding - w.padding // 2
        return self.add(
            "MaxPool",
            xs,
            f"y{index}",
            kernel_shape=[w.size] * 2,
            strides=[w.stride_y, w.stride_x],
            pads=[before, before, after, after],
        )

    def upsample(self, index: int, node: object, xs: list[str], p: dn.Params) -> str:
        scales = np.array([1, 1, node.layer.stride, node.layer.stride], np.float32)
        return self.add(
            "Resize",
            [xs[0], "", self.constant(f"s{index}", scales)],
            f"y{index}",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def route(self, index: int, node: object, xs: list[str], p: dn.Params) -> str:
        groups = node.layer.groups
        if groups > 1:
            part = node.xs[0].c // groups
            first = part * node.layer.group_id
            bounds = [
                self.constant(f"{what}{index}", np.array([value], np.int64))
                for what, value in (("from", first), ("to", first + part), ("axis", 1))
            ]
            return self.add("Slice", [xs[0], *bounds], f"y{index}")
        return self.add("Concat", xs, f"y{index}", axis=1)

    def shortcut(self, index: int, node: object, xs: list[str], p: dn.Params) -> str:
        return self.activation(index, self.add("Sum", xs, f"c{index}"), node.layer.activation)

    def yolo(self, index: int, node: object, xs: list[str], p: dn.Params) -> str:
        planes = node.xs[0].c // len(node.layer.masks)
        at = np.arange(node.xs[0].c) % planes
        raw = self.constant(f"r{index}", ((at == 2) | (at == 3)).reshape(-1, 1, 1))
        y = self.add("Where", [raw, xs[0], self.add("Sigmoid", xs, f"s{index}")], f"y{index}")
        scale = node.layer.scale_x_y
        if scale == 1:
            return y
        factors = np.where(at < 2, scale, 1).astype(np.float32).reshape(-1, 1, 1)
        shifts = np.where(at < 2, -0.5 * (scale - 1), 0).astype(np.float32).reshape(-1, 1, 1)
        y = self.add("Mul", [y, self.constant(f"f{index}", factors)], f"z{index}")
        return self.add("Add", [y, self.constant(f"a{index}", shifts)], f"o{index}")
