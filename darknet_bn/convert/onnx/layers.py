"""Layers that compute, in ONNX's operators: convolutions, matrices, batch norm, pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.convert.onnx.node import OnnxNode
from darknet_bn.dialect import ALEXEYAB
from darknet_bn.layers.shape import Shape

NORMALISED = ("convolutional", "connected")  # the layers that can have batch norm of their own
_AXES = (2, 3)  # the axes of rows and columns


def convolution(node: OnnxNode) -> None:
    """``Conv``."""
    x, weights = node.image(), node.floats(1)
    if weights.ndim != 4 or weights.shape[2] != weights.shape[3]:
        node.refuse("the filters are not square", "(f, c, k, k)", weights.shape)
    filters, k = weights.shape[0], weights.shape[2]
    groups, dilation = node.get("group", 1), node.counts("dilations", 2, 1, 1)
    pads, strides = node.counts("pads", 4, 0, 0), node.counts("strides", 2, 1, 1)
    node.require("auto_pad", "NOTSET", "NOTSET", "VALID")
    if dilation[0] != dilation[1]:
        node.refuse("rows and columns are dilated differently", "one number", dilation)
    # Darknet counts windows as if they were not dilated, which is the same at half the size.
    pad, rest = divmod(pads[0], dilation[0])
    if len(set(pads)) != 1 or rest or (dilation[0] > 1 and 2 * pad != k - 1):
        node.refuse("Darknet pads all sides equally", found=f"pads {pads}")
    if min(x.shape.h, x.shape.w) + 2 * pad < k or weights.shape[1] * groups != x.shape.c:
        node.refuse("the filters do not fit the image", f"{x.shape}", weights.shape)
    shape = Shape(
        filters,
        (x.shape.h + 2 * pad - k) // strides[0] + 1,
        (x.shape.w + 2 * pad - k) // strides[1] + 1,
    )
    has_biases = len(node.op.inputs) > 2 and node.op.inputs[2]
    biases = node.floats(2, filters) if has_biases else np.zeros(filters, np.float32)
    halves = k > 1 and pad == k // 2
    node.made.add(
        "convolutional",
        node.out,
        x,
        shape,
        {
            "batch_normalize": None,
            "filters": filters,
            "size": k,
            **_strides(strides),
            "pad": 1 if halves else None,
            "padding": pad if pad and not halves else None,
            "groups": groups if groups > 1 else None,
            "dilation": dilation[0] if dilation[0] > 1 else None,
            "activation": "linear",
        },
        {"weights": weights, "biases": biases},
    )


def full(node: OnnxNode) -> None:
    """``Gemm``, ``MatMul``."""
    x, weights = node.place(0), node.floats(1)
    for key in ("alpha", "beta"):
        node.require(key, 1.0, 1.0)
    node.require("transA", 0, 0)
    if not x.shape.flat:
        node.refuse("its input is an image, not a row of values", "a Flatten before it")
    rows = weights if node.get("transB", 0) else weights.T
    if rows.ndim != 2 or rows.shape[1] != x.shape.size:
        node.refuse("the matrix does not fit the input", f"{x.shape.size} inputs", weights.shape)
    count = rows.shape[0]
    has_biases = len(node.op.inputs) > 2
    biases = node.floats(2, count) if has_biases else np.zeros(count, np.float32)
    node.made.add(
        "connected",
        node.out,
        x,
        Shape(count, flat=True),
        {"batch_normalize": None, "output": count, "activation": "linear"},
        {"weights": np.ascontiguousarray(rows), "biases": biases},
    )


def batch_norm(node: OnnxNode) -> None:
    """``BatchNormalization``: a part of the layer before it, or a layer."""
    x = node.place(0)
    if x.shape.flat and x.shape.h * x.shape.w > 1:
        node.refuse("its input is a row of values, not an image")
    node.require("training_mode", 0, 0)
    scales, biases, mean, variance = (node.floats(number, x.shape.c) for number in (1, 2, 3, 4))
    variance = _variance(node, variance)
    section = node.single()
    if (
        section is None
        or section.name not in NORMALISED
        or (section.options["activation"], section.options["batch_normalize"]) != ("linear", None)
    ):
        arrays = {"scales": scales, "rolling_mean": mean, "rolling_variance": variance}
        node.made.add("batchnorm", node.out, x, x.shape, {}, arrays | {"biases": biases})
        return
    section.options["batch_normalize"] = 1
    section.arrays |= {
        "biases": biases,
        "scales": scales,
        "rolling_mean": mean - section.arrays["biases"],
        "rolling_variance": variance,
    }
    node.made.extend(section, node.out)


def _variance(node: OnnxNode, variance: F32) -> F32:
    """Return the variance that gives the same divisor with Darknet's constant."""
    eps, ours = np.float32(node.get("epsilon", 1e-5)), np.float32(ALEXEYAB.eps)
    if eps == ours:
        return variance
    changed = (variance.astype(np.float64) + float(eps) - float(ours)).astype(np.float32)
    if np.any(changed < 0):
        node.refuse("epsilon is too small", f"{ours:g} or more", f"{eps:g}")
    return changed


