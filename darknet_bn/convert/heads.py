"""The forms of a detector's boxes in an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import FLOAT, Dims, Value
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.box_graph import GraphBoxes

Form = Literal["raw", "decoded", "yolov5", "yolov8", "nms"]

FORMS: tuple[Form, ...] = ("raw", "decoded", "yolov5", "yolov8", "nms")


def joined_boxes(graph: GraphBuilder, parts: Sequence[GraphBoxes]) -> GraphBoxes:
    """Concatenate the boxes of several heads."""
    if len(parts) == 1:
        return parts[0]
    xywh = graph.add("Concat", *(part.xywh for part in parts), axis=1)
    objectness = graph.add("Concat", *(part.objectness for part in parts), axis=1)
    classes = graph.add("Concat", *(part.classes for part in parts), axis=1)
    return GraphBoxes(xywh, objectness, classes, sum(part.count for part in parts))


def decoded(graph: GraphBuilder, boxes: GraphBoxes, classes: int) -> dict[Value, Dims]:
    """Add ``boxes``, left, top, right and bottom relative to the input, and ``confs``."""
    corners, scores = _corners(graph, boxes), _scores(graph, boxes)
    graph.names |= {corners: "boxes", scores: "confs"}
    return {corners: (boxes.count, 4), scores: (boxes.count, classes)}


def yolov5_rows(
    graph: GraphBuilder, boxes: GraphBoxes, classes: int, net: Shape
) -> dict[Value, Dims]:
    """Add ``output0``: a row for each box, in pixels, with objectness and classes."""
    parts = (_in_pixels(graph, boxes, net), boxes.objectness, boxes.classes)
    rows = graph.add("Concat", *parts, axis=2)
    graph.names[rows] = "output0"
    return {rows: (boxes.count, 5 + classes)}


def yolov8_columns(
    graph: GraphBuilder, boxes: GraphBoxes, classes: int, net: Shape
) -> dict[Value, Dims]:
    """Add ``output0``: a column for each box, in pixels, with a score for each class."""
    rows = graph.add("Concat", _in_pixels(graph, boxes, net), _scores(graph, boxes), axis=2)
    columns = graph.add("Transpose", rows, perm=[0, 2, 1])
    graph.names[columns] = "output0"
    return {columns: (4 + classes, boxes.count)}


def suppressed(
    graph: GraphBuilder, boxes: GraphBoxes, threshold: float, nms: float
) -> dict[Value, Dims]:
    """Add ``detections``: image number, corners, score and class of each box after suppression.

    The suppression works class by class, like ``do_nms_sort``.
    """
    corners, scores = _corners(graph, boxes), _scores(graph, boxes)
    chosen = graph.add(
        "NonMaxSuppression",
        corners,
        graph.add("Transpose", scores, perm=[0, 2, 1]),
        graph.ints("most", boxes.count),
        graph.number("overlap", nms),
        graph.number("threshold", threshold),
    )
    image, kind, box = graph.split(chosen, 1, [1, 1, 1])
    where = graph.add("Concat", image, box, axis=1)
    which = graph.add("Concat", image, box, kind, axis=1)
    score = graph.add("GatherND", scores, which)
    columns = (
        graph.add("Cast", image, to=FLOAT),
        graph.add("GatherND", corners, where),
        graph.add("Unsqueeze", score, graph.ints("axes", 1)),
        graph.add("Cast", kind, to=FLOAT),
    )
    detections = graph.add("Concat", *columns, axis=1)
    graph.names[detections] = "detections"
    return {detections: (7,)}


def _scores(graph: GraphBuilder, boxes: GraphBoxes) -> Value:
    return graph.add("Mul", boxes.objectness, boxes.classes)


def _corners(graph: GraphBuilder, boxes: GraphBoxes) -> Value:
    centre, size = graph.split(boxes.xywh, 2, [2, 2])
    half = graph.scaled(size, 0.5)
    first, last = graph.add("Sub", centre, half), graph.add("Add", centre, half)
    return graph.add("Concat", first, last, axis=2)


def _in_pixels(graph: GraphBuilder, boxes: GraphBoxes, net: Shape) -> Value:
    pixels = np.array((net.w, net.h, net.w, net.h), np.float64)
    return graph.add("Mul", boxes.xywh, graph.constant("pixels", pixels))
