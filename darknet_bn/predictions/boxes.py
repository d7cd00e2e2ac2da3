"""From the outputs of detection heads to boxes, and to the boxes that suppression keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError, ShapeError
from darknet_bn.kernels.boxes.box import Boxes, Size, correct_yolo_boxes, join_boxes
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP, diounms_sort, do_nms_obj, do_nms_sort
from darknet_bn.layers.shared.head import Head
from darknet_bn.model.model import Model
from darknet_bn.model.network import Network

ImageSizes = Size | Sequence[Size]

_KINDS = ("default", "greedynms", "diounms", "cornersnms", "obj")


def network_boxes(
    model: Model,
    outputs: Mapping[int, F32],
    *,
    image_sizes: ImageSizes | None = None,
    threshold: float | None = None,
    letterbox: bool | None = None,
) -> list[Boxes]:
    """Return the boxes of all heads, before any is suppressed.

    Parameters
    ----------
    model : Model
    outputs : dict from layer number to float32 array (n, c, h, w)
        The outputs of the heads, as `forward` returns them; others are ignored.
    image_sizes, threshold, letterbox
        As in `detections`.

    Returns
    -------
    boxes : list of Boxes
        For each picture the boxes of all heads, in their order; relative to the picture.

    Raises
    ------
    DarknetError
        The network has no detection head, or the threshold is not from 0 to 1.
    ShapeError
        The output of a head is missing or has another shape, or the sizes do not fit.

    Notes
    -----
    C: ``get_network_boxes`` in ``src/network.c``.  If a batch has two pictures, pjreddie's program
    takes the second for the first one flipped, and averages; here each is a picture of its own.
    """
    network, dialect = model.network, model.dialect
    heads = heads_of(network)
    if threshold is None:
        threshold = dialect.detection_threshold
    require_part("threshold", threshold)
    if letterbox is None:
        letterbox = dialect.letterboxes or network.net.letter_box
    count = len(outputs.get(min(heads), ()))
    for layer in heads:
        expected = (count, *network.nodes[layer].y.dims)
        if layer not in outputs or outputs[layer].shape != expected:
            raise ShapeError(
                f"the output of layer {layer} is missing or has the wrong shape",
                expected=f"{expected}",
                found=f"{outputs[layer].shape}" if layer in outputs else "none",
            )
    net = network.input
    boxes = []
    for number, size in enumerate(sizes_of(image_sizes, count, network)):
        parts = []
        for layer, head in heads.items():
            part = head.boxes(outputs[layer][number], net, threshold, dialect)
            if letterbox and head.leaves_letterbox:
                xywh = correct_yolo_boxes(part.xywh, size, (net.h, net.w))
                part = replace(part, xywh=xywh)
            parts.append(part)
        boxes.append(join_boxes(parts))
    return boxes


def nms(
    boxes: Boxes,
    threshold: float = DEFAULT_OVERLAP,
    *,
    kind: str = "default",
    beta: float = 0.6,
) -> Boxes:
    """Suppress boxes that overlap better ones.

    Parameters
    ----------
    boxes : Boxes
        The boxes of one picture.
    threshold : float
        How much two boxes may overlap, from 0 to 1; 0 suppresses nothing, as in the programs.
    kind : str
        ``"default"`` (and ``"cornersnms"``) compares boxes class by class, by IoU; ``"greedynms"``
        and ``"diounms"`` use the IoU less a power of the distance; ``"obj"`` suppresses whole boxes
        by their objectness.
    beta : float
        The exponent of ``"diounms"``; for ``"greedynms"`` it is always 0.6.

    Returns
    -------
    boxes : Boxes
        The boxes that still have a class, as the program sorts them.

    Raises
    ------
    DarknetError
        There is no such kind, or the threshold is not from 0 to 1.

    Notes
    -----
    C: ``do_nms_sort``, ``diounms_sort`` and ``do_nms_obj`` in ``src/box.c``.
    """
    require_part("the threshold of nms", threshold)
    if kind not in _KINDS:
        raise DarknetError(
            "unknown kind of nms", expected=f"one of {', '.join(_KINDS)}", found=f"{kind!r}"
        )
    if threshold:
        if kind == "obj":
            boxes = do_nms_obj(boxes, threshold)
        elif kind == "default":
            boxes = do_nms_sort(boxes, threshold)
        else:
            boxes = diounms_sort(boxes, threshold, kind, beta)
    return boxes.with_class()


def heads_of(network: Network) -> Mapping[int, Head]:
    """Return the detection heads by layer number; raise a DarknetError if there are none."""
    if not network.is_detector:
        raise DarknetError(
            "the network has no detection head",
            expected="[yolo] or [region]",
            hint="use darknet-bn classify for classifiers",
        )
    return network.heads


def sizes_of(given: ImageSizes | None, count: int, network: Network) -> list[Size]:
    """Return the size of each picture; raise an error for what is not a size."""
    if given is None:
        return [(network.input.h, network.input.w)] * count
    sizes = np.array(given, object)  # takes lists of unequal lengths too, which then do not fit
    if sizes.shape == (2,):
        sizes = np.broadcast_to(sizes, (count, 2))
    if sizes.shape != (count, 2) or not all(_is_size(value) for value in sizes.flat):
        raise ShapeError(
            "the sizes do not match the pictures",
            expected=f"(height, width), or {count} of these",
            found=f"{given}",
        )
    return [(int(h), int(w)) for h, w in sizes]


def _is_size(value: object) -> bool:
    return isinstance(value, int | np.integer) and int(value) > 0


def require_part(what: str, value: float) -> None:
    """Refuse a number that is not from 0 to 1."""
    if not 0 <= value <= 1:
        raise DarknetError(f"{what} is out of range", expected="0 to 1", found=f"{value}")
