"""Activations in ONNX's operators as Darknet's: one node, or several nodes that form one."""

from __future__ import annotations

import numpy as np

from darknet_bn.convert.onnx.node import OnnxNode
from darknet_bn.graph.graph import Graph, Op, Value, count_uses
from darknet_bn.kernels.activations import LEAKY, RELIE, SELU, SELU_ALPHA

_ACTIVATED = ("convolutional", "connected", "shortcut")
_ACTIVATIONS = {
    "Relu": "relu",
    "Sigmoid": "logistic",
    "Tanh": "tanh",
    "Elu": "elu",
    "Selu": "selu",
    "Mish": "mish",
    "Swish": "swish",
}


def fused(graph: Graph) -> tuple[Op, ...]:
    """Return the nodes that the outputs need, with one node for several that form an activation.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    ops : tuple of Op
        ``Swish`` means x sigmoid(x), ``Mish`` means x tanh(log(1 + e^x)).
    """
    uses = count_uses(graph.ops, graph.outputs)

    def chain(value: Value | None, *kinds: str) -> Value | None:
        """Return the input of a chain of nodes of these kinds, the last of which makes a value."""
        for kind in reversed(kinds):
            op = None if value is None else value.op
            if value is None or op is None or op.kind != kind or uses[value] != 1:
                return None
            (value, *_) = op.inputs
        return value

    activations: dict[Op, Op] = {}
    for op in graph.ops:
        if op.kind == "Mul" and len(op.inputs) == 2:
            for x, factor in (op.inputs, op.inputs[::-1]):
                for kind, kinds in (("Swish", ("Sigmoid",)), ("Mish", ("Softplus", "Tanh"))):
                    if chain(factor, *kinds) == x and (kind == "Mish" or x != factor):
                        activations[op] = Op(kind, op.name, (x,), {}, op.outputs)
    ops = [activations.get(op, op) for op in graph.ops]
    needed, kept = set(graph.outputs), []
    for op in reversed(ops):
        if needed & set(op.outputs):
            needed |= {value for value in op.inputs if value is not None}
            kept.append(op)
    return tuple(reversed(kept))


def activation_of(node: OnnxNode) -> str | None:
    """Return Darknet's name for a node that is an activation; None for other nodes."""
    kind = node.op.kind
    if kind == "LeakyRelu":
        alpha = np.float32(node.get("alpha", 0.01))
        for name, slope in (("leaky", LEAKY), ("relie", RELIE)):
            if alpha == np.float32(slope):
                return name
        node.refuse(
            "Darknet has no activation with this slope", f"{LEAKY:g} or {RELIE:g}", f"{alpha:g}"
        )
    if kind == "Elu":
        node.require("alpha", 1.0, 1.0)
    if kind == "Selu":
        factors = [np.float32(node.get(key, 0.0)) for key in ("alpha", "gamma")]
        if factors != [SELU_ALPHA / SELU, SELU]:
            node.refuse(
                "Darknet has no activation with these factors", "1.6732 and 1.0507", factors
            )
    if kind == "Clip":
        bounds = [node.get(key, None) for key in ("min", "max")]
        for number in (1, 2):
            if len(node.op.inputs) > number:
                bounds[number - 1] = float(node.floats(number, 1)[0])
        if bounds not in ([0.0, 6.0], [-1.0, 1.0]):
            node.refuse("Darknet has no activation with these bounds", "0 to 6, or -1 to 1", bounds)
        return "relu6" if bounds[0] == 0 else "hardtan"
    return _ACTIVATIONS.get(kind)


def activate(node: OnnxNode, activation: str) -> None:
    """Make an activation a part of the layer before it, or a layer."""
    section = node.single()
    if (
        section is not None
        and section.name in _ACTIVATED
        and section.options["activation"] == "linear"
    ):
        section.options["activation"] = activation
        node.made.extend(section, node.out)
    else:
        x = node.place(0)
        node.made.add("activation", node.out, x, x.shape, {"activation": activation})
