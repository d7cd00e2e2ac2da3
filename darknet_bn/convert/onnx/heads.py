"""The forms in which the boxes of a detector leave an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from darknet_bn.graph.graph import FLOAT, Graph
from darknet_bn.layers.shape import Shape
from darknet_bn.layers.shared.box_graph import GraphBoxes

Form = Literal["raw", "decoded", "yolov5", "yolov8", "nms"]
Dims: TypeAlias = "tuple[int | str | None, ...]"

FORMS: tuple[Form, ...] = ("raw", "decoded", "yolov5", "yolov8", "nms")


def joined_boxes(graph: Graph, parts: Sequence[GraphBoxes]) -> GraphBoxes:
    """Put the boxes of several heads behind each other."""
    if len(parts) == 1:
        return parts[0]
    xywh = graph.add("Concat", *(part.xywh for part in parts), axis=1)
    objectness = graph.add("Concat", *(part.objectness for part in parts), axis=1)
    classes = graph.add("Concat", *(part.classes for part in parts), axis=1)
    return GraphBoxes(xywh, objectness, classes, sum(part.count for part in parts))


def decoded(graph: Graph, boxes: GraphBoxes, classes: int) -> dict[str, Dims]:
    """Add ``boxes``, left, top, right and bottom as parts of the input, and ``confs``."""
    return {
        graph.rename(_corners(graph, boxes), "boxes"): (boxes.count, 4),
        graph.rename(_scores(graph, boxes), "confs"): (boxes.count, classes),
    }


def yolov5_rows(graph: Graph, boxes: GraphBoxes, classes: int, net: Shape) -> dict[str, Dims]:
    """Add ``output0``: a row for each box, in pixels, with objectness and classes."""
    parts = (_in_pixels(graph, boxes, net), boxes.objectness, boxes.classes)
    rows = graph.add("Concat", *parts, axis=2)
    return {graph.rename(rows, "output0"): (boxes.count, 5 + classes)}


def yolov8_columns(graph: Graph, boxes: GraphBoxes, classes: int, net: Shape) -> dict[str, Dims]:
    """Add ``output0``: a column for each box, in pixels, with a score for each class."""
    rows = graph.add("Concat", _in_pixels(graph, boxes, net), _scores(graph, boxes), axis=2)
    columns = graph.add("Transpose", rows, perm=[0, 2, 1])
    return {graph.rename(columns, "output0"): (4 + classes, boxes.count)}


def suppressed(graph: Graph, boxes: GraphBoxes, threshold: float, nms: float) -> dict[str, Dims]:
    """Add ``detections``: number of the image, corners, score and class of each that is left.

    As ``do_nms_sort`` does, class by class.
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
    return {graph.rename(graph.add("Concat", *columns, axis=1), "detections"): (7,)}


def _scores(graph: Graph, boxes: GraphBoxes) -> str:
    return graph.add("Mul", boxes.objectness, boxes.classes)


def _corners(graph: Graph, boxes: GraphBoxes) -> str:
    centre, size = graph.split(boxes.xywh, 2, [2, 2])
    half = graph.scaled(size, 0.5)
    first, last = graph.add("Sub", centre, half), graph.add("Add", centre, half)
    return graph.add("Concat", first, last, axis=2)


def _in_pixels(graph: Graph, boxes: GraphBoxes, net: Shape) -> str:
    pixels = np.array((net.w, net.h, net.w, net.h), np.float64)
    return graph.add("Mul", boxes.xywh, graph.constant("pixels", pixels))
