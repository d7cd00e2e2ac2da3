"""Operators with weights or windows as layers of ncnn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from darknet_bn.convert.ncnn.lowering import Lowering, attribute, output, vector
from darknet_bn.convert.ncnn.net import Option
from darknet_bn.errors import ExportError
from darknet_bn.graph.dims import Size
from darknet_bn.graph.graph import Constant, Op, Value

_MAX, _AVERAGE = 0, 1
_SCALE_PER_GROUP, _SCALE_PER_FILTER = 1, 2
_AS_GIVEN = 1  # the padding, and windows that lie inside it altogether


def convolution(net: Lowering, op: Op) -> None:
    """``Convolution``, or ``ConvolutionDepthWise``, which has groups of any size."""
    weights = net.array(op, 1)
    options = _window(op, weights.shape[2:]) | {0: weights.shape[0], 6: weights.size}
    _add_convolution(net, op, "Convolution", options, weights)


def deconvolution(net: Lowering, op: Op) -> None:
    """``Deconvolution``, or ``DeconvolutionDepthWise``."""
    weights, groups = net.array(op, 1), attribute(op, "group", 1)
    whole, part, *kernel = weights.shape
    apart = weights.reshape(groups, whole // groups, part, *kernel)
    ordered = np.ascontiguousarray(apart.swapaxes(1, 2))
    options = _window(op, tuple(kernel)) | {0: part * groups, 6: weights.size}
    more = attribute(op, "output_padding", [0, 0])
    options |= {18: more[1], 19: more[0]} if any(more) else {}
    _add_convolution(net, op, "Deconvolution", options, ordered)


def _add_convolution(
    net: Lowering, op: Op, kind: str, options: dict[int, Option], weights: Constant
) -> None:
    groups = attribute(op, "group", 1)
    if groups > 1:
        kind, options = f"{kind}DepthWise", options | {7: groups}
    _add_weighted(net, op, kind, options, weights, bias=5, x_shape=net.own_shape(op.inputs[0]))


def matrix(net: Lowering, op: Op) -> None:
    """``InnerProduct``, for a matrix that is known."""
    weights = net.array(op, 1)
    rows = weights if attribute(op, "transB", 0) else weights.T
    x = net.as_it_is(op.inputs[0])
    # of two axes, ncnn would take the first for that of a batch
    shape = x.shape if len(x.shape) != 2 else net.own_shape(op.inputs[0])
    options: dict[int, Option] = {0: rows.shape[0], 2: rows.size}
    _add_weighted(net, op, "InnerProduct", options, rows, bias=1, x_shape=shape)


def _add_weighted(
    net: Lowering,
    op: Op,
    kind: str,
    options: dict[int, Option],
    weights: Constant,
    *,
    bias: int,
    x_shape: Size,
) -> None:
    """Add a layer with weights, with the activation behind it where it has that."""
    groups = attribute(op, "group", 1)
    stored, *scales = net.int8_weights(op, weights, groups) or [net.weights(weights)]
    arrays = [stored]
    if len(op.inputs) > 2:
        options[bias] = 1
        arrays.append(vector(net.array(op, 2)))
    if scales:
        options[8] = _SCALE_PER_GROUP if groups > 1 else _SCALE_PER_FILTER
        arrays += scales
    made, after = output(op), net.only_reader(output(op))
    fused = None if after is None else _activation(net, after, made)
    if after is not None and fused is not None:
        options |= fused
        net.done.add(after)
        made = output(after)
    x = net.blob(op.inputs[0], x_shape)
    net.add(kind, [x], net.own_shape(made), options, arrays, output=made)


def _activation(net: Lowering, op: Op, x: Value) -> dict[int, Option] | None:
    """Return an activation as options of the layer in front of it; None where it has none."""
    if op.inputs[0] is not x:
        return None
    if op.kind == "Relu":
        return {9: 1}
    if op.kind == "LeakyRelu":
        return {9: 2, 10: [float(attribute(op, "alpha", 0.01))]}
    if op.kind == "Clip":
        return {9: 3, 10: [net.array(op, 1).item(), net.array(op, 2).item()]}
    if op.kind == "Sigmoid":
        reader = net.only_reader(output(op))  # x times its sigmoid is an operator of its own
        return None if reader is not None and x in reader.inputs else {9: 4}
    if op.kind == "Mish":
        return {9: 5}
    return None


def _window(op: Op, kernel: Size) -> dict[int, Option]:
    """Return kernel, steps and padding as convolutions have them."""
    strides, dilations = attribute(op, "strides", [1, 1]), attribute(op, "dilations", [1, 1])
    top, left, bottom, right = attribute(op, "pads", [0] * 4)
    return _unless_default(
        (0, {1: kernel[1], 11: kernel[0]}),
        (1, {2: dilations[1], 12: dilations[0]}),
        (1, {3: strides[1], 13: strides[0]}),
        (0, {4: left, 14: top, 15: right, 16: bottom}),
    )


def _unless_default(*groups: tuple[int, Mapping[int, int]]) -> dict[int, Option]:
    """Return options without those that are left at their default.

    The first of a group has one of its own; that of the others is the first.
    """
    kept: dict[int, Option] = {}
    for default, group in groups:
        (key, first), *rest = group.items()
        kept |= {key: first} if first != default else {}
        kept |= rest if any(value != first for _, value in rest) else []
    return kept


def pooling(net: Lowering, op: Op) -> None:
    """``Pooling`` of windows that lie inside of image and padding."""
    kernel = attribute(op, "kernel_shape")
    strides = attribute(op, "strides", [1, 1])
    top, left, bottom, right = attribute(op, "pads", [0] * 4)
    average = op.kind == "AveragePool"
    if average and attribute(op, "count_include_pad", 0):
        raise ExportError("ncnn cannot average over the padding")
    options = _unless_default(
        (0, {1: kernel[1], 11: kernel[0]}),
        (1, {2: strides[1], 12: strides[0]}),
        (0, {3: left, 13: top, 14: right, 15: bottom}),
    )
    options |= {0: _AVERAGE if average else _MAX, 5: _AS_GIVEN}
    x, y = net.blob(op.inputs[0]), output(op)
    net.add("Pooling", [x], net.own_shape(y), options, output=y)


def global_pooling(net: Lowering, op: Op) -> None:
    """``Pooling`` of the whole image, whose result has one axis."""
    x = net.blob(op.inputs[0])
    net.add("Pooling", [x], x.shape[:1], {0: _AVERAGE, 4: 1}, output=output(op))


def batch_norm(net: Lowering, op: Op) -> None:
    """``Scale``, by factors and summands that are computed once."""
    scale, bias, mean, variance = (net.array(op, index).astype(np.float64) for index in range(1, 5))
    factor = scale / np.sqrt(variance + attribute(op, "epsilon", 1e-5))
    x = net.blob(op.inputs[0])
    arrays = [vector(factor), vector(bias - mean * factor)]
    net.add("Scale", [x], x.shape, {0: scale.size, 1: 1}, arrays, output=output(op))


def resize(net: Lowering, op: Op) -> None:
    """``Interp`` by repeating pixels; ``DeconvolutionDepthWise`` where that takes wrong ones."""
    x, y = net.blob(op.inputs[0]), output(op)
    shape = net.own_shape(y)
    if all(map(_repeats_right, x.shape[1:], shape[1:])):
        net.add("Interp", [x], shape, {0: 1, 3: shape[1], 4: shape[2]}, output=y)
        return
    channels, (high, wide) = shape[0], (shape[axis] // x.shape[axis] for axis in (1, 2))
    ones = net.weights(np.ones((channels, high, wide)))
    options = {0: channels, 1: wide, 11: high, 3: wide, 13: high, 6: ones.array.size, 7: channels}
    net.add("DeconvolutionDepthWise", [x], shape, options, [ones], output=y)


def _repeats_right(size: int, large: int) -> bool:
    """Tell whether ncnn finds the pixel that is repeated, by a product that it rounds."""
    step = np.float32(size) / np.float32(large)
    found = (np.arange(large, dtype=np.float32) * step).astype(np.int64)
    right = np.arange(large) // (large // size)
    return bool(np.array_equal(np.minimum(found, size - 1), right))


def depth_to_space(net: Lowering, op: Op) -> None:
    """``PixelShuffle``."""
    x, y = net.blob(op.inputs[0]), output(op)
    side, mode = attribute(op, "blocksize"), attribute(op, "mode", "DCR")
    net.add("PixelShuffle", [x], net.own_shape(y), {0: side, 1: int(mode == "DCR")}, output=y)


def space_to_depth(net: Lowering, op: Op) -> None:
    """``Reorg``."""
    x, y = net.blob(op.inputs[0]), output(op)
    net.add("Reorg", [x], net.own_shape(y), {0: attribute(op, "blocksize"), 1: 1}, output=y)


def product(net: Lowering, op: Op) -> None:
    """``MatMul`` of matrices that are known by a column each."""
    left = net.array(op, 0)
    batch, rows, inner = left.shape
    if net.dims(op.inputs[1]) != (batch, inner, 1):
        raise ExportError("ncnn multiplies known matrices by single columns only")
    array = net.weights(left)
    a = net.add(
        "MemoryData",
        [],
        left.shape,
        {0: inner, 1: rows, 2: batch, 21: 0},
        [array],
        name=net.graph.name(op.inputs[0]) if op.inputs[0] is not None else op.name,
    )
    column = net.blob(op.inputs[1], (batch, 1, inner))  # which is stored like a row
    net.add("MatMul", [a, column], (batch, rows, 1), {0: 1}, output=output(op))
