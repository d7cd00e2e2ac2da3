"""Fit the anchors of a detector to the boxes of a data set, and edit its cfg for them.

Anchors are the widths and heights from which a head predicts boxes.  The anchors of the cfg are one
of the starts of `fit_sizes`, so the result is not worse than they are, except by rounding; then
they are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from darknet_bn.arrays import F32, F64
from darknet_bn.data.base import Dataset
from darknet_bn.data.truth import Move, correct_boxes
from darknet_bn.errors import DarknetError, Where
from darknet_bn.formats.cfg import Cfg
from darknet_bn.kernels.boxes.k_means import best_anchors, fit_sizes
from darknet_bn.layers.shape import Shape
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network, build_network
from darknet_bn.pictures.images import image_size
from darknet_bn.values import brief, brief_fields, counted
from darknet_bn.work.threads import workers

_DIGITS = 4  # significant ones of a number in the cfg
_EXACT = 12  # digits that undo the conversion to pixels
_MOST = 1000  # anchors


@dataclass(frozen=True)
class HeadAnchors:
    """The anchors of one head, before and after.

    Attributes
    ----------
    layer, section : int, str
        Number and section of the head.
    cells : (width, height)
        The size of its grid.
    old_mask, mask : tuple of int
        Which anchors it uses.
    old_filters, filters : int
        Filters of the layer before it.
    old_boxes, boxes : int
        For how many boxes of the data set it has the best anchor.
    """

    layer: int
    section: str
    cells: tuple[int, int]
    old_mask: tuple[int, ...]
    mask: tuple[int, ...]
    old_filters: int
    filters: int
    old_boxes: int
    boxes: int

    __repr__ = brief_fields


@dataclass(frozen=True)
class FittedAnchors:
    """Anchors that fit a data set.

    Attributes
    ----------
    cfg : Cfg
        The edited cfg; the same as before if the old anchors are kept.
    unit : "pixels" or "cells"
        What the numbers in the cfg count.
    old_anchors, anchors : tuple of (width, height)
        In this unit, as in the cfg.
    old_iou, iou : float
        Mean over all boxes of the IoU with their best anchor.
    boxes : int
        How many boxes there are.
    kept : bool
        Whether the old anchors are kept, because none better were found.
    heads : tuple of HeadAnchors
    """

    cfg: Cfg
    unit: str
    old_anchors: tuple[tuple[float, float], ...]
    anchors: tuple[tuple[float, float], ...]
    old_iou: float
    iou: float
    boxes: int
    kept: bool
    heads: tuple[HeadAnchors, ...]

    def __repr__(self) -> str:
        """Return a one-line description."""
        text = f"{counted(len(self.anchors), 'anchor')} for {counted(self.boxes, 'box', 'boxes')}"
        return brief(self, f"{text}: mean IoU {self.old_iou:.4f} before, {self.iou:.4f} now")


class AnchorHead(NamedTuple):
    """A head with anchors.

    Attributes
    ----------
    layer, before : int
        Its number, and that of the layer it reads.
    cells : (width, height)
        The size of its grid.
    mask : tuple of int
        Which anchors it uses.
    sizes : float64 array (anchors, 2)
        Of these anchors, in pixels.
    """

    layer: int
    before: int
    cells: tuple[int, int]
    mask: tuple[int, ...]
    sizes: F64


def fit_anchors(
    model: Model, data: Dataset, *, count: int | None = None, seed: int = 0
) -> FittedAnchors:
    """Fit the anchors of a detector to the boxes of a data set.

    Parameters
    ----------
    model : Model
        A detector with ``[yolo]``, ``[Gaussian_yolo]`` or ``[region]``; its arrays are not used.
    data : Dataset
        As `load_dataset` gives it for this model.
    count : int, optional
        How many anchors; by default as many as the heads use now.  Another number changes ``num=``,
        ``mask=``, and ``filters=`` of the layers before the heads.
    seed : int
        Seed of the starts.  The result depends on nothing else, not on the number of threads.

    Returns
    -------
    FittedAnchors

    Raises
    ------
    DarknetError
        The model has no anchors, there are too few boxes, or a head would have no anchor.

    Notes
    -----
    Boxes are measured as the network sees them in training: in a letterbox if the dialect keeps the
    shape of pictures or ``letter_box=1`` is in ``[net]``, else stretched to the input; parts
    outside the picture are cut off.

    Anchors are sorted by area.  The head with the finest grid gets the smallest ones, and so on, as
    in the published cfgs.  Each head keeps its number of anchors if the sum is ``count``; otherwise
    all get the same number, and what is left over goes to the coarsest heads.

    C: ``calc_anchors`` in AlexeyAB's ``src/detector.c``, which fits neither masks nor filters.
    """
    heads = anchor_heads(model.cfg, model.network)
    old = np.concatenate([head.sizes for head in heads])
    count = len(old) if count is None else count
    if not len(heads) <= count <= _MOST:
        raise DarknetError(
            "the number of anchors does not fit the heads",
            expected=f"{len(heads)} to {_MOST}, at least one for each head",
            found=f"{count}",
        )
    sizes = box_sizes(model, data)
    different = len(np.unique(sizes, axis=0))
    if different < count:
        raise DarknetError(
            "there are fewer different boxes than anchors",
            expected=f"at least {count}",
            found=f"{different}",
        )
    scale = _pixels_per_unit(model.network, heads)
    fitted = fit_sizes(sizes, count, seed, old if len(old) == count else None)
    fitted = _rounded(fitted / scale) * scale
    fitted = fitted[np.lexsort((fitted[:, 0], fitted[:, 0] * fitted[:, 1]))]
    old_iou, iou = _mean_iou(sizes, old), _mean_iou(sizes, fitted)
    kept = len(old) == count and iou <= old_iou
    cfg = model.cfg
    if not kept:
        cfg = _edited(model, heads, _masks(heads, count), fitted / scale)
    network = build_network(cfg, model.dialect, model.network.files)
    now = anchor_heads(cfg, network)
    return FittedAnchors(
        cfg=cfg,
        unit="cells" if model.network.heads[heads[0].layer].anchors_in_cells else "pixels",
        old_anchors=_listed(heads, scale),
        anchors=_listed(now, scale),
        old_iou=old_iou,
        iou=old_iou if kept else iou,
        boxes=len(sizes),
        kept=kept,
        heads=tuple(_told(model.network, network, heads, now, sizes)),
    )


def box_sizes(model: Model, data: Dataset) -> F64:
    """Return the sizes of all boxes of a data set, in pixels of a network's input.

    Parameters
    ----------
    model : Model
    data : Dataset

    Returns
    -------
    sizes : float64 array (boxes, 2)
        Width and height.

    Raises
    ------
    DarknetError
        There is no box, or the size of a picture cannot be read.
    """
    shape = model.network.input
    keeps_shape = bool(model.dialect.places_pictures or model.network.net.letter_box)
    pictures, boxes = data.pictures, data.boxes
    moves = [Move()] * len(boxes)
    if keeps_shape and pictures:

        def measure(at: int) -> None:
            width, height = image_size(pictures[at].path)
            moves[at] = Move.letterbox(width, height, shape)

        workers().run(measure, [at for at, each in enumerate(boxes) if len(each)])
    seen = [_seen(each, move, shape) for each, move in zip(boxes, moves, strict=True)]
    sizes = np.concatenate(seen) if seen else np.zeros((0, 2))
    if not len(sizes):
        raise DarknetError(
            "the data set has no boxes", where=Where(file=getattr(data, "name", None))
        )
    return sizes


def _seen(boxes: F32, move: Move, shape: Shape) -> F64:
    """Return the sizes of what is visible of boxes, in pixels."""
    somewhere = (boxes[:, :2] == 0).all(axis=1)  # classes without a place
    moved = correct_boxes(boxes[~somewhere], move)[:, 2:4].astype(np.float64)
    return moved[(moved > 0).all(axis=1)] * (shape.w, shape.h)


def _mean_iou(sizes: F64, anchors: F64) -> float:
    return float(best_anchors(sizes, anchors)[1].mean())


# -- the cfg -----------------------------------------------------------------------------------


def anchor_heads(cfg: Cfg, network: Network) -> list[AnchorHead]:
    """Return the heads with anchors, the finest grid first.

    Parameters
    ----------
    cfg, network : Cfg, Network
        The same net.

    Raises
    ------
    DarknetError
        There is none, or several have anchors in cells.
    """
    found = []
    for layer, head in network.heads.items():
        if not head.anchor_sizes:
            continue
        node = network.nodes[layer]
        sizes = np.array(head.anchor_sizes, np.float64)
        if head.anchors_in_cells:
            sizes = sizes * (network.input.w / node.y.w, network.input.h / node.y.h)
        mask = head.value("mask")
        numbers = tuple(range(len(sizes))) if mask is None else tuple(mask)
        found.append(AnchorHead(layer, node.sources[0], (node.y.w, node.y.h), numbers, sizes))
        if head.anchors_in_cells and len(found) > 1:
            raise DarknetError(
                "only one head may have anchors in cells", where=cfg.where(layer + 1)
            )
    if not found:
        raise DarknetError(
            "the cfg has no anchors",
            where=Where(file=cfg.file),
            expected="a detector with [yolo], [Gaussian_yolo] or [region]",
        )
    return sorted(found, key=lambda head: -head.cells[0] * head.cells[1])


def _pixels_per_unit(network: Network, heads: Sequence[AnchorHead]) -> F64:
    """Return how many pixels, horizontally and vertically, the unit of the cfg has."""
    if not network.heads[heads[0].layer].anchors_in_cells:
        return np.ones(2)
    width, height = heads[0].cells
    return np.array([network.input.w / width, network.input.h / height])


def _rounded(numbers: F64, digits: int = _DIGITS) -> F64:
    """Return numbers as they are written."""
    return np.array([float(f"{each:.{digits}g}") for each in numbers.flat]).reshape(numbers.shape)


def _masks(heads: Sequence[AnchorHead], count: int) -> list[tuple[int, ...]]:
    """Return which of the anchors, sorted by area, each head gets."""
    counts = [len(head.mask) for head in heads]
    if sum(counts) != count:
        each, rest = divmod(count, len(heads))
        counts = [each + (at >= len(heads) - rest) for at in range(len(heads))]
    ends = np.cumsum(counts).tolist()
    return [tuple(range(end - size, end)) for end, size in zip(ends, counts, strict=True)]


def _edited(
    model: Model, heads: Sequence[AnchorHead], masks: Sequence[tuple[int, ...]], anchors: F64
) -> Cfg:
    """Return the cfg with other anchors: in all heads, and in the layers before them."""
    text = ", ".join(f"{_number(width)},{_number(height)}" for width, height in anchors)
    edits: dict[tuple[int, str], str | None] = {}
    for head, mask in zip(heads, masks, strict=True):
        section, options = head.layer + 1, model.network.heads[head.layer].declared()
        edits[section, "anchors"] = text
        edits[section, "num"] = str(len(anchors))
        if "mask" in options:
            edits[section, "mask"] = ",".join(map(str, mask))
        if len(mask) == len(head.mask):
            continue
        before = model.network.nodes[head.before]
        if "filters" not in before.layer.declared():
            raise DarknetError(
                "the layer before the head has no filters= to change",
                where=model.cfg.where(head.before + 1),
            )
        edits[head.before + 1, "filters"] = str(before.y.c // len(head.mask) * len(mask))
    return model.cfg.edited(edits)


def _number(value: float) -> str:
    """Return a number for the cfg, without an exponent."""
    return np.format_float_positional(value, precision=_DIGITS, fractional=False, trim="-")


def _listed(heads: Sequence[AnchorHead], scale: F64) -> tuple[tuple[float, float], ...]:
    """Return the anchors that heads use, by their number, in the unit of the cfg."""
    numbered = {
        (number, width, height): None
        for head in heads
        for number, (width, height) in zip(
            head.mask, _rounded(head.sizes / scale, _EXACT).tolist(), strict=True
        )
    }
    return tuple((width, height) for _, width, height in sorted(numbered))


def _told(
    network: Network,
    changed: Network,
    old: Sequence[AnchorHead],
    new: Sequence[AnchorHead],
    sizes: F64,
) -> Iterator[HeadAnchors]:
    """Yield what changes for each head, in the order of the layers."""
    counts = [_boxes_of_heads(heads, sizes) for heads in (old, new)]
    before, after = ({head.layer: head for head in heads} for heads in (old, new))
    for layer in sorted(before):
        one, other = before[layer], after[layer]
        yield HeadAnchors(
            layer=layer,
            section=network.nodes[layer].layer.names[0],
            cells=one.cells,
            old_mask=one.mask,
            mask=other.mask,
            old_filters=network.nodes[one.before].y.c,
            filters=changed.nodes[other.before].y.c,
            old_boxes=counts[0][layer],
            boxes=counts[1][layer],
        )


def _boxes_of_heads(heads: Sequence[AnchorHead], sizes: F64) -> dict[int, int]:
    """Return for how many boxes each head has the best anchor; the finest of several equal ones."""
    owners = np.repeat(range(len(heads)), [len(head.mask) for head in heads])
    nearest, _ = best_anchors(sizes, np.concatenate([head.sizes for head in heads]))
    counts = np.bincount(owners[nearest], minlength=len(heads))
    return {head.layer: int(count) for head, count in zip(heads, counts, strict=True)}
