"""``[softmax]``: turn values into shares that add up to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, TrainingError, Where
from darknet_bn.formats.tree import Tree, parse_tree
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.softmax import softmax_cpu, softmax_tree
from darknet_bn.layers.layer import Channels, Layer, as_inferred
from darknet_bn.layers.options import fact, option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import truth_like
from darknet_bn.layers.shared.windows_graph import shares_of_tree


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """Softmax over all values of an image, over ``groups`` equal parts of them, or over a tree.

    C: ``src/softmax_layer.c``.  ``spatial`` works only on the GPU, so it is ignored here; but
    OpenCV always uses the channels of each pixel.
    """

    names: ClassVar[tuple[str, ...]] = ("softmax", "soft")
    channels: ClassVar[Channels] = "shared out"
    is_end: ClassVar[bool] = True

    groups: int = option(1, at_least=1)
    temperature: float = option(1.0)
    tree: Tree | None = option(None, content=parse_tree)
    spatial: bool = option(False)
    noloss: bool = option(False)
    by_pixel: bool = fact(lambda dialect: dialect.opencv)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the number of values, without an image shape unless pixels stay separate."""
        if self._keeps_pixels(xs[0]):
            return xs[0]
        size = xs[0].size
        check_tree(self.tree, size)
        if size % self.groups:
            raise ShapeError(
                "the groups do not divide the number of values",
                where=Where(key="groups"),
                expected=f"a divisor of {size}",
                found=f"{self.groups}",
            )
        return Shape(size, flat=True)

    def _keeps_pixels(self, x: Shape) -> bool:
        return self.by_pixel and self.groups == 1 and self.tree is None and x.h * x.w > 1

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Softmax of each group."""
        if self._keeps_pixels(xs[0]):
            return lambda xs, y: softmax_cpu(xs[0], self.temperature, y, axis=1)
        tree, temperature = self.tree, self.temperature
        parts = (self.groups if tree is None else 1, -1)

        def shares(xs: Sequence[F32], y: F32) -> None:
            x, out = (each.reshape(len(y), *parts) for each in (xs[0], y))
            if tree is None:
                softmax_cpu(x, temperature, out)
            else:
                softmax_tree(x, tree, temperature, out)

        return shares

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Softmax`` of each group."""
        if self._keeps_pixels(xs[0]):
            return graph.add("Softmax", graph.scaled(values[0], 1 / self.temperature), axis=1)
        if xs[0].h * xs[0].w != 1:
            graph.require_fixed_size("a softmax over an image")
        count = self.groups if self.tree is None else 1
        parts = graph.scaled(graph.reshape(values[0], count, -1), 1 / self.temperature)
        if self.tree is None:
            shares = graph.add("Softmax", parts, axis=2)
        else:
            shares = shares_of_tree(graph, parts, self.tree, axis=2)
        return graph.reshape(shares, xs[0].size)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Softmax of each group; with a truth, add the cross-entropy.

        Values below 0 in a truth belong to classes about which it says nothing, as is common for
        trees.  The GPU code does the same, while the CPU code takes them for truths.

        C: ``forward_softmax_layer`` and ``backward_softmax_layer``, which passes the delta from
        readers of the shares unchanged, and counts every class with a truth as entirely true.
        """
        if xs[0].ndim == 4 and self._keeps_pixels(Shape.of(xs[0])):
            raise TrainingError("OpenCV's softmax of each pixel cannot be trained")
        y = as_inferred(self, xs, p, context)
        truth = None if self.noloss else truth_like(y, context)
        exact = context.dialect.exact_gradients
        loss, down = None, None
        if truth is not None:
            known = truth >= 0
            true = np.where(known, truth, 0)
            counted = true if exact else (true != 0)
            logarithms = np.log(np.maximum(y, np.finfo(np.float32).tiny))
            loss = float(-np.sum(counted * logarithms, dtype=np.float64))
            shares = y * self._sums(true) if exact else y * known
            down = (true - shares) / y.dtype.type(self.temperature if exact else 1)

        def back(delta: F32) -> Backward:
            if exact:
                apart: F32 = delta - self._sums(delta * y)
                delta = y * apart / y.dtype.type(self.temperature)
            if down is not None:
                delta = delta + down
            return Backward((delta.reshape(xs[0].shape),), delta=delta)

        return Trained(y, back, loss)

    def _sums(self, values: F32) -> F32:
        """Return, for each value (n, size), the sum of its group."""
        if self.tree is None:
            parts = values.reshape(len(values), self.groups, -1)
            sums = np.broadcast_to(parts.sum(axis=2, keepdims=True), parts.shape)
            return sums.reshape(values.shape)
        result = np.empty_like(values)
        for classes in self.tree.groups_by_size:
            result[:, classes] = values[:, classes].sum(axis=2, keepdims=True)
        return result


def check_tree(tree: Tree | None, classes: int) -> None:
    """Raise a ShapeError if the number of classes in a tree differs from the number of values."""
    if tree is not None and len(tree) != classes:
        raise ShapeError(
            "the number of lines in the file differs from the number of classes",
            where=Where(key="tree"),
            expected=f"{classes}",
            found=f"{len(tree)}",
        )
