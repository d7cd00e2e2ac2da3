"""``[yolo]``: the detection head since YOLOv3."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.kernels.boxes.decode import get_yolo_detections
from darknet_bn.kernels.losses.yolo import YoloLoss
from darknet_bn.layers.options import option
from darknet_bn.layers.passes import TrainingContext
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.anchor_head import AnchorHead
from darknet_bn.layers.shared.box_graph import Cells, GraphBoxes


@dataclass(frozen=True, kw_only=True)
class Yolo(AnchorHead):
    """Sigmoid of everything but width and height of the boxes.  C: ``src/yolo_layer.c``.

    Each anchor has the planes x, y, w, h, objectness, and one plane for each class.  The output is
    not boxes yet: ``w`` and ``h`` are logarithms, ``x`` and ``y`` are relative to the cell.
    """

    names: ClassVar[tuple[str, ...]] = ("yolo",)
    box: ClassVar[int] = 5
    raw: ClassVar[tuple[slice, ...]] = (slice(2, 4),)
    stretched: ClassVar[tuple[slice, ...]] = (slice(0, 2),)

    new_coords: bool = option(False, extended=True)
    thresh: float = option(0.2, at_least=0, opencv=True)
    nms_threshold: float = option(0.0, at_least=0, opencv=True)
    focal_loss: bool = option(False, extended=True)
    show_details: int = option(1, extended=True)
    embedding_layer: int | None = option(None, extended=True, reference=True)
    track_history_size: int = option(5, extended=True)
    sim_thresh: float = option(0.8, extended=True)
    dets_for_track: int = option(1, extended=True)
    dets_for_show: int = option(1, extended=True)
    track_ciou_norm: float = option(0.01, extended=True)

    @property
    def squashes(self) -> bool:
        """False with ``new_coords``, for which the layer before applies the sigmoid."""
        return not self.new_coords

    def loss_function(self, context: TrainingContext) -> YoloLoss:
        """Add the options that only this head has."""
        loss = super().loss_function(context)
        return replace(
            loss,
            new_coords=self.new_coords,
            focal_loss=self.focal_loss,
            details=loss.extended and self.show_details != 0,
        )

    def box_graph(self, graph: GraphBuilder, y: Value, shape: Shape, net: Shape) -> GraphBoxes:
        """Do the same as `get_yolo_detections`."""
        cells = Cells(shape.h, shape.w, len(self.masks), graph.dialect.boxes_by_anchor)
        rows = cells.rows(graph, y, self.box + self.classes)
        xy, wh, objectness, classes = graph.split(rows, 2, [2, 2, 1, self.classes])
        if self.new_coords:
            factors = graph.scaled(graph.add("Mul", wh, wh), 4)
        else:
            factors = graph.add("Exp", wh)
        wh = cells.sizes(graph, factors, self.anchor_sizes, net)
        xywh = graph.add("Concat", cells.centres(graph, xy), wh, axis=2)
        return GraphBoxes(xywh, objectness, classes, cells.boxes)

    def boxes(self, y: F32, net: Shape, threshold: float, dialect: Dialect) -> Boxes:
        """Return the boxes with an objectness over the threshold."""
        return get_yolo_detections(
            y,
            self.anchor_sizes,
            (net.h, net.w),
            threshold,
            new_coords=self.new_coords,
            by_anchor=dialect.boxes_by_anchor,
        )
