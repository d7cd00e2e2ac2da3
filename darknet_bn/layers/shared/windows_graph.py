"""What several kinds of layers share in ONNX operators: windows, batch norm, trees."""

from __future__ import annotations

import numpy as np

from darknet_bn.errors import ExportError
from darknet_bn.formats.tree import Tree
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.convolution.im2col import ConvGeometry
from darknet_bn.kernels.pooling.windows import LOWEST, Window
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.normalised import rolling_affine


def convolved(
    graph: GraphBuilder,
    x: Value,
    weights: Value,
    biases: Value | None,
    geometry: ConvGeometry,
    shape: Shape,
    **more: int,
) -> Value:
    """Add a convolution and return its output.

    Parameters
    ----------
    graph : GraphBuilder
    x, weights, biases : Value
        Operands; ``weights`` (f, c/g, k, k), ``biases`` (f,) or None.
    geometry : ConvGeometry
    shape : Shape
        Shape of ``x``.
    **more : int
        Further attributes.
    """
    ends = []
    for axis, pixels in ((2, shape.h), (3, shape.w)):
        end = _end(graph, geometry, pixels)
        if end < 0:  # Darknet's windows end before the image does
            x = graph.slice(x, axis, 0, end)
        ends.append(max(0, end))
    return graph.add(
        "Conv",
        *((x, weights) if biases is None else (x, weights, biases)),
        kernel_shape=[geometry.size] * 2,
        strides=[geometry.stride_y, geometry.stride_x],
        pads=[geometry.pad * geometry.dilation] * 2 + ends,
        dilations=[geometry.dilation] * 2,
        group=geometry.groups,
        **more,
    )


def _end(graph: GraphBuilder, geometry: ConvGeometry, pixels: int) -> int:
    """Return the number of zeros after an axis; Darknet counts windows without dilation."""
    k, p, d = geometry.size, geometry.pad, geometry.dilation
    return (d - 1) * (k - 1 - p) + p + _missing(graph, pixels + 2 * p, k)


def _missing(graph: GraphBuilder, pixels: int, size: int) -> int:
    """Return how many pixels are missing for a window larger than the image that still counts."""
    if size > pixels:
        graph.require_fixed_size("a window larger than the image")
    return max(0, size - pixels)


def pooled_max(graph: GraphBuilder, x: Value, window: Window, shape: Shape) -> Value:
    """Add the largest value of every window."""
    before, after = _sides(graph, window, shape)
    if max(*before, *after) >= window.size:  # more than pooling operators can pad
        lowest = float(np.finfo(np.float16).min if graph.half else LOWEST)
        x = graph.pad(x, (0, 0, *before), (0, 0, *after), lowest)
        before = after = (0, 0)
    return graph.add("MaxPool", x, **_pooling(window, before, after))


def pooled_average(graph: GraphBuilder, x: Value, window: Window, shape: Shape) -> Value:
    """Add the average of each window over its pixels inside the image.

    Raises
    ------
    ExportError
        A window is completely outside the image.
    """
    before, after = _sides(graph, window, shape)
    if max(*before, *after) >= window.size:
        raise ExportError(
            "ONNX cannot average windows outside the image",
            expected=f"padding below {2 * window.size - 1}",
            found=f"{window.padding}",
        )
    return graph.add("AveragePool", x, **_pooling(window, before, after), count_include_pad=0)


def _sides(
    graph: GraphBuilder, window: Window, shape: Shape
) -> tuple[tuple[int, int], tuple[int, int]]:
    begin, pad = window.padding // 2, window.padding
    behind_h = pad - begin + _missing(graph, shape.h + pad, window.size)
    behind_w = pad - begin + _missing(graph, shape.w + pad, window.size)
    return (begin, begin), (behind_h, behind_w)


def _pooling(
    window: Window, before: tuple[int, int], after: tuple[int, int]
) -> dict[str, list[int]]:
    return {
        "kernel_shape": [window.size] * 2,
        "strides": [window.stride_y, window.stride_x],
        "pads": [*before, *after],
    }


def normalised(
    graph: GraphBuilder, x: Value, p: Params, rolling_keep: float | None = None
) -> Value:
    """Add batch norm with its rolling statistics, (n, c, ...).

    Parameters
    ----------
    graph : GraphBuilder
    x : Value
    p : mapping from name to float32 array
    rolling_keep : float, optional
        As in `forward_batchnorm_layer`; it counts in training alone.
    """
    if graph.trains:  # eps is where the dialect has it
        names = ("scales", "biases", "rolling_mean", "rolling_variance")
        keep = graph.dialect.rolling_keep if rolling_keep is None else rolling_keep
        return graph.add("BatchNormalization", x, *map(graph.parameter, names), momentum=keep)
    if graph.half:  # a small variance would become 0
        affine = rolling_affine(p, graph.dialect)
        rank = (-1, 1, 1)
        scaled = graph.add("Mul", x, graph.constant("scale", affine.scale.reshape(rank)))
        return graph.add("Add", scaled, graph.constant("shift", affine.shift.reshape(rank)))
    dialect, variance = graph.dialect, p["rolling_variance"]
    if dialect.eps_inside_sqrt:
        spread, eps = graph.parameter("rolling_variance"), dialect.eps
    else:  # ONNX adds eps inside the root: give it the squared divisor of the dialect, and no eps
        sigma = dialect.sigma(variance.astype(np.float64))
        spread, eps = graph.constant("sigma_squared", sigma * sigma), 0.0
    return graph.add(
        "BatchNormalization",
        x,
        graph.parameter("scales"),
        graph.parameter("biases"),
        graph.parameter("rolling_mean"),
        spread,
        epsilon=eps,
    )


def blurred(
    graph: GraphBuilder, x: Value, channels: int, mode: int, strides: tuple[int, int]
) -> Value:
    """Add the fixed blur of ``antialiasing``, with a stride in (x, y)."""
    side = [0.5, 0.5] if mode == 2 else [0.25, 0.5, 0.25]
    square = np.broadcast_to(np.outer(side, side), (channels, 1, len(side), len(side)))
    return graph.add(
        "Conv",
        x,
        graph.constant("blur", square),
        kernel_shape=[len(side)] * 2,
        strides=[strides[1], strides[0]],
        pads=[0 if mode == 2 else 1] * 4,
        group=channels,
    )


def shares_of_tree(graph: GraphBuilder, x: Value, tree: Tree, axis: int) -> Value:
    """Add the softmax of each group of a tree of classes along an axis."""
    sizes = [group.stop - group.start for group in tree.groups]
    parts = graph.split(x, axis, sizes)
    return graph.add(
        "Concat", *(graph.add("Softmax", part, axis=axis) for part in parts), axis=axis
    )


def with_channels(graph: GraphBuilder, x: Value, count: int, wanted: int) -> Value:
    """Return images with the given number of channels: cut off, or padded with zeros."""
    if count > wanted:
        return graph.slice(x, 1, 0, wanted)
    if count < wanted:
        return graph.pad(x, (0, 0, 0, 0), (0, wanted - count, 0, 0))
    return x
