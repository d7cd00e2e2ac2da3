"""Plain graphs as other programs write them, and the sections that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def plain(
    path: Path,
    *nodes: str,
    outputs: str = "y",
    opset: int = 18,
    dims: tuple[object, ...] = (1, 4, 8, 6),
    **constants: np.ndarray,
) -> Path:
    """Write a graph: nodes as ``y = Kind(x, w) key=value``."""
    made = []
    for number, text in enumerate(nodes):
        out, _, rest = text.partition(" = ")
        call, _, attributes = rest.partition(") ")
        kind, _, inputs = call.rstrip(")").partition("(")
        given = {}
        for each in attributes.split():
            key, _, value = each.partition("=")
            parts = [float(v) if "." in v else int(v) if v.lstrip("-").isdigit() else v
                     for v in value.strip("[]").split(",")]  # fmt: skip
            given[key] = parts if value.startswith("[") else parts[0]
        names = [each.strip() for each in inputs.split(",")]
        outs = [each.strip() for each in out.split(",")]
        made.append(helper.make_node(kind, names, outs, name=f"n{number}", **given))
    graph = helper.make_graph(
        made,
        "plain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs.split()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model, data_prop=True), path)
    return path


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


W, B = normal(5, 4, 3, 3), normal(5)
V = np.linspace(0.3, 2, 5, dtype=np.float32)
NORM = {"w": W, "s": normal(5), "t": normal(5), "m": normal(5), "v": V}
CONV = "c = Conv(x, w) pads=[1,1,1,1]"
BN = "BatchNormalization({}, s, t, m, v)"
UP = np.array([1, 1, 2, 2], np.float32)

GRAPHS: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "conv": (("y = Conv(x, w, b)",), {"w": W, "b": B}, "convolutional"),
    "strides": (("y = Conv(x, w) strides=[2,1] pads=[2,2,2,2]",), {"w": W}, "convolutional"),
    "groups": (("y = Conv(x, w) group=2",), {"w": normal(6, 2, 2, 2)}, "convolutional"),
    "dilation": (
        ("y = Conv(x, w) dilations=[2,2] pads=[2,2,2,2]",), {"w": W}, "convolutional"
    ),
    "batch norm": ((CONV, f"y = {BN.format('c')}"), NORM, "convolutional"),
    "another epsilon": (
        (CONV, f"d = {BN.format('c')} epsilon=0.001", "y = LeakyRelu(d) alpha=0.1"),
        NORM,
        "convolutional",
    ),
    "biases under batch norm": (
        ("c = Conv(x, w, b)", f"y = {BN.format('c')}"), {**NORM, "b": B}, "convolutional"
    ),
    "batch norm alone": (
        ("c = Relu(x)", "d = Conv(c, w)", "e = Relu(d)", f"y = {BN.format('e')}"),
        NORM,
        "activation convolutional batchnorm",
    ),
    "read twice": ((CONV, "d = Relu(c)", "y = Add(c, d)"), {"w": W},
                   "convolutional activation shortcut"),
    "added biases": (("c = Conv(x, w)", "y = Add(b, c)"), {"w": W, "b": B.reshape(5, 1, 1)},
                     "convolutional"),
    "swish": ((CONV, "d = Sigmoid(c)", "y = Mul(d, c)"), {"w": W}, "convolutional"),
    "mish of old": (
        (CONV, "d = Softplus(c)", "e = Tanh(d)", "y = Mul(c, e)"), {"w": W}, "convolutional"
    ),
    "mish": ((CONV, "y = Mish(c)"), {"w": W}, "convolutional"),
    "relu6": ((CONV, "y = Clip(c, lo, hi)"),
              {"w": W, "lo": np.float32(0), "hi": np.float32(6)}, "convolutional"),
    "two activations": ((CONV, "d = Tanh(c)", "y = Elu(d)"), {"w": W},
                        "convolutional activation"),
    "residual": (
        (CONV, "d = Conv(c, u)", "e = Add(d, c)", "y = LeakyRelu(e) alpha=0.1"),
        {"w": W, "u": normal(5, 5, 1, 1)},
        "convolutional convolutional shortcut",
    ),
    "residual of one before": (
        (CONV, "d = Conv(c, u)", "e = MaxPool(c) kernel_shape=[1,1]", "y = Sum(c, d)"),
        {"w": W, "u": normal(5, 5, 1, 1)},
        "convolutional convolutional shortcut",
    ),
    "max pool": (("y = MaxPool(x) kernel_shape=[2,2] strides=[2,2]",), {}, "maxpool"),
    "max pool with pads": (
        ("y = MaxPool(x) kernel_shape=[2,2] strides=[1,1] pads=[0,0,1,1]",), {}, "maxpool"
    ),
    "max pool that rounds up": (
        ("y = MaxPool(x) kernel_shape=[3,3] strides=[2,2] ceil_mode=1",), {}, "maxpool"
    ),
    "average pool that rounds up": (
        ("y = AveragePool(x) kernel_shape=[3,3] pads=[1,1,1,1] strides=[2,2] ceil_mode=1",), {},
        "local_avgpool",
    ),
    "max pool with fewer pads behind": (
        ("y = MaxPool(x) kernel_shape=[3,3] strides=[2,2] pads=[1,1,0,0]",), {}, "maxpool"
    ),
    "average pool": (("y = AveragePool(x) kernel_shape=[2,2] strides=[2,2]",), {},
                     "local_avgpool"),
    "average pool with pads": (
        ("y = AveragePool(x) kernel_shape=[3,3] pads=[1,1,1,1] strides=[2,2]",), {},
        "local_avgpool",
    ),
    "mean": (("y = GlobalAveragePool(x)",), {}, "avgpool"),
    "mean of axes": (("y = ReduceMean(x, a)",), {"a": ints(-1, -2)}, "avgpool"),
    "mean as a row": (
        ("d = ReduceMean(x, a) keepdims=0", "y = Gemm(d, u)"),
        {"a": ints(2, 3), "u": normal(4, 3)},
        "avgpool connected",
    ),
    "resize": (
        ("y = Resize(x, , f) mode=nearest coordinate_transformation_mode=asymmetric"
         " nearest_mode=floor",),
        {"f": UP},
        "upsample",
    ),
    "resize to a size": (("y = Resize(x, , , z) mode=nearest",), {"z": ints(1, 4, 24, 18)},
                         "upsample"),
    "concat": ((CONV, "d = MaxPool(c) kernel_shape=[1,1]", "y = Concat(d, c) axis=1"),
               {"w": W}, "convolutional maxpool route"),
    "split": (
        ("c = Conv(x, w)", "p, q = Split(c) axis=1 num_outputs=2", "d = Tanh(p)",
         "y = Concat(q, d) axis=-3"),
        {"w": normal(6, 4, 1, 1)},
        "convolutional route route route activation route",
    ),
    "slice": (("c = Conv(x, w)", "y = Slice(c, f, g, a)"),
              {"w": normal(6, 4, 1, 1), "f": ints(-2), "g": ints(2**62), "a": ints(1)},
              "convolutional route"),
    "factors of channels": (
        (CONV, "d = GlobalAveragePool(c)", "e = Sigmoid(d)", "y = Mul(c, e)"), {"w": W},
        "convolutional avgpool activation scale_channels",
    ),
    "factors of pixels": (
        (CONV, "d = Conv(c, u)", "e = Sigmoid(d)", "y = Mul(c, e)"),
        {"w": W, "u": normal(5, 5, 1, 1)},
        "convolutional convolutional sam",
    ),
    "classifier": (
        (CONV, "d = GlobalAveragePool(c)", "e = Flatten(d)", "f = Gemm(e, u, b) transB=1",
         "y = Softmax(f) axis=-1"),
        {"w": W, "u": normal(3, 5), "b": normal(3)},
        "convolutional avgpool connected softmax",
    ),
    "matrix of an image": (
        ("r = Reshape(x, z)", "f = MatMul(r, u)", "g = Add(f, b)", "y = Relu(g)"),
        {"z": ints(1, -1), "u": normal(192, 3), "b": normal(3)},
        "connected",
    ),
    "batch norm of a row": (
        ("r = Flatten(x)", "f = Gemm(r, u)", f"y = {BN.format('f')}"),
        {"u": normal(192, 5), **{key: NORM[key] for key in "stmv"}},
        "connected",
    ),
    "squeezed": (
        ("d = GlobalAveragePool(x)", "e = Squeeze(d, a)", "f = Gemm(e, u)",
         "g = Unsqueeze(f, a)", "y = Conv(g, k)"),
        {"a": ints(2, 3), "u": normal(4, 3), "k": normal(2, 3, 1, 1)},
        "avgpool connected convolutional",
    ),
    "the same shape": (("r = Reshape(x, z)", "y = Conv(r, w)"),
                       {"z": ints(-1, 4, 8, 6), "w": W}, "convolutional"),
    "a shape that is computed": (
        ("s = Shape(x)", "n = Gather(s, i)", "z = Concat(n, l) axis=0", "r = Reshape(x, z)",
         "t = Transpose(u) perm=[1,0]", "y = MatMul(r, t)"),
        {"i": ints(0), "l": ints(-1), "u": normal(3, 192)},
        "connected",
    ),
    "what changes nothing": (
        ("a = Identity(x)", "b = Dropout(a)", "c = Cast(b) to=1", "y = Conv(c, w)", "u = Exp(y)"),
        {"w": W},
        "convolutional",
    ),
}  # fmt: skip
