"""The table of ONNX's operators: how each becomes layers of ncnn."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from darknet_bn.convert.ncnn import windows
from darknet_bn.convert.ncnn.lowering import Blob, Lowering, attribute, count, output
from darknet_bn.convert.ncnn.net import Option, Weights
from darknet_bn.convert.ncnn.shapes import aligned, permute_order, permuted
from darknet_bn.errors import ExportError
from darknet_bn.graph.dims import Size
from darknet_bn.graph.graph import Constant, Op, Value

_ADD, _SUB, _MUL, _DIV, _MAX, _POW = 0, 1, 2, 3, 4, 6
_BINARY = {"Add": _ADD, "Div": _DIV, "Max": _MAX, "Mul": _MUL, "Pow": _POW, "Sub": _SUB}
_BINARY["Sum"] = _ADD
_REVERSED = {_SUB: 7, _DIV: 8, _POW: 9}  # where the number stands in front
_ABS, _NEG, _FLOOR, _SQRT, _EXP = 0, 1, 2, 5, 7
_UNARY = {"Exp": _EXP, "Floor": _FLOOR, "Neg": _NEG, "Sqrt": _SQRT}
_REDUCED = {"ReduceL2": 8, "ReduceMax": 4, "ReduceSum": 0}
_NAMED = {"Mish": "Mish", "Relu": "ReLU", "Softplus": "Softplus", "Tanh": "TanH"}


# -- shapes ----------------------------------------------------------------------------------------


def alias(net: Lowering, op: Op) -> None:
    """No layer: the numbers are the same, in the same order."""
    net.same_as(output(op), net.as_it_is(op.inputs[0]))


def transpose(net: Lowering, op: Op) -> None:
    """``Permute``, after axes that stay together are joined."""
    shape, order = permuted(net.dims(op.inputs[0]), attribute(op, "perm"))
    if order == tuple(range(len(order))):
        alias(net, op)
        return
    if len(order) > 4:
        raise ExportError("ncnn does not change the order of more than four axes")
    x = net.blob(op.inputs[0], shape)
    turned = tuple(shape[axis] for axis in order)
    net.add("Permute", [x], turned, {0: permute_order(order)}, output=output(op))


def concat(net: Lowering, op: Op) -> None:
    """``Concat``."""
    axis = net.axis(op.inputs[0], attribute(op, "axis"))
    blobs = [net.blob(each) for each in op.inputs]
    y = output(op)
    net.add("Concat", blobs, net.own_shape(y), {0: axis}, output=y)


def split(net: Lowering, op: Op) -> None:
    """``Slice``."""
    axis = net.axis(op.inputs[0], attribute(op, "axis", 0))
    if any(0 in net.dims(each) for each in op.outputs):
        raise ExportError("ncnn has no empty blobs")
    net.add_slice(net.blob(op.inputs[0]), axis, op.outputs)


def crop(net: Lowering, op: Op) -> None:
    """``Crop``, and where pixels are left out ``Pooling`` of one each."""
    x, y = op.inputs[0], output(op)
    starts, stops, axes = (net.ints(op, index) for index in (1, 2, 3))
    steps = net.ints(op, 4) if len(op.inputs) > 4 else [1] * len(axes)
    if 0 in net.dims(y):
        raise ExportError("ncnn has no empty blobs")
    blob, shape = net.blob(x), net.own_shape(y)
    bounds, strides = {}, [1] * len(shape)
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        low, high, by = slice(start, stop, step).indices(net.dims(x)[axis])
        bounds[net.axis(x, axis)], strides[net.axis(x, axis)] = (low, high), by
    if max(strides) == 1:
        _cropped(net, blob, bounds, y)
        return
    if len(shape) != 3 or strides[0] != 1 or min(strides) < 1:
        raise ExportError("ncnn leaves out rows and columns of an image only")
    part = _cropped(net, blob, bounds)
    options: dict[int, Option] = {0: 0, 1: 1, 2: strides[2], 12: strides[1], 5: 1}
    net.add("Pooling", [part], shape, options, output=y)


def _cropped(
    net: Lowering, x: Blob, bounds: dict[int, tuple[int, int]], y: Value | None = None
) -> Blob:
    """Add what takes a part of each axis."""
    axes = sorted(axis for axis, part in bounds.items() if part != (0, x.shape[axis]))
    if not axes:
        if y is not None:
            net.same_as(y, x)
        return x
    shape = list(x.shape)
    for axis in axes:
        shape[axis] = bounds[axis][1] - bounds[axis][0]
    lows, highs = zip(*(bounds[axis] for axis in axes), strict=True)
    return net.add("Crop", [x], tuple(shape), {9: lows, 10: highs, 11: axes}, output=y)


def pad(net: Lowering, op: Op) -> None:
    """Add ``Padding``."""
    x, y = net.blob(op.inputs[0]), output(op)
    pads = net.ints(op, 1)
    rank = len(x.shape)
    value = net.array(op, 2).item() if len(op.inputs) > 2 else 0.0
    before, after = pads[: len(pads) // 2][-rank:], pads[len(pads) // 2 :][-rank:]
    keys = [(7, 8), (0, 1), (2, 3)][-rank:]
    if rank > len(keys):
        raise ExportError("ncnn pads images only")
    options: dict[int, Option] = {}
    for (first, last), low, high in zip(keys, before, after, strict=True):
        options |= {first: low} if low else {}
        options |= {last: high} if high else {}
    net.add("Padding", [x], net.own_shape(y), options | {5: value}, output=y)


# -- element by element ----------------------------------------------------------------------------


def same_shape(kind: str, options: Callable[[Op], dict[int, Option]] = lambda op: {}) -> Handler:
    """Return what adds a layer whose output is like its input."""

    def handle(net: Lowering, op: Op) -> None:
        x = net.as_it_is(op.inputs[0])
        net.add(kind, [x], x.shape, options(op), output=output(op))

    return handle


def clip(net: Lowering, op: Op) -> None:
    """``Clip``."""
    x = net.as_it_is(op.inputs[0])
    bounds: dict[int, Option] = {0: net.array(op, 1).item(), 1: net.array(op, 2).item()}
    net.add("Clip", [x], x.shape, bounds, output=output(op))


def sigmoid(net: Lowering, op: Op) -> None:
    """``Sigmoid``; with a product behind it that reads the same, ``Swish``."""
    x, made, kind = net.as_it_is(op.inputs[0]), output(op), "Sigmoid"
    after = net.only_reader(made)
    if after is not None and after.kind == "Mul" and set(after.inputs) == {op.inputs[0], made}:
        net.done.add(after)
        made, kind = output(after), "Swish"
    net.add(kind, [x], x.shape, output=made)


def softmax(net: Lowering, op: Op) -> None:
    """``Softmax``."""
    x = net.blob(op.inputs[0])
    axis = net.axis(op.inputs[0], attribute(op, "axis", -1))
    net.add("Softmax", [x], x.shape, {0: axis, 1: 1}, output=output(op))


def reduce(net: Lowering, op: Op) -> None:
    """``Reduction`` of axes that stay."""
    x, y = net.blob(op.inputs[0]), output(op)
    axes = net.ints(op, 1) if len(op.inputs) > 1 else list(attribute(op, "axes"))
    places = [net.axis(op.inputs[0], axis) for axis in axes]
    options: dict[int, Option] = {0: _REDUCED[op.kind], 1: 0, 3: places, 4: 1, 5: 1}
    net.add("Reduction", [x], net.own_shape(y), options, output=y)


def binary(net: Lowering, op: Op) -> None:
    """``BinaryOp``, with a number, values by channel, or another blob; one after another."""
    kind = _BINARY[op.kind]
    total, *rest = op.inputs
    if len(rest) == 1:
        _combined(net, kind, op.inputs[0], op.inputs[1], output(op))
        return
    shape = net.own_shape(output(op))
    if any(net.own_shape(each) != shape for each in op.inputs):
        raise ExportError(f"ncnn has no {op.kind} of several shapes")
    blob = net.blob(total)
    for each in rest:
        last = output(op) if each is rest[-1] else None
        blob = net.add("BinaryOp", [blob, net.blob(each)], shape, {0: kind}, output=last)


def _combined(net: Lowering, kind: int, a: Value | None, b: Value | None, y: Value) -> None:
    left, right = net.known(a), net.known(b)
    if right is not None and right.size == 1:
        _with_number(net, kind, a, right.item(), y)
    elif left is not None and left.size == 1:
        _with_number(net, _REVERSED.get(kind, kind), b, left.item(), y)
    elif kind in (_ADD, _MUL) and right is not None and _by_channel(net, a, right):
        _with_channels(net, kind, a, right, y)
    elif kind in (_ADD, _MUL) and left is not None and _by_channel(net, b, left):
        _with_channels(net, kind, b, left, y)
    elif count(net.dims(a)) == count(net.dims(b)) == count(net.dims(y)):
        like = net.as_it_is(b if left is not None else a).shape
        blobs = [net.blob(each, like) for each in (a, b)]
        net.add("BinaryOp", blobs, like, {0: kind}, output=y)
    else:
        blobs, shape = _broadcast(net, a, b, net.dims(y))
        net.add("BinaryOp", blobs, shape, {0: kind}, output=y)


def _broadcast(
    net: Lowering, a: Value | None, b: Value | None, dims: Size
) -> tuple[list[Blob], Size]:
    shapes = aligned([net.dims(a), net.dims(b), dims])
    if len(shapes[-1]) > 4:
        raise ExportError("ncnn has no blob of more than four axes")
    return [net.blob(a, shapes[0]), net.blob(b, shapes[1])], shapes[2]


def _with_number(net: Lowering, kind: int, x: Value | None, number: float, y: Value) -> None:
    blob = net.as_it_is(x)
    if blob.shape != net.own_shape(y) and count(blob.shape) != count(net.own_shape(y)):
        raise ExportError("ncnn does not repeat a blob")
    net.add("BinaryOp", [blob], blob.shape, {0: kind, 1: 1, 2: number}, output=y)


def _by_channel(net: Lowering, x: Value | None, values: Constant) -> bool:
    """Tell whether there is a value for each channel of images."""
    dims = net.dims(x)
    wanted = (dims[1], *[1] * (len(dims) - 2)) if len(dims) > 2 else ()
    shape = values.shape[1:] if values.ndim == len(dims) and values.shape[0] == 1 else values.shape
    return len(dims) == 4 and dims[0] == 1 and shape == wanted


def _with_channels(net: Lowering, kind: int, x: Value | None, values: Constant, y: Value) -> None:
    blob, size = net.blob(x), values.size
    name = "Scale" if kind == _MUL else "Bias"
    arrays = [Weights(np.asarray(values, np.float32).ravel())]
    net.add(name, [blob], blob.shape, {0: size}, arrays, output=y)


# -- choices ---------------------------------------------------------------------------------------


def greater(net: Lowering, op: Op) -> None:
    """``Threshold``, which gives 1 and 0."""
    a, b, y = op.inputs[0], op.inputs[1], output(op)
    limit = net.known(b)
    if limit is not None and limit.size == 1:
        x, bound = net.as_it_is(a), limit.item()
    else:
        blobs, shape = _broadcast(net, a, b, net.dims(y))
        x, bound = net.add("BinaryOp", blobs, shape, {0: _SUB}), 0.0
    net.add("Threshold", [x], x.shape, {0: bound}, output=y)


def equal(net: Lowering, op: Op) -> None:
    """1 less what is 1 where the difference is not 0."""
    y = output(op)
    blobs, shape = _broadcast(net, op.inputs[0], op.inputs[1], net.dims(y))
    apart = net.add("BinaryOp", blobs, shape, {0: _SUB})
    size = net.add("UnaryOp", [apart], shape, {0: _ABS})
    unlike = net.add("Threshold", [size], shape, {0: 0.0})
    net.add("BinaryOp", [unlike], shape, {0: _REVERSED[_SUB], 1: 1, 2: 1.0}, output=y)


def where(net: Lowering, op: Op) -> None:
    """Parts of both along an axis if it is known which; else both, times 1 or 0."""
    choice = net.known(op.inputs[0])
    if choice is not None:
        _where_known(net, op, choice)
        return
    y = output(op)
    dims = net.dims(y)
    shape = net.own_shape(y)
    yes = net.blob(op.inputs[0], shape)
    no = net.add("BinaryOp", [yes], shape, {0: _REVERSED[_SUB], 1: 1, 2: 1.0})
    parts = []
    for factor, value in ((yes, op.inputs[1]), (no, op.inputs[2])):
        number = net.known(value)
        if number is not None and number.size == 1:
            options: dict[int, Option] = {0: _MUL, 1: 1, 2: number.item()}
            parts.append(net.add("BinaryOp", [factor], shape, options))
        elif net.dims(value) == dims:
            both = [factor, net.blob(value, shape)]
            parts.append(net.add("BinaryOp", both, shape, {0: _MUL}))
        else:
            raise ExportError("ncnn does not choose between values of several shapes")
    net.add("BinaryOp", parts, shape, {0: _ADD}, output=y)


def _where_known(net: Lowering, op: Op, choice: Constant) -> None:
    y = output(op)
    sources = [op.inputs[2], op.inputs[1]]  # if it is false, and if it is true
    dims = net.dims(y)
    mask = choice.reshape((1,) * (len(dims) - choice.ndim) + choice.shape)
    axes = [axis for axis, size in enumerate(mask.shape) if size > 1]
    if len(axes) != 1 or any(net.dims(each) != dims for each in sources):
        raise ExportError("ncnn chooses along one axis only")
    flags = mask.ravel().astype(bool)
    bounds = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), flags.size]
    place = net.axis(y, axes[0])
    parts = [
        _cropped(net, net.blob(sources[int(flags[low])]), {place: (low, high)})
        for low, high in itertools.pairwise(bounds)
    ]
    if len(parts) == 1:
        net.same_as(y, parts[0])
    else:
        net.add("Concat", parts, net.own_shape(y), {0: place}, output=y)


Handler = Callable[[Lowering, Op], None]


def _elu(op: Op) -> dict[int, Option]:
    return {0: float(attribute(op, "alpha", 1.0))}


def _selu(op: Op) -> dict[int, Option]:
    return {0: float(attribute(op, "alpha")), 1: float(attribute(op, "gamma"))}


def _leaky(op: Op) -> dict[int, Option]:
    return {0: float(attribute(op, "alpha", 0.01))}


def _unary(op: Op) -> dict[int, Option]:
    return {0: _UNARY[op.kind]}


OPERATORS: dict[str, Handler] = {
    **dict.fromkeys(("Cast", "Flatten", "Identity", "Reshape", "Unsqueeze"), alias),
    **dict.fromkeys(_BINARY, binary),
    **dict.fromkeys(_REDUCED, reduce),
    **{kind: same_shape(name) for kind, name in _NAMED.items()},
    **dict.fromkeys(_UNARY, same_shape("UnaryOp", _unary)),
    "AveragePool": windows.pooling,
    "BatchNormalization": windows.batch_norm,
    "Clip": clip,
    "Concat": concat,
    "Conv": windows.convolution,
    "ConvTranspose": windows.deconvolution,
    "DepthToSpace": windows.depth_to_space,
    "Elu": same_shape("ELU", _elu),
    "Equal": equal,
    "Gemm": windows.matrix,
    "GlobalAveragePool": windows.global_pooling,
    "Greater": greater,
    "LeakyRelu": same_shape("ReLU", _leaky),
    "MatMul": windows.product,
    "MaxPool": windows.pooling,
    "Pad": pad,
    "Resize": windows.resize,
    "Selu": same_shape("SELU", _selu),
    "Sigmoid": sigmoid,
    "Slice": crop,
    "Softmax": softmax,
    "SpaceToDepth": windows.space_to_depth,
    "Split": split,
    "Transpose": transpose,
    "Where": where,
}
"""What each operator is in ncnn; what is not here is refused."""
