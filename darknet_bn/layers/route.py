"""``[route]``: the outputs of other layers, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ShapeError, Where
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.layer import Channels, Layer, as_inferred
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Backward, Inference, InferenceContext, Trained, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes, resolve
from darknet_bn.layers.shapes import flat, unequal_images
from darknet_bn.work.cuts import Block, run_blocks


@dataclass(frozen=True, kw_only=True)
class Route(Layer):
    """Concatenate layers, or one of ``groups`` equal parts of each.  C: ``src/route_layer.c``."""

    names: ClassVar[tuple[str, ...]] = ("route",)
    channels: ClassVar[Channels] = "joined"

    layers: tuple[int, ...] = option((), reference=True, required=True)
    groups: int = option(1, at_least=1, extended=True)
    group_id: int = option(0, at_least=0, extended=True)
    stream: int = option(-1, extended=True)
    wait_stream: int = option(-1, extended=True)

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the listed layers, in their order."""
        return tuple(resolve(each, index) for each in self.layers)

    def out_shape(self, xs: Shapes) -> Shape:
        """Add up the channels; images of different sizes give a flat count."""
        if self.group_id >= self.groups:
            raise ShapeError(
                "there is no such group",
                where=Where(key="group_id"),
                expected=f"0 to {self.groups - 1}",
                found=f"{self.group_id}",
            )
        alike = not xs[0].flat and unequal_images(xs) is None
        channels = sum(x.c for x in xs) if alike else sum(x.size for x in xs)
        if channels % self.groups or any(x.size % self.groups for x in xs):
            raise ShapeError(
                f"groups={self.groups} does not divide the channels",
                where=Where(key="groups"),
                expected=f"a divisor of {channels}",
                found=f"{self.groups}",
            )
        if not alike:
            return Shape(channels // self.groups, flat=True)
        return Shape(channels // self.groups, xs[0].h, xs[0].w)

    def is_alias(self, xs: Shapes) -> bool:
        """Return True for a single layer that is used as a whole."""
        return len(xs) == 1 and self.groups == 1

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Copy one part after another."""
        sizes = [x.size // self.groups for x in xs]
        ends = np.cumsum(sizes).tolist()

        def concatenate(xs: Sequence[F32], y: F32) -> None:
            for x, size, end in zip(xs, sizes, ends, strict=True):
                start = self.group_id * size
                source, target = flat(x)[:, start : start + size], flat(y)[:, end - size : end]
                _copy(source, target)

        return concatenate

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Slice`` of each layer, and ``Concat``, on flat values if image sizes differ."""
        y, parts = self.out_shape(xs), list(values)
        by_channel = not y.flat and all(x.c % self.groups == 0 for x in xs)
        if not by_channel:
            graph.require_fixed_size("a route of unequal images")
            parts = [graph.add("Flatten", part, axis=1) for part in parts]
        if self.groups > 1:
            sizes = [(x.c if by_channel else x.size) // self.groups for x in xs]
            parts = [
                graph.slice(part, 1, self.group_id * size, (self.group_id + 1) * size)
                for part, size in zip(parts, sizes, strict=True)
            ]
        joined = graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        return joined if by_channel else graph.reshape(joined, *y.dims)

    def train(self, xs: Sequence[F32], p: Params, context: TrainingContext) -> Trained:
        """Concatenate; each source gets its part of the delta."""

        def back(delta: F32) -> Backward:
            given, end = [], 0
            for x in xs:
                size = flat(x).shape[1] // self.groups
                part = flat(delta)[:, end : end + size]
                end += size
                if self.groups > 1:
                    whole = np.zeros((len(x), self.groups, size), delta.dtype)
                    whole[:, self.group_id] = part
                    part = whole
                given.append(np.ascontiguousarray(part).reshape(x.shape))
            return Backward(tuple(given))

        return Trained(as_inferred(self, xs, p, context), back)

    def size_text(self) -> str:
        """``group_id/groups``, if there are groups."""
        return f"{self.group_id}/{self.groups}" if self.groups > 1 else ""


def _copy(source: F32, target: F32) -> None:
    def block(at: Block) -> None:
        np.copyto(target[at], source[at])

    run_blocks(block, len(source), source.shape[1], 1)
