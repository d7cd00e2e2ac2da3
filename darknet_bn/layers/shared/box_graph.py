"""From the output of a detection head to boxes, in ONNX operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.layers.shape import Shape


@dataclass(frozen=True)
class GraphBoxes:
    """The boxes of a head as values in a graph, k for each image.

    Attributes
    ----------
    xywh : Value
        (n, k, 4): centre x and y, width and height, relative to the network's input.
    objectness : Value
        (n, k, 1)
    classes : Value
        (n, k, classes): how likely each class is if there is an object.
    count : int
        k.
    """

    xywh: Value
    objectness: Value
    classes: Value
    count: int


@dataclass(frozen=True)
class Cells:
    """The cells of a head, with several boxes each, and the order of the boxes.

    Attributes
    ----------
    h, w : int
        Rows and columns.
    count : int
        Number of boxes in a cell.
    by_anchor : bool
        Whether boxes are ordered anchor by anchor, or cell by cell.
    """

    h: int
    w: int
    count: int
    by_anchor: bool = False

    @property
    def boxes(self) -> int:
        """Total number of boxes."""
        return self.h * self.w * self.count

    def rows(self, graph: GraphBuilder, planes: Value, entries: int) -> Value:
        """Turn planes (n, count * entries, h, w) into a row for each box, (n, k, entries)."""
        apart = graph.reshape(planes, self.count, entries, self.h * self.w)
        perm = [0, 1, 3, 2] if self.by_anchor else [0, 3, 1, 2]
        turned = graph.add("Transpose", apart, perm=perm)
        return graph.reshape(turned, self.boxes, entries)

    def centres(self, graph: GraphBuilder, offsets: Value) -> Value:
        """Convert centres from offsets inside cells, (n, k, 2), to positions in the image."""
        row, column = np.divmod(np.arange(self.h * self.w), self.w)
        grid = graph.constant("grid", self._each(np.stack((column, row), 1)[:, None]))
        size = graph.constant("cells", np.array((self.w, self.h), np.float64))
        return graph.add("Div", graph.add("Add", offsets, grid), size)

    def sizes(
        self,
        graph: GraphBuilder,
        factors: Value,
        anchors: Sequence[tuple[float, float]],
        whole: Shape,
    ) -> Value:
        """Multiply factors (n, k, 2) by anchors, relative to a whole of width and height."""
        part = np.array(anchors, np.float32) / np.array((whole.w, whole.h), np.float64)
        return graph.add("Mul", factors, graph.constant("anchors", self._each(part[None])))

    def _each(self, values: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
        """Return values (cells or 1, count or 1, 2) for every box, (k, 2)."""
        whole = np.broadcast_to(values, (self.h * self.w, self.count, 2))
        ordered = whole.transpose(1, 0, 2) if self.by_anchor else whole
        return ordered.reshape(-1, 2).astype(np.float64)