def pooling(node: OnnxNode) -> None:
    """``MaxPool``, ``AveragePool``."""
    x, kernel = node.image(), node.counts("kernel_shape", 2, 0, 1)
    pads, strides = node.counts("pads", 4, 0, 0), node.counts("strides", 2, 1, 1)
    node.require("auto_pad", "NOTSET", "NOTSET", "VALID")
    node.require("dilations", [1, 1], [1, 1])
    is_max = node.op.kind == "MaxPool"
    if not is_max and any(pads):
        node.require("count_include_pad", 0, 0)
    if kernel[0] != kernel[1]:
        node.refuse("the windows are not square", found=kernel)
    k, begin, sizes = kernel[0], pads[0], (x.shape.h, x.shape.w)
    counts = []
    for size, stride, end in zip(sizes, strides, pads[2:], strict=True):
        steps, rest = divmod(size + begin + end - k, stride)
        if rest and node.get("ceil_mode", 0) and (steps + 1) * stride < size + begin:
            steps += 1
        counts.append(steps + 1)
    # Darknet has as many windows as fit, and an odd padding adds its extra pixel at the end.
    for padding in (2 * begin, 2 * begin + 1):
        found = [(n + padding - k) // s + 1 for n, s in zip(sizes, strides, strict=True)]
        if found == counts and pads[1] == begin and min(sizes) + padding >= k:
            break
    else:
        node.refuse("Darknet pads all sides equally, or one more at the end", found=f"pads {pads}")
    node.made.add(
        "maxpool" if is_max else "local_avgpool",
        node.out,
        x,
        Shape(x.shape.c, counts[0], counts[1]),
        {"size": k, **_strides(strides), "padding": padding},
    )


def mean(node: OnnxNode) -> None:
    """``GlobalAveragePool``, ``ReduceMean`` over rows and columns."""
    x, flat = node.image(), False
    if node.op.kind == "ReduceMean":
        axes, flat = node.ints("axes", 1) or [], not node.get("keepdims", 1)
        if sorted(axis % 4 for axis in axes) != list(_AXES):
            node.refuse("Darknet has only the mean of a whole image", "axes 2 and 3", axes)
    node.made.add("avgpool", node.out, x, Shape(x.shape.c, flat=flat), {})


def larger(node: OnnxNode) -> None:
    """``Resize``, ``Upsample``: each pixel becomes a square of pixels."""
    x = node.image()
    node.require("mode", "nearest", "nearest")
    how = (
        node.get("coordinate_transformation_mode", "half_pixel"),
        node.get("nearest_mode", "round_prefer_floor"),
    )
    half = ("half_pixel", "pytorch_half_pixel")
    if node.op.kind == "Resize" and not (
        how == ("asymmetric", "floor") or (how[0] in half and how[1].startswith("round"))
    ):
        node.refuse(
            "the pixels are taken from different positions", "asymmetric, floor", ", ".join(how)
        )
    factors = _factors(node, x.shape)
    if len(set(factors)) != 1 or factors[0] < 1 or factors[0] % 1:
        node.refuse("rows and columns are not enlarged by one whole number", found=factors)
    stride = int(factors[0])
    shape = Shape(x.shape.c, x.shape.h * stride, x.shape.w * stride)
    node.made.add("upsample", node.out, x, shape, {"stride": stride})


def _factors(node: OnnxNode, shape: Shape) -> list[float]:
    number = 1 if node.op.kind == "Upsample" else 2
    if "scales" in node.op.attributes:
        scales = [float(each) for each in node.op.attributes["scales"]]  # type: ignore[union-attr]
    elif (found := node.constant(number)) is not None and found.size:
        scales = [float(each) for each in found.reshape(-1)]
    else:
        sizes = node.ints("sizes", 3) or []
        scales = [1.0, *(a / b for a, b in zip(sizes[1:], shape.dims, strict=False))]
    if len(scales) != 4 or scales[:2] != [1.0, 1.0]:
        node.refuse("only rows and columns can be enlarged", "4 factors", scales)
    return scales[2:]


def _strides(strides: Sequence[int]) -> dict[str, int]:
    y, x = strides
    return {"stride": x} if x == y else {"stride_x": x, "stride_y": y}
