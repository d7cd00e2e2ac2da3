"""What ``[yolo]`` and ``[Gaussian_yolo]`` share: anchors, options, and their sigmoid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from darknet_bn.arrays import F32
from darknet_bn.dialect import Dialect
from darknet_bn.errors import CfgError, Where
from darknet_bn.graph.builder import GraphBuilder
from darknet_bn.graph.graph import Value
from darknet_bn.kernels.activations import ACTIVATIONS, activate_tile
from darknet_bn.kernels.losses.yolo import YoloLoss
from darknet_bn.layers.options import option
from darknet_bn.layers.parameters import Params
from darknet_bn.layers.passes import Inference, InferenceContext, TrainingContext
from darknet_bn.layers.shape import Shape, Shapes
from darknet_bn.layers.shapes import box_truth, check_filters, image
from darknet_bn.layers.shared.anchors import check_anchors
from darknet_bn.layers.shared.head import BoxValues, Head, Suppression
from darknet_bn.work.cuts import Block, run_blocks

_FLT_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class AnchorHead(Head):
    """A head with the same planes for each anchor.

    A subclass defines in ``box`` how many planes come before the classes, in ``raw`` which of them
    do not go through the sigmoid, and in ``stretched`` which of them ``scale_x_y`` applies to.
    """

    box: ClassVar[int]
    raw: ClassVar[tuple[slice, ...]]
    stretched: ClassVar[tuple[slice, ...]]

    num: int = option(1, at_least=1)
    mask: tuple[int, ...] | None = option(None, at_least=0)
    anchors: tuple[float, ...] = option(())
    max: int = option(200, original_default=90, at_least=0)
    jitter: float = option(0.2)
    random: float = option(0.0)
    ignore_thresh: float = option(0.5)
    truth_thresh: float = option(1.0)
    map: str | None = option(None)

    scale_x_y: float = option(1.0, extended=True)
    nms_kind: str = option(
        "default",
        choices=("default", "greedynms", "diounms", "cornersnms"),
        extended=True,
    )
    beta_nms: float = option(0.6, extended=True)
    resize: float = option(1.0, extended=True)
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

    def check(self, dialect: Dialect) -> Iterator[tuple[str, str]]:
        """Count the anchors, and the numbers in ``counters_per_class``."""
        counters = self.counters_per_class
        if counters is not None and len(counters) != self.classes:
            raise CfgError(
                "the number of values differs from the number of classes",
                where=Where(key="counters_per_class"),
                expected=f"{self.classes}, since classes={self.classes}",
                found=f"{len(counters)}",
            )
        yield from check_anchors(self.anchors, self.num, self.masks, "pixels")

    @property
    def masks(self) -> Sequence[int]:
        """The anchors that this head uses, by number."""
        return range(self.num) if self.mask is None else self.mask

    @property
    def max_boxes(self) -> int:
        """The option itself."""
        return self.max

    def box_count(self, y: Shape) -> int:
        """Count one box for each mask and pixel."""
        return len(self.masks) * y.h * y.w

    def box_values(self, dialect: Dialect) -> BoxValues:
        """Return the objectness, and after it the classes, which are last."""
        return BoxValues(self.box - 1, self.box)

    @property
    def anchor_sizes(self) -> tuple[tuple[float, float], ...]:
        """Width and height of each anchor in ``masks``, in pixels of the network's input.

        Published files have masks beyond ``num``, for which C reads past its array; the list of
        anchors contains these anchors, and they are used here.
        """
        pairs = [(*self.anchors[2 * each : 2 * each + 2], 0.5, 0.5) for each in self.masks]
        return tuple((pair[0], pair[1]) for pair in pairs)

    def out_shape(self, xs: Shapes) -> Shape:
        """Keep the shape; the number of channels must match masks and classes."""
        x, count = image(xs[0]), len(self.masks)
        what = f"{count} masks x ({self.box} + {self.classes} classes)"
        check_filters(x, count * (self.box + self.classes), what)
        return x

    @property
    def squashes(self) -> bool:
        """Whether the planes go through a sigmoid at all."""
        return True

    def infer(self, xs: Shapes, p: Params, context: InferenceContext) -> Inference:
        """Apply a sigmoid to all planes except those that stay raw, and stretch x and y."""
        logistic = ACTIVATIONS["logistic"]
        planes, pixels = self.box + self.classes, xs[0].h * xs[0].w
        count = xs[0].c // planes

        def squash(xs: Sequence[F32], y: F32) -> None:
            x = xs[0]
            scale = x.dtype.type(self.scale_x_y)
            shift = x.dtype.type(-0.5) * (scale - 1)

            def block(at: Block) -> None:
                np.copyto(y[at], x[at])
                if self.squashes:
                    activate_tile(y[at], logistic)
                    for part in _parts(at, self.raw, planes, count):
                        np.copyto(y[part], x[part])
                if scale != 1:
                    for part in _parts(at, self.stretched, planes, count):
                        np.multiply(y[part], scale, out=y[part])
                        np.add(y[part], shift, out=y[part])

            run_blocks(block, len(y), count * planes, pixels)

        return squash

    def onnx(self, graph: GraphBuilder, values: Sequence[Value], xs: Shapes, p: Params) -> Value:
        """``Sigmoid``, and a selection by plane; ``scale_x_y`` by plane."""
        y = values[0]
        if self.squashes:
            raw = graph.constant("raw", self._by_plane(self.raw, x=xs[0], yes=True, no=False))
            y = graph.add("Where", raw, y, graph.add("Sigmoid", y))
        if self.scale_x_y == 1:
            return y
        scale, shift = self.scale_x_y, -0.5 * (self.scale_x_y - 1)
        scales = self._by_plane(self.stretched, x=xs[0], yes=scale, no=1.0)
        shifts = self._by_plane(self.stretched, x=xs[0], yes=shift, no=0.0)
        y = graph.add("Mul", y, graph.constant("scale_x_y", scales))
        return graph.add("Add", y, graph.constant("shift_x_y", shifts))

    def _by_plane(
        self, of_anchor: tuple[slice, ...], *, x: Shape, yes: float, no: float
    ) -> npt.NDArray[Any]:
        """Return one value for some planes of every anchor, another for the rest, (c, 1, 1)."""
        planes = np.full(self.box + self.classes, no)
        for part in of_anchor:
            planes[part] = yes
        return np.tile(planes, x.c // len(planes)).reshape(-1, 1, 1)

    @property
    def random_sizes(self) -> float:
        """The option itself."""
        return self.random

    def loss_function(self, context: TrainingContext) -> YoloLoss:
        """Return the function that compares the output with true boxes."""
        count = max(self.num, 1 + max(self.masks, default=0))
        values = (*self.anchors, *(0.5,) * (2 * count))[: 2 * count]
        ab = context.dialect.fork_yolo_loss
        return YoloLoss(
            anchors=np.array(values, np.float64).reshape(count, 2),
            masks=tuple(self.masks),
            classes=self.classes,
            net=(context.net.h, context.net.w),
            ignore_thresh=self.ignore_thresh,
            truth_thresh=self.truth_thresh,
            extended=ab,
            iou_loss=self.iou_loss,
            iou_thresh=self.iou_thresh,
            iou_thresh_kind=self.iou_thresh_kind,
            iou_normalizer=self.iou_normalizer if ab else 1.0,
            obj_normalizer=self.obj_normalizer,
            cls_normalizer=self.cls_normalizer,
            max_delta=self.max_delta,
            label_smooth_eps=self.label_smooth_eps,
            objectness_smooth=self.objectness_smooth,
            counters_per_class=self.counters_per_class,
        )

    def loss(self, y: F32, context: TrainingContext) -> tuple[F32, float] | None:
        """Compare with the true boxes."""
        truth = box_truth(context, self.classes, self.map)
        return None if truth is None else self.loss_function(context)(y, truth)

    @property
    def suppression(self) -> Suppression:
        """``nms_kind`` and ``beta_nms``."""
        return Suppression(self.nms_kind, self.beta_nms)

    def filters_per_class(self) -> int:
        """Return one filter for each mask."""
        return len(self.masks)


def _parts(at: Block, of_anchor: tuple[slice, ...], planes: int, count: int) -> Iterator[Block]:
    """Yield the parts of a block that belong to given planes of every anchor."""
    images, part = at
    for start in range(0, count * planes, planes):
        for each in of_anchor:
            low, high = max(start + each.start, part.start), min(start + each.stop, part.stop)
            if low < high:
                yield images, slice(low, high)
