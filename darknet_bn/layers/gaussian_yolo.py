"""``[Gaussian_yolo]``: a ``[yolo]`` head that also gives the uncertainty of its boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.boxes.box import Boxes
from darknet_bn.kernels.boxes.decode import Point, get_gaussian_yolo_detections
from darknet_bn.kernels.losses.gaussian_yolo import GaussianYoloLoss
from darknet_bn.layers.options import option
from darknet_bn.layers.passes import TrainingContext
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.anchor_head import AnchorHead
from darknet_bn.layers.shared.box_graph import Cells, GraphBoxes
from darknet_bn.layers.shared.head import BoxValues

# Offset of the centre from the point that x and y give, as a share of the size.
_POINTS = {"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}


@dataclass(frozen=True, kw_only=True)
class GaussianYolo(AnchorHead):
    """Sigmoid of everything but width and height.  C: AlexeyAB's ``src/gaussian_yolo_layer.c``.

    Each anchor has the planes x, y, w, h, each followed by its uncertainty, objectness, and one
    plane for each class.
    """

    names: ClassVar[tuple[str, ...]] = ("Gaussian_yolo",)
    extended: ClassVar[bool] = True
    box: ClassVar[int] = 9
    raw: ClassVar[tuple[slice, ...]] = (slice(4, 5), slice(6, 7))
    stretched: ClassVar[tuple[slice, ...]] = (slice(0, 1), slice(2, 3))

    uc_normalizer: float = option(1.0)
    yolo_point: str = option("center", choices=("center", "left_top", "right_bottom"))

    def loss_function(self, context: TrainingContext) -> GaussianYoloLoss:
        """Return the function that compares the output with true boxes."""
        return GaussianYoloLoss(
            **vars(super().loss_function(context)),
            uc_normalizer=self.uc_normalizer,
            point=_POINTS[self.yolo_point],
        )

    def box_values(self, dialect: Dialect) -> BoxValues:
        """Let a box that is less certain have a lower score."""
        return BoxValues(8, 9, (1, 3, 5, 7))

    def box_graph(self, graph: GraphBuilder, y: Value, shape: Shape, net: Shape) -> GraphBoxes:
        """Do the same as `get_gaussian_yolo_detections`."""
        cells = Cells(shape.h, shape.w, len(self.masks))
        rows = cells.rows(graph, y, self.box + self.classes)
        parts = graph.split(rows, 2, [1] * self.box + [self.classes])
        sizes = graph.add("Exp", graph.add("Concat", parts[4], parts[6], axis=2))
        wh = cells.sizes(graph, sizes, self.anchor_sizes, net)
        xy = cells.centres(graph, graph.add("Concat", parts[0], parts[2], axis=2))
        if _POINTS[self.yolo_point]:
            xy = graph.add("Add", xy, graph.scaled(wh, _POINTS[self.yolo_point]))
        unsure = graph.add("Sum", *parts[1:8:2])
        sure = graph.shifted(graph.scaled(unsure, -0.25), 1)
        xywh = graph.add("Concat", xy, wh, axis=2)
        return GraphBoxes(xywh, parts[8], graph.add("Mul", parts[9], sure), cells.boxes)

    def boxes(self, y: F32, net: Shape, threshold: float, dialect: Dialect) -> Boxes:
        """Return the boxes with an objectness over the threshold."""
        point = cast("Point", self.yolo_point)
        size = (net.h, net.w)
        return get_gaussian_yolo_detections(y, self.anchor_sizes, size, threshold, yolo_point=point)
