"""``[shortcut]``: the sum of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import Where
from darknet_bn.graph.activations import activated
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, activate_tile, activate_training
from darknet_bn.kernels.batchnorm.filters import by_filter, channel_dot
from darknet_bn.kernels.shortcut import (
    SHARES_EPS,
    normalized_weights,
    normalized_weights_delta,
    overlap,
    shortcut_cpu,
    shortcut_multilayer_cpu,
)
from darknet_bn.layers.activation import activation_option
from darknet_bn.layers.layer import Channels, Cost, Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Param, Params
from darknet_bn.layers.passes import (
    Backward,
    Inference,
    InferenceContext,
    Prepared,
    Trained,
    TrainingContext,
)
from darknet_bn.layers.shape import Shape, Shapes, resolve
from darknet_bn.layers.shapes import UnequalImagesError, image
from darknet_bn.layers.shared.windows_graph import with_channels
from darknet_bn.work.cuts import blocks
from darknet_bn.work.threads import workers

_FACTORS = {"none": 0, "per_feature": 1, "per_layer": 1, "per_channel": 2}


@dataclass(frozen=True, kw_only=True)
class Shortcut(Layer):
    """Add other layers to the previous layer, and activate.  C: ``src/shortcut_layer.c``.

    pjreddie's program adds one layer, whose size may differ, with the factors ``alpha`` and
    ``beta``; AlexeyAB's adds any number of layers of the same size, with trainable weights.
    Today's AlexeyAB does not accept a single layer of a different size, as in its resnet cfgs; its
    older versions did the same as pjreddie's program, and so does this layer.
    """

    names: ClassVar[tuple[str, ...]] = ("shortcut",)
    channels: ClassVar[Channels] = "added"

    from_: tuple[int, ...] = option((), reference=True, required=True)
    activation: str = activation_option("linear", "most")
    alpha: float = option(1.0, original=True, opencv=True)
    beta: float = option(1.0, original=True)
    weights_type: str = option("none", choices=_FACTORS, extended=True)
    weights_normalization: str = option(
        "none", choices=("none", "relu", "avg_relu", "softmax"), extended=True
    )

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the previous layer and the listed layers."""
        return (index - 1, *(resolve(each, index) for each in self.from_))

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape of the previous layer."""
        for number, x in enumerate(xs):
            image(x, "a layer of from=" if number else "the layer before")
        return xs[0]

    def check_inputs(
        self, makers: Sequence[Layer | None], xs: Shapes, dialect: Dialect
    ) -> Iterator[tuple[str | None, str]]:
        """Say what is added if the sizes differ and neither is a multiple of the other."""
        for add in xs[1:] if dialect.shortcut_adds_all else xs[1:2]:
            sides = ((add.w, xs[0].w), (add.h, xs[0].h))
            if any(max(pair) % min(pair) for pair in sides):
                step = max(sides[0]) // min(sides[0])
                yield (
                    "from",
                    f"{add.w} x {add.h} pixels are added to {xs[0].w} x {xs[0].h}, which is not a "
                    "whole "
                    f"multiple: from the upper left corner, in steps of {step}, as in Darknet",
                )

    def params(self, xs: Shapes, dialect: Dialect) -> tuple[Param, ...]:
        """Nothing, or a factor for each layer, or a factor for each channel of each layer."""
        self._check_sizes(xs, dialect)
        per = _FACTORS[self.weights_type]
        if not per:
            return ()
        shape = (len(xs),) if per == 1 else (len(xs), xs[0].c)
        return (Param("weights", shape, init=1.0),)

    def _factors(self, weights: F32, count: int, c: int) -> F32:
        """Return the factor of each array and channel, (count, c)."""
        factors = normalized_weights(weights.reshape(count, -1), self.weights_normalization)
        return np.broadcast_to(factors, (count, c))

    def _adds_one(self, x: Shape, add: Shape, dialect: Dialect) -> bool:
        """Whether only one layer is added, as in pjreddie's Darknet."""
        heeds_alpha = dialect.opencv and self.alpha != 1
        return not dialect.shortcut_adds_all or heeds_alpha or (add.h, add.w) != (x.h, x.w)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Add, and activate."""
        weights = self._factors(p["weights"], len(xs), xs[0].c) if "weights" in p else None
        activation = ACTIVATIONS[self.activation]
        shape = xs[0]
        one = self._adds_one(shape, xs[1], context.dialect)

        def add(parts: Sequence[F32], factors: F32 | None, y: F32) -> None:
            if one:
                shortcut_cpu(parts[0], parts[1], self.alpha, self.beta, y)
            else:
                shortcut_multilayer_cpu(parts[0], parts[1:], y, factors)
            if activation.slope is not None:
                activate_tile(y, activation)

        def bind(xs: Sequence[F32], y: F32) -> Callable[[], None]:
            parts = [
                ([x[at] for x in xs], None if weights is None else weights[:, at[1]], y[at])
                for at in blocks(len(y), shape.c, shape.h * shape.w, workers().count)
            ]
            if len(parts) == 1:
                return partial(add, *parts[0])
            return lambda: workers().run(lambda part: add(*part), parts)

        return Prepared(bind)

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Add`` or ``Sum``; if sizes differ, of the pixels and channels that are used."""
        if self._adds_one(xs[0], xs[1], graph.dialect):
            y = self._one_added(graph, values, xs)
        else:
            y = self._all_added(graph, values, xs, p.get("weights"))
        return activated(graph, y, self.activation)

    def _all_added(
        self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, weights: F32 | None
    ) -> Value:
        factors = [] if weights is None else self._factor_values(graph, weights, len(xs), xs[0].c)
        parts = []
        for number, (part, x) in enumerate(zip(values, xs, strict=True)):
            part = with_channels(graph, part, x.c, xs[0].c)
            if factors:
                part = graph.add("Mul", part, factors[number])
            parts.append(part)
        return graph.add("Add" if len(parts) == 2 else "Sum", *parts)

    def _factor_values(self, graph: GraphBuilder, weights: F32, count: int, c: int) -> list[Value]:
        """Return what each array is multiplied by."""
        if graph.trains:
            rows = graph.shaped_parameter("weights", count, -1)
            rows = _normalized(graph, rows, self.weights_normalization)
            shape = graph.ints("shape", -1, 1, 1)
            return [graph.add("Reshape", row, shape) for row in graph.split(rows, 0, [1] * count)]
        factors = self._factors(weights, count, c)
        return [graph.constant("factors", row.reshape(-1, 1, 1)) for row in factors]

    def _one_added(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes) -> Value:
        x, add = xs[:2]
        if x == add:
            scaled = graph.scaled(values[0], self.alpha)
            return graph.add("Add", scaled, graph.scaled(values[1], self.beta))
        if (x.h, x.w) != (add.h, add.w) or self.alpha != 1:
            graph.require_fixed_size("a shortcut between unequal images")
        part = with_channels(graph, values[1], add.c, x.c)
        sides = overlap(x.h, add.h), overlap(x.w, add.w)
        for axis, (_, theirs), size in zip((2, 3), sides, (add.h, add.w), strict=True):
            if len(range(*theirs.indices(size))) < size:
                part = graph.slice(part, axis, 0, theirs.stop, theirs.step)
        ours = tuple(side[0] for side in sides)
        if any(side.step > 1 for side in ours):  # zeros between the pixels
            part = graph.add(
                "ConvTranspose",
                part,
                graph.constant("ones", np.ones((x.c, 1, 1, 1))),
                kernel_shape=[1, 1],
                strides=[side.step for side in ours],
                group=x.c,
            )
        behind = (x.h - ours[0].stop, x.w - ours[1].stop)
        if any(behind):
            part = graph.pad(part, (0, 0, 0, 0), (0, 0, *behind))
        before = values[0]
        if self.alpha != 1:  # which only matters if something is added
            factor = np.ones((x.c, x.h, x.w))
            factor[: min(x.c, add.c), ours[0], ours[1]] = self.alpha
            before = graph.add("Mul", before, graph.constant("alpha", factor))
        return graph.add("Add", before, graph.scaled(part, self.beta))

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Add, and activate.

        C: ``backward_shortcut_layer``.  There the weights learn as if they were not normalised, and
        in the backward pass ``alpha`` also applies to values to which nothing was added.
        """
        dialect = context.dialect
        z = as_inferred(replace(self, activation="linear"), xs, p, context)
        y, activation_back = activate_training(z, self.activation, dialect)
        shapes = [Shape.of(x) for x in xs]
        one = self._adds_one(shapes[0], shapes[1], dialect)

        def back(delta: F32) -> Backward:
            delta = activation_back(delta)
            if one:
                return Backward(self._back_to_one(xs, delta, dialect), delta=delta)
            return self._back_to_all(xs, p.get("weights"), delta, dialect)

        return Trained(y, back)

    def _back_to_one(
        self, xs: Sequence[F32], delta: F32, dialect: Dialect
    ) -> tuple[F32 | None, ...]:
        x, add = xs[:2]
        down, across = overlap(x.shape[2], add.shape[2]), overlap(x.shape[3], add.shape[3])
        c = min(x.shape[1], add.shape[1])
        at = (slice(None), slice(0, c), down[0], across[0])
        before = given = delta
        if self.beta != 1 or add.shape != x.shape:
            given = np.zeros_like(add)
            given[:, :c, down[1], across[1]] = delta[at] * delta.dtype.type(self.beta)
        if self.alpha != 1:
            before = delta.copy()
            touched = before[at] if dialect.exact_gradients else before
            touched *= delta.dtype.type(self.alpha)
        return (before, given, *(None for _ in xs[2:]))

    def _back_to_all(
        self, xs: Sequence[F32], weights: F32 | None, delta: F32, dialect: Dialect
    ) -> Backward:
        count, c = len(xs), delta.shape[1]
        factors = None if weights is None else self._factors(weights, count, c)
        given, sums = [], np.zeros((count, c), delta.dtype)
        for number, x in enumerate(xs):
            both = min(c, x.shape[1])
            part = delta[:, :both]
            if factors is not None:
                sums[number, :both] = channel_dot(by_filter(part), by_filter(x[:, :both]))
                part = part * factors[number, :both, None, None]
            if both < x.shape[1]:  # nothing goes back to channels that are not added
                whole = np.zeros_like(x)
                whole[:, :both] = part
                part = whole
            given.append(np.ascontiguousarray(part))
        if weights is None:
            return Backward(tuple(given), delta=delta)
        rows = weights.reshape(count, -1)
        updates = sums if rows.shape[1] == c and weights.ndim > 1 else sums.sum(1, keepdims=True)
        if dialect.exact_gradients:
            updates = normalized_weights_delta(rows, self.weights_normalization, updates)
        return Backward(tuple(given), {"weights": updates.reshape(weights.shape)}, delta)

    def cost(self, xs: Shapes) -> Cost:
        """Count an addition, and with weights a multiplication, for each value that is added."""
        each = 1 if self.weights_type == "none" else 2
        return Cost(each * xs[0].size * (len(xs) - 1))

    def _check_sizes(self, xs: Shapes, dialect: Dialect) -> None:
        x = xs[0]
        same = dialect.shortcut_adds_all and (len(xs) > 2 or self.weights_type != "none")
        counted = xs[1:] if dialect.shortcut_adds_all else xs[1:2]
        for number, add in enumerate(counted, start=1):
            factors = (add.h // x.h, x.h // add.h), (add.w // x.w, x.w // add.w)
            if (add.h, add.w) != (x.h, x.w) if same else factors[0] != factors[1]:
                raise UnequalImagesError(
                    "a layer of from= and the layer before have different sizes",
                    (0, number),
                    where=Where(key="from"),
                    expected=f"{x.w} x {x.h}"
                    + ("" if same else ", or a multiple or fraction of both"),
                    found=f"{add.w} x {add.h}",
                )


def _normalized(graph: GraphBuilder, rows: Value, normalization: str) -> Value:
    """As `normalized_weights`, of weights (count, c)."""
    if normalization == "none":
        return rows
    if normalization == "softmax":
        top = graph.reduce("ReduceMax", rows, 0)
        parts = graph.add("Exp", graph.add("Sub", rows, top))
    else:
        parts = graph.add("Relu", rows)
    total = graph.shifted(graph.reduce("ReduceSum", parts, 0), SHARES_EPS)
    return graph.add("Div", parts, total)
