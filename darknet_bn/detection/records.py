"""What is found in pictures, as records in the order in which Darknet prints them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darknet_bn.detection.boxes import ImageSizes, heads_of, network_boxes, sizes_of
from darknet_bn.detection.boxes import nms as suppress
from darknet_bn.dialect import Dialect
from darknet_bn.kernels.box import Boxes, Size
from darknet_bn.model import Model
from darknet_bn.run import forward


@dataclass(frozen=True)
class Detection:
    """A box, and what is in it.

    Attributes
    ----------
    class_id : int
        The most probable class.
    probability : float
        Of that class, objectness included.
    objectness : float
        How sure it is that there is anything; 1 for AlexeyAB's ``[region]``.
    classes : tuple of (class, probability)
        All classes over the threshold that no other box has taken, in the order in which they are
        printed: the best first (AlexeyAB, hank-ai), or by number (pjreddie).
    box : tuple of float
        Centre x and y, width and height, as parts of the picture.
    image_size : (height, width)
        Of the picture, in pixels.
    """

    class_id: int
    probability: float
    objectness: float
    classes: tuple[tuple[int, float], ...]
    box: tuple[float, float, float, float]
    image_size: Size

    @property
    def left(self) -> float:
        """Of the box, in pixels; may be outside of the picture."""
        return (self.box[0] - self.box[2] / 2) * self.image_size[1]

    @property
    def top(self) -> float:
        """Of the box, in pixels; may be outside of the picture."""
        return (self.box[1] - self.box[3] / 2) * self.image_size[0]

    @property
    def width(self) -> float:
        """Of the box, in pixels."""
        return self.box[2] * self.image_size[1]

    @property
    def height(self) -> float:
        """Of the box, in pixels."""
        return self.box[3] * self.image_size[0]


def detections(
    model: Model,
    x: npt.ArrayLike,
    *,
    image_sizes: ImageSizes | None = None,
    threshold: float | None = None,
    nms: float | None = 0.45,
    nms_kind: str | None = None,
    letterbox: bool | None = None,
    exact: bool = False,
) -> list[list[Detection]]:
    """Find things in pictures.

    Parameters
    ----------
    model : Model
    x : float32 array (n, c, h, w)
        The pictures, resized or letterboxed to the size of the network's input.
    image_sizes : (height, width), or one for each picture
        Of the pictures before that; by default that of the network's input.
    threshold : float, optional
        From 0 to 1; by default the program's own: 0.5 for pjreddie, 0.25 for the forks.
    nms : float or None
        How much boxes may overlap; 0 or None keeps all boxes.
    nms_kind : str, optional
        As in `nms`; by default what the cfg says of the last head.
    letterbox : bool, optional
        Whether the pictures were letterboxed, and boxes are to be taken out of it again; by default
        what the program does: pjreddie's always, the forks' with ``letter_box=1`` in ``[net]``.
    exact : bool
        As in `forward`.

    Returns
    -------
    found : list of lists of Detection
        For each picture, in the order in which the program prints them.

    Raises
    ------
    DarknetError
        The network has no detection head, a threshold is not from 0 to 1, or there is no such kind.
    ShapeError
        The input or the sizes do not fit.

    Notes
    -----
    C: ``test_detector`` in ``examples/detector.c`` (pjreddie) and ``src/detector.c`` (AlexeyAB).
    hank-ai's makes no boxes for any head but ``[yolo]``; here it has those of AlexeyAB's.
    """
    heads = heads_of(model.network)
    own = list(heads.values())[-1].suppression
    outputs = forward(model, x, heads, exact=exact)
    sizes = sizes_of(image_sizes, len(outputs[min(heads)]), model.network)
    boxes = network_boxes(
        model, outputs, image_sizes=sizes, threshold=threshold, letterbox=letterbox
    )
    kept = [suppress(each, nms or 0, kind=nms_kind or own.kind, beta=own.beta) for each in boxes]
    return [
        list_detections(each, size, model.dialect) for each, size in zip(kept, sizes, strict=True)
    ]


def list_detections(boxes: Boxes, image_size: Size, dialect: Dialect) -> list[Detection]:
    """Turn boxes into a list as the program prints it.

    Parameters
    ----------
    boxes : Boxes
        Of one picture.
    image_size : (height, width)
        Of the picture, in pixels.
    dialect : Dialect
        AlexeyAB's and hank-ai's go from left to right and print the best class of a box first;
        pjreddie's leaves all as it is.

    Returns
    -------
    found : list of Detection
        Boxes without any class are left out.

    Notes
    -----
    C: ``draw_detections`` (pjreddie) and ``draw_detections_v3`` (AlexeyAB) in ``src/image.c``.
    """
    boxes = boxes.with_class()
    if dialect.prints_by_left:
        left = boxes.xywh[:, 0] - boxes.xywh[:, 2] / 2
        boxes = boxes.take(np.argsort(left, kind="stable"))
    rows, numbers = np.nonzero(boxes.probabilities)
    classes: list[list[tuple[int, float]]] = [[] for _ in range(len(boxes))]
    values = boxes.probabilities[rows, numbers]
    for row, number, value in zip(rows.tolist(), numbers.tolist(), values.tolist(), strict=True):
        classes[row].append((number, value))
    found = []
    for each, xywh, objectness in zip(
        classes, boxes.xywh.tolist(), boxes.objectness.tolist(), strict=True
    ):
        best = max(each, key=lambda entry: entry[1])  # the first of equal ones, as in C
        if dialect.prints_by_left:
            each = [best, *(entry for entry in each if entry is not best)]
        found.append(Detection(*best, objectness, tuple(each), tuple(xywh), image_size))
    return found
