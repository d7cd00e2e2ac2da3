"""``[detection]``: the detection head of YOLOv1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import ExportError, ShapeError, Where
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.kernels.boxes.decode import get_detection_detections
from darknet_bn.kernels.losses.detection import DetectionLoss
from darknet_bn.kernels.softmax import softmax_cpu
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Inference, InferenceContext, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import flat
from darknet_bn.layers.shared.box_graph import Cells, GraphBoxes
from darknet_bn.layers.shared.head import Head


@dataclass(frozen=True, kw_only=True)
class DetectionHead(Head):
    """Pass the values on, with a softmax of the classes on request.  C: ``src/detection_layer.c``.

    The values are the classes of each cell, then the objectness of each box in each cell, then x,
    y, w and h of each box.
    """

    names: ClassVar[tuple[str, ...]] = ("detection",)
    leaves_letterbox: ClassVar[bool] = False

    coords: int = option(1, at_least=1)
    classes: int = option(1, at_least=0)
    num: int = option(1, at_least=1)
    side: int = option(7, at_least=1)
    softmax: bool = option(False)
    sqrt: bool = option(False)
    rescore: bool = option(False)
    max: int = option(200, original_default=90, at_least=0)
    coord_scale: float = option(1.0)
    object_scale: float = option(1.0)
    noobject_scale: float = option(1.0)
    class_scale: float = option(1.0)
    forced: bool = option(False)
    jitter: float = option(0.2)
    random: bool = option(False)
    reorg: bool = option(False)

    @property
    def max_boxes(self) -> int:
        """The option itself."""
        return self.max

    @property
    def grid(self) -> int:
        """The option ``side``."""
        return self.side

    def box_count(self, y: Shape) -> int:
        """Count ``num`` boxes for each cell."""
        return self.num * self.side**2

    def out_shape(self, xs: Shapes) -> Shape:
        """Return the number of inputs, which must match all cells, without an image shape."""
        cell = (1 + self.coords) * self.num + self.classes
        if xs[0].size != self.side**2 * cell:
            raise ShapeError(
                "the layer before does not have the outputs that this head needs",
                expected=f"output={self.side**2 * cell}: {self.side} x {self.side} cells x "
                f"({self.num} x (1 + {self.coords}) + {self.classes} classes)",
                found=f"{xs[0].size}",
            )
        return Shape(xs[0].size, flat=True)

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Copy, and apply a softmax to the classes of each cell."""
        cells, classes = self.side**2, self.classes

        def share(xs: Sequence[F32], y: F32) -> None:
            np.copyto(y, flat(xs[0]))
            if self.softmax:
                for image in y:
                    of_cells = image[: cells * classes].reshape(cells, classes)
                    softmax_cpu(of_cells, 1, of_cells)

        return share

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Flatten``; on request ``Softmax`` of the classes of each cell."""
        flat_x = graph.reshape(values[0], xs[0].size)
        cells, classes = self.side**2, self.classes
        if not self.softmax or not classes:
            return flat_x
        of_cells, rest = graph.split(flat_x, 1, [cells * classes, xs[0].size - cells * classes])
        shares = graph.add("Softmax", graph.reshape(of_cells, cells, classes), axis=2)
        return graph.add("Concat", graph.reshape(shares, cells * classes), rest, axis=1)

    def loss(self, y: F32, context: TrainingContext) -> tuple[F32, float] | None:
        """Compare with the truth for each cell."""
        if context.truth is None:
            return None
        cell = 1 + self.classes + 4
        if self.coords != 4 or context.truth.size != len(y) * self.side**2 * cell:
            raise ShapeError(
                "the truth does not fit the cells",
                expected=f"coords=4, and ({len(y)}, {self.side**2}, 1 + {self.classes} + 4)",
                found=f"coords={self.coords}, and {context.truth.shape}",
            )
        loss = DetectionLoss(
            side=self.side,
            num=self.num,
            classes=self.classes,
            coord_scale=self.coord_scale,
            object_scale=self.object_scale,
            noobject_scale=self.noobject_scale,
            class_scale=self.class_scale,
            rescore=self.rescore,
            sqrt=self.sqrt,
            forced=self.forced,
            random=self.random,
        )
        truth = context.truth.reshape(len(y), self.side**2, cell)
        return loss(y, truth, context.seen, context.rng)

    def box_graph(self, graph: GraphBuilder, y: Value, shape: Shape, net: Shape) -> GraphBoxes:
        """Do the same as `get_detection_detections`."""
        if self.coords != 4:
            raise ExportError("boxes need coords=4", found=f"{self.coords}")
        count, num = self.side**2, self.num
        cells = Cells(self.side, self.side, num)
        sizes = [count * self.classes, count * num, count * num * 4]
        classes, objectness, rest = graph.split(y, 1, sizes)
        xy, wh = graph.split(graph.reshape(rest, count * num, 4), 2, [2, 2])
        if self.sqrt:
            wh = graph.add("Mul", wh, wh)
        xywh = graph.add("Concat", cells.centres(graph, xy), wh, axis=2)
        if not self.classes:
            shares = graph.slice(xywh, 2, 0, 0)  # an empty value cannot be reshaped
        else:
            shares = graph.reshape(classes, count, 1, self.classes)
            shares = graph.add("Concat", *[shares] * num, axis=2) if num > 1 else shares
            shares = graph.reshape(shares, count * num, self.classes)
        return GraphBoxes(xywh, graph.reshape(objectness, count * num, 1), shares, cells.boxes)

    def boxes(self, y: F32, net: Shape, threshold: float, dialect: Dialect) -> Boxes:
        """Return all boxes."""
        if self.coords != 4:
            raise ShapeError(
                "boxes need x, y, w and h",
                where=Where(section="detection", key="coords"),
                expected="coords=4",
                found=f"{self.coords}",
            )
        return get_detection_detections(
            y, self.side, self.num, self.classes, threshold, sqrt=self.sqrt
        )
