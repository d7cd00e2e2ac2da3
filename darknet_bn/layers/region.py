"""``[region]``: the detection head of YOLOv2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ExportError, TrainingError
from darknet_bn.formats.tree import Tree, parse_tree
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, activate_tile
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.kernels.boxes.decode import get_region_boxes, get_region_detections
from darknet_bn.kernels.losses.region import RegionLoss
from darknet_bn.kernels.reorg import flatten
from darknet_bn.kernels.softmax import softmax_cpu, softmax_tree
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Inference, InferenceContext, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import box_truth, check_filters, image
from darknet_bn.layers.shared.anchors import check_anchors
from darknet_bn.layers.shared.box_graph import Cells, GraphBoxes
from darknet_bn.layers.shared.head import BoxValues, Head
from darknet_bn.layers.shared.windows_graph import shares_of_tree
from darknet_bn.layers.softmax import check_tree


@dataclass(frozen=True, kw_only=True)
class Region(Head):
    """Sigmoid of the objectness, softmax of the classes.  C: ``src/region_layer.c``.

    Each anchor has the planes x, y, w, h, objectness, and one plane for each class.  AlexeyAB's
    program stores them cell by cell, with the values of an anchor together, and leaves x and y
    unchanged until boxes are made; pjreddie's stores planes.  With a tree, the softmax is over each
    group of classes; pjreddie's program does that correctly only on the GPU.
    """

    names: ClassVar[tuple[str, ...]] = ("region",)
    anchors_in_cells: ClassVar[bool] = True

    coords: int = option(4, at_least=4)
    num: int = option(1, at_least=1)
    softmax: bool = option(False)
    background: bool = option(False, original=True)
    anchors: tuple[float, ...] = option(())
    max: int = option(200, original_default=30, at_least=0)
    tree: Tree | None = option(None, content=parse_tree)
    map: str | None = option(None)
    thresh: float = option(lambda dialect: 0.001 if dialect.opencv else 0.5)
    absolute: bool = option(False)
    log: bool = option(False)
    sqrt: bool = option(False)
    jitter: float = option(0.2)
    random: float = option(0.0)
    rescore: bool = option(False)
    bias_match: bool = option(False)
    classfix: int = option(0)
    coord_scale: float = option(1.0)
    object_scale: float = option(1.0)
    noobject_scale: float = option(1.0)
    class_scale: float = option(1.0)
    mask_scale: float = option(1.0)
    focal_loss: bool = option(False, extended=True)
    resize: float = option(1.0, extended=True)

    def check(self, dialect: Dialect) -> Iterator[tuple[str, str]]:
        """Count the anchors."""
        return check_anchors(self.anchors, self.num, range(self.num), "cells")

    @property
    def squashes(self) -> bool:
        """Always."""
        return True

    @property
    def max_boxes(self) -> int:
        """The option itself."""
        return self.max

    def box_count(self, y: Shape) -> int:
        """Count one box for each anchor and pixel."""
        return self.num * y.h * y.w

    def box_values(self, dialect: Dialect) -> BoxValues | None:
        """Return the usual places, unless a background replaces the objectness."""
        if self.background or self.coords != 4:
            return None
        return BoxValues(4, 5, by_cell=dialect.region_by_cell)

    @property
    def anchor_sizes(self) -> tuple[tuple[float, float], ...]:
        """Width and height of each anchor, in cells."""
        values = (*self.anchors, *(0.5,) * (2 * self.num))
        return tuple((values[2 * each], values[2 * each + 1]) for each in range(self.num))

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape; the number of channels must match anchors and classes."""
        check_tree(self.tree, self.classes)
        x = image(xs[0])
        what = f"{self.num} anchors x ({self.coords} + 1 + {self.classes} classes)"
        check_filters(x, self.num * self._entries, what)
        return x

    @property
    def _entries(self) -> int:
        return self.coords + 1 + self.classes

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Apply sigmoid and softmax, and store in the order of the dialect."""
        pixels = xs[0].h * xs[0].w

        def by_cell(xs: Sequence[F32], y: F32) -> None:
            flatten(xs[0], pixels, self.num * self._entries, y)
            self._squash_cells(y.reshape(len(y), pixels * self.num, self._entries))

        def by_plane(xs: Sequence[F32], y: F32) -> None:
            np.copyto(y, xs[0])
            self._squash_planes(y.reshape(len(y), self.num, self._entries, pixels))

        return by_cell if context.dialect.region_by_cell else by_plane

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """Split into planes, ``Sigmoid`` and ``Softmax``, ``Concat`` in the dialect's order."""
        graph.require_fixed_size("[region]")
        x, by_cell = xs[0], graph.dialect.region_by_cell
        pixels = x.h * x.w
        if by_cell:
            cells = graph.add("Transpose", graph.reshape(values[0], x.c, pixels), perm=[0, 2, 1])
            ordered = graph.reshape(cells, pixels * self.num, self._entries)
            parts = self._cells(graph, ordered)
        else:
            parts = self._planes(graph, graph.reshape(values[0], self.num, self._entries, pixels))
        return graph.reshape(graph.add("Concat", *parts, axis=2), *x.dims)

    def _cells(self, graph: GraphBuilder, ordered: Value) -> list[Value]:
        """Do the same as `_squash_cells`."""
        sizes = {"box": 4, "scale": 1, "classes": self.classes, "rest": self.coords - 4}
        parts = _split(graph, ordered, sizes)
        if "classes" in parts and self.tree is not None:
            parts["classes"] = shares_of_tree(graph, parts["classes"], self.tree, axis=2)
        elif "classes" in parts and self.softmax:
            parts["classes"] = graph.add("Softmax", parts["classes"], axis=2)
        parts["scale"] = graph.add("Sigmoid", parts["scale"])
        return [*parts.values()]

    def _planes(self, graph: GraphBuilder, planes: Value) -> list[Value]:
        """Do the same as `_squash_planes`."""
        sizes = {"xy": 2, "rest": self.coords - 2, "scale": 1, "classes": self.classes}
        parts = _split(graph, planes, sizes)
        parts["xy"] = graph.add("Sigmoid", parts["xy"])
        if not self.background:
            parts["scale"] = graph.add("Sigmoid", parts["scale"])
        if "classes" in parts and self.tree is not None:
            parts["classes"] = shares_of_tree(graph, parts["classes"], self.tree, axis=2)
        elif self.softmax and self.background:
            names = [name for name in ("scale", "classes") if name in parts]
            joined = graph.add("Concat", *(parts.pop(name) for name in names), axis=2)
            parts["scale"] = graph.add("Softmax", joined, axis=2)
        elif "classes" in parts:
            kind = "Softmax" if self.softmax else "Sigmoid"
            axis = {"axis": 2} if self.softmax else {}
            parts["classes"] = graph.add(kind, parts["classes"], **axis)
        return [*parts.values()]

    def _squash_cells(self, y: F32) -> None:
        """Work in place; y is (n, cells and anchors, entries)."""
        activate_tile(y[:, :, 4], ACTIVATIONS["logistic"])  # C uses 4 for coords here
        classes = y[:, :, 5 : 5 + self.classes]
        if self.tree is not None:
            softmax_tree(classes, self.tree, 1, classes)
        elif self.softmax:
            softmax_cpu(classes, 1, classes)

    def _squash_planes(self, y: F32) -> None:
        """Work in place; y is (n, anchors, entries, pixels)."""
        logistic = ACTIVATIONS["logistic"]
        activate_tile(y[:, :, :2], logistic)
        if not self.background:
            activate_tile(y[:, :, self.coords : self.coords + 1], logistic)
        if self.tree is not None:
            for image_y in y[:, :, self.coords + 1 :]:
                softmax_tree(image_y, self.tree, 1, image_y, axis=1)
        elif self.softmax:
            shares = y[:, :, self.coords + (not self.background) :]
            softmax_cpu(shares, 1, shares, axis=2)
        else:
            activate_tile(y[:, :, self.coords + 1 :], logistic)

    @property
    def random_sizes(self) -> float:
        """The option itself."""
        return self.random

    def loss(self, y: F32, context: TrainingContext) -> tuple[F32, float] | None:
        """Compare with the true boxes.

        pjreddie's CPU code does not have a backward pass from here; its GPU code goes through the
        sigmoid of x, y and objectness.
        """
        truth = box_truth(context, self.classes, self.map)
        if truth is None:
            return None
        if self.coords != 4:
            raise TrainingError(
                "truths with more than x, y, w and h are not supported",
                expected="coords=4",
                found=f"{self.coords}",
            )
        ab, pixels = context.dialect.fork_region_loss, y.shape[2:]
        loss = RegionLoss(
            anchors=np.array(self.anchor_sizes, np.float64),
            classes=self.classes,
            extended=ab,
            thresh=self.thresh,
            coord_scale=self.coord_scale,
            object_scale=self.object_scale,
            noobject_scale=self.noobject_scale,
            class_scale=self.class_scale,
            rescore=self.rescore,
            bias_match=self.bias_match,
            background=self.background,
            softmax=self.softmax,
            classfix=self.classfix,
            focal_loss=self.focal_loss,
            tree=self.tree,
        )
        by_cell = context.dialect.region_by_cell
        if by_cell:
            ordered = y.reshape(len(y), *pixels, self.num, self._entries).transpose(0, 3, 1, 2, 4)
        else:
            ordered = y.reshape(len(y), self.num, self._entries, *pixels).transpose(0, 1, 3, 4, 2)
        delta, value = loss(ordered, truth, context.seen)
        if not ab:
            squashed = (0, 1) if self.background else (0, 1, 4)
            for entry in squashed:
                part = ordered[..., entry]
                delta[..., entry] *= part * (1 - part)
        axes = (0, 2, 3, 1, 4) if by_cell else (0, 1, 4, 2, 3)
        return np.ascontiguousarray(delta.transpose(axes)).reshape(y.shape), value

    def box_graph(self, graph: GraphBuilder, y: Value, shape: Shape, net: Shape) -> GraphBoxes:
        """Use `get_region_boxes` if the dialect stores by cell, else `get_region_detections`."""
        if self.tree is not None:
            raise ExportError("boxes with a tree of classes cannot be exported to ONNX")
        if graph.dialect.region_by_cell and self.classfix == -1:
            raise ExportError("classfix=-1 cannot be exported to ONNX")
        by_cell = graph.dialect.region_by_cell
        cells = Cells(shape.h, shape.w, self.num, by_anchor=not by_cell)
        if by_cell:
            rows = graph.reshape(y, shape.h * shape.w * self.num, self._entries)
            sizes = {"objectness": 1, "classes": self.classes, "rest": self.coords - 4}
        else:
            rows = cells.rows(graph, y, self._entries)
            sizes = {"rest": self.coords - 4, "objectness": 1, "classes": self.classes}
        parts = _split(graph, rows, {"xy": 2, "wh": 2} | sizes)
        xy, wh, objectness = parts["xy"], parts["wh"], parts["objectness"]
        if by_cell:
            xy = graph.add("Sigmoid", xy)
        if self.background and not by_cell:
            shares = graph.slice(rows, 2, self.coords, self.coords + self.classes)
            ones = graph.add("Add", graph.zeros_like(objectness), graph.number("one", 1))
            objectness, parts["classes"] = ones, shares
        if not self.classes:
            parts["classes"] = graph.slice(rows, 2, 0, 0)
        wh = cells.sizes(graph, graph.add("Exp", wh), self.anchor_sizes, shape)
        xywh = graph.add("Concat", cells.centres(graph, xy), wh, axis=2)
        return GraphBoxes(xywh, objectness, parts["classes"], cells.boxes)

    def boxes(self, y: F32, net: Shape, threshold: float, dialect: Dialect) -> Boxes:
        """Return all boxes if the dialect stores by cell, otherwise those over the threshold."""
        anchors = self.anchor_sizes
        if dialect.region_by_cell:
            return get_region_boxes(
                y, anchors, self.classes, threshold, classfix=self.classfix, tree=self.tree
            )
        return get_region_detections(
            y,
            anchors,
            threshold,
            coords=self.coords,
            background=self.background,
            tree=self.tree,
        )

    def in_order(self, delta: F32, x: F32, context: TrainingContext) -> F32:
        """Rearrange values that are stored cell by cell into planes."""
        if not context.dialect.region_by_cell:
            return delta
        planes = np.empty_like(x)
        flatten(delta, x.shape[2] * x.shape[3], x.shape[1], planes, forward=False)
        return planes

    def filters_per_class(self) -> int:
        """Return one filter for each anchor."""
        return self.num


def _split(graph: GraphBuilder, x: Value, sizes: Mapping[str, int]) -> dict[str, Value]:
    """Split axis 2 into parts of the given sizes; a part of size 0 is omitted."""
    names = [name for name, size in sizes.items() if size]
    parts = graph.split(x, 2, [sizes[name] for name in names])
    return dict(zip(names, parts, strict=True))
