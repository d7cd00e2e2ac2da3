"""Layers that join, split and reshape others, in ONNX's operators."""

from __future__ import annotations

from darknet_bn.convert.onnx.layers import NORMALISED
from darknet_bn.convert.onnx.node import OnnxNode
from darknet_bn.convert.onnx.sections import INPUT
from darknet_bn.layers.shape import Shape


def joined(node: OnnxNode) -> None:
    """``Concat`` along channels."""
    xs = [node.image(number) for number in range(len(node.op.inputs))]
    rank = 2 if node.place(0).shape.flat else 4
    if node.get("axis", 1) % rank != 1:
        node.refuse("only channels can be joined", "axis 1", node.get("axis", 1))
    if len({(x.shape.h, x.shape.w) for x in xs}) != 1:
        node.refuse("the images have different sizes", found=[str(x.shape) for x in xs])
    node.made.route(xs, node.out)


def parts(node: OnnxNode) -> None:
    """``Split`` of channels into equal parts."""
    x, count = node.image(), len(node.op.outputs)
    node.require("axis", 0, 1, -3)
    sizes = node.ints("split", 1) or [-(-x.shape.c // count)] * count
    if len(set(sizes)) != 1 or sizes[0] * count != x.shape.c:
        node.refuse("channels can be split into equal parts only", found=sizes)
    for number, value in enumerate(node.op.outputs):
        if node.uses[value]:
            node.made.route([x], value, count, number)


def part(node: OnnxNode) -> None:
    """``Slice`` of channels that is one of equal parts."""
    x = node.image()
    starts, ends = node.ints("starts", 1) or [], node.ints("ends", 2) or []
    axes = node.ints("axes", 3) or list(range(len(starts)))
    steps = node.ints("steps", 4) or [1] * len(starts)
    if (axes, steps) not in (([1], [1]), ([-3], [1])) or len(starts) != 1 or len(ends) != 1:
        node.refuse("only channels can be sliced", "axis 1, step 1", (axes, steps))
    first, stop, _ = slice(starts[0], ends[0]).indices(x.shape.c)
    size = stop - first
    if size < 1 or x.shape.c % size or first % size:
        node.refuse("channels can be sliced into equal parts only", found=f"{first} to {stop}")
    groups = x.shape.c // size
    node.made.route([x], node.out, groups, first // size)


def summed(node: OnnxNode) -> None:
    """``Add``, ``Sum`` of two layers, or of a layer and its biases."""
    if len(node.op.inputs) != 2:
        node.refuse("it does not have two inputs", found=len(node.op.inputs))
    for x, other in ((0, 1), (1, 0)):
        if node.is_constant(other):
            _biases(node, x, other)
            return
    _pair(node, "shortcut", same=True)


def _biases(node: OnnxNode, x: int, other: int) -> None:
    place = node.place(x)
    section, count = node.single(x), place.shape.c
    values = node.floats(other)
    rank = 1 if place.shape.flat else 3
    fits = values.shape[-rank:] == (count, *[1] * (rank - 1)) and values.size == count
    if (
        section is None
        or section.name not in NORMALISED
        or section.options["activation"] != "linear"
        or not fits
    ):
        node.refuse("only the biases of a layer can be added", f"{count} values", values.shape)
    section.arrays["biases"] = section.arrays["biases"] + values.reshape(count)
    node.made.extend(section, node.out)


def product(node: OnnxNode) -> None:
    """``Mul`` of two layers, one of which may have one value for each channel."""
    if any(node.is_constant(number) for number in range(len(node.op.inputs))):
        node.refuse("Darknet cannot multiply by a constant")
    one, other = node.image(0).shape, node.image(1).shape
    _pair(node, "sam" if one == other else "scale_channels", same=one == other)


def _pair(node: OnnxNode, kind: str, *, same: bool) -> None:
    """Add a layer that reads the previous layer and one other."""
    xs = [node.image(number) for number in (0, 1)]
    last = len(node.made.sections) - 1
    xs.sort(key=lambda x: (x.shape.h * x.shape.w, x.layer != last))
    small, large = xs
    expected = large.shape if same else Shape(large.shape.c)
    if small.shape != expected or large.layer == INPUT:
        node.refuse("the shapes of the layers do not match", f"{expected}", f"{small.shape}")
    options = {"activation": "linear"}
    node.made.add(kind, node.out, small, large.shape, options, other=large)


def softmax(node: OnnxNode) -> None:
    """``Softmax`` over all values of an image."""
    x = node.place(0)
    rank = 2 if x.shape.flat else 4
    axis = node.get("axis", -1)  # or 1 in older opsets, which is the same for a row
    if axis % rank != 1 or (rank == 4 and x.shape.h * x.shape.w > 1):
        node.refuse("Darknet has it only over all values of an image", "axis 1", f"axis {axis}")
    node.made.add("softmax", node.out, x, x.shape, {})


def reshaped(node: OnnxNode) -> None:
    """``Flatten``, ``Reshape``, ``Squeeze`` and ``Unsqueeze``: all values as a row, or back."""
    x = node.place(0)
    row = Shape(x.shape.c, x.shape.h, x.shape.w, flat=True)
    if node.op.kind == "Flatten":
        node.require("axis", 1, 1)
    elif node.op.kind == "Reshape":
        dims = node.ints("shape", 1) or []
        image = Shape(x.shape.c, x.shape.h, x.shape.w)
        whole = image.dims if len(dims) == 4 else row.dims
        fits = len(dims) == 1 + len(whole) and dims.count(-1) <= 1
        allowed = ((node.batch, 0), *((size,) for size in whole))
        if not fits or any(n not in (-1, *sizes) for n, sizes in zip(dims, allowed, strict=True)):
            node.refuse("Darknet can only turn all values into one row", "(n, -1)", dims)
        row = image if len(dims) == 4 else row
    else:
        axes = [axis % 4 for axis in node.ints("axes", 1) or []]
        if x.shape.h * x.shape.w != 1 or sorted(axes) != [2, 3]:
            node.refuse("Darknet can only drop the axes of a single pixel", "axes 2 and 3", axes)
        row = row if node.op.kind == "Squeeze" else Shape(x.shape.c)
    node.made.alias(node.out, x, row)
