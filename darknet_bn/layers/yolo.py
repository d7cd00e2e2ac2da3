"""``[yolo]``: the detection head from YOLOv3 on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.activations import ACTIVATIONS, activate_tile
from darknet_bn.kernels.blocks import Block, run_blocks
from darknet_bn.kernels.box import Boxes
from darknet_bn.kernels.heads import get_yolo_detections
from darknet_bn.layers.base import Params, Setting, Shape, Shapes, Step
from darknet_bn.layers.head import Head, Suppression
from darknet_bn.layers.options import option
from darknet_bn.layers.shapes import check_filters, image

_BOX = 5  # planes of an anchor in front of its classes: x, y, w, h, objectness
_FLT_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class Yolo(Head):
    """Squash everything but width and height of the boxes.  C: ``src/yolo_layer.c``.

    Each anchor has the planes x, y, w, h, objectness, and one for each class.  The output is not
    yet boxes: ``w`` and ``h`` are logarithms, ``x`` and ``y`` are relative to the cell.
    """

    names: ClassVar[tuple[str, ...]] = ("yolo",)

    classes: int = option(20, at_least=0)
    num: int = option(1, at_least=1)
    mask: tuple[int, ...] | None = option(None, at_least=0)
    anchors: tuple[float, ...] = option(())
    max: int = option(lambda dialect: 200 if dialect.extended else 90)
    jitter: float = option(0.2)
    random: float = option(0.0)
    ignore_thresh: float = option(0.5)
    truth_thresh: float = option(1.0)
    map: str | None = option(None)

    scale_x_y: float = option(1.0, extended=True)
    new_coords: bool = option(False, extended=True)
    nms_kind: str = option(
        "default",
        choices=("default", "greedynms", "diounms", "cornersnms"),
        extended=True,
    )
    beta_nms: float = option(0.6, extended=True)
    resize: float = option(1.0, extended=True)
    focal_loss: bool = option(False, extended=True)
    label_smooth_eps: float = option(0.0, extended=True)
    objectness_smooth: bool = option(False, extended=True)
    iou_normalizer: float = option(0.75, extended=True)
    obj_normalizer: float = option(1.0, extended=True)
    cls_normalizer: float = option(1.0, extended=True)
    delta_normalizer: float = option(1.0, extended=True)
    iou_loss: str = option("mse", choices=("mse", "iou", "giou", "diou", "ciou"), extended=True)
    iou_thresh: float = option(1.0, extended=True)
    iou_thresh_kind: str = option(
        "iou", choices=("mse", "iou", "giou", "diou", "ciou"), extended=True
    )
    max_delta: float = option(_FLT_MAX, extended=True)
    counters_per_class: tuple[int, ...] | None = option(None, extended=True)
    show_details: int = option(1, extended=True)
    embedding_layer: int | None = option(None, extended=True)
    track_history_size: int = option(5, extended=True)
    sim_thresh: float = option(0.8, extended=True)
    dets_for_track: int = option(1, extended=True)
    dets_for_show: int = option(1, extended=True)
    track_ciou_norm: float = option(0.01, extended=True)

    @property
    def masks(self) -> tuple[int, ...]:
        """The anchors that this head uses, by number."""
        return tuple(range(self.num)) if self.mask is None else self.mask

    @property
    def anchor_sizes(self) -> tuple[tuple[float, float], ...]:
        """Width and height of each of ``masks``, in pixels of the network's input.

        Published files have masks beyond ``num``, where C reads past its array; the list of anchors
        has them, and counts here.
        """
        values = (*self.anchors, *(0.5,) * (2 * max(self.masks) + 2))
        return tuple((values[2 * each], values[2 * each + 1]) for each in self.masks)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape, whose channels must be as many as masks and classes ask for."""
        x, count = image(xs[0]), len(self.masks)
        what = f"{count} masks x ({_BOX} + {self.classes} classes)"
        check_filters(x, count * (_BOX + self.classes), what)
        return x

    def step(self, xs: Shapes, p: Params, setting: Setting) -> Step:
        """Squash all planes but two of each anchor, and stretch x and y."""
        logistic = ACTIVATIONS["logistic"]
        planes, pixels = _BOX + self.classes, xs[0].h * xs[0].w
        count = xs[0].c // planes
        scale = np.float32(self.scale_x_y)
        shift = np.float32(-0.5) * (scale - 1)

        def squash(xs: Sequence[F32], y: F32) -> None:
            x = xs[0]

            def block(at: Block) -> None:
                np.copyto(y[at], x[at])
                if not self.new_coords:
                    activate_tile(y[at], logistic)
                    for sizes in _pairs(at, 2, planes, count):
                        np.copyto(y[sizes], x[sizes])
                if scale != 1:
                    for centres in _pairs(at, 0, planes, count):
                        np.multiply(y[centres], scale, out=y[centres])
                        np.add(y[centres], shift, out=y[centres])

            run_blocks(block, len(y), count * planes, pixels)

        return squash

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

    @property
    def suppression(self) -> Suppression:
        """``nms_kind`` and ``beta_nms``."""
        return Suppression(self.nms_kind, self.beta_nms)

    def filters_per_class(self) -> int:
        """Return one for each mask."""
        return len(self.masks)


def _pairs(at: Block, first: int, planes: int, count: int) -> Iterator[Block]:
    """Yield the part inside a block of planes ``first`` and ``first + 1`` of every anchor."""
    images, part = at
    for start in range(first, count * planes, planes):
        low, high = max(start, part.start), min(start + 2, part.stop)
        if low < high:
            yield images, slice(low, high)
