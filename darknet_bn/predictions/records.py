"""The objects found in pictures, as records in the order in which Darknet prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from darknet_bn.dialect import Dialect
from darknet_bn.formats.names import require_names
from darknet_bn.kernels.boxes.box import Boxes, Size
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.predictions.boxes import ImageSizes, heads_of, network_boxes, sizes_of
from darknet_bn.predictions.boxes import nms as suppress
from darknet_bn.run.outputs import compute_outputs
from darknet_bn.run.session import Session
from darknet_bn.values import brief

_HIDDEN = "dont_show"  # the beginning of class names that are not to be shown


class ClassScore(NamedTuple):
    """A class, its name, and how probable it is, objectness included."""

    class_id: int
    label: str
    probability: float


@dataclass(frozen=True)
class Detection:
    """A box, and the classes found in it.

    Attributes
    ----------
    classes : tuple of ClassScore
        All classes over the threshold that no better box has taken, in printing order: the best
        first (AlexeyAB, hank-ai), or by number (pjreddie).
    objectness : float
        How certain it is that the box holds an object; 1 for AlexeyAB's ``[region]``.
    box : tuple of float
        Centre x and y, width and height, relative to the picture.
    image_size : (height, width)
        The picture's size in pixels.
    """

    classes: tuple[ClassScore, ...]
    objectness: float
    box: tuple[float, float, float, float]
    image_size: Size

    def __repr__(self) -> str:
        """Return one line about it."""
        found = ", ".join(f"{each.label} {each.probability:.0%}" for each in self.classes)
        box = f"{self.left:.0f}, {self.top:.0f} to {self.right:.0f}, {self.bottom:.0f}"
        return brief(self, f"{box}: {found}")

    @property
    def best(self) -> ClassScore:
        """The most probable class; the first of equal ones."""
        return max(self.classes, key=lambda each: each.probability)

    @property
    def class_id(self) -> int:
        """The number of the most probable class."""
        return self.best.class_id

    @property
    def label(self) -> str:
        """The name of the most probable class, or its number if there are no names."""
        return self.best.label

    @property
    def probability(self) -> float:
        """The probability of the most probable class, objectness included."""
        return self.best.probability

    @property
    def left(self) -> float:
        """The left edge of the box in pixels; may be outside the picture."""
        return (self.box[0] - self.box[2] / 2) * self.image_size[1]

    @property
    def top(self) -> float:
        """The top edge of the box in pixels; may be outside the picture."""
        return (self.box[1] - self.box[3] / 2) * self.image_size[0]

    @property
    def width(self) -> float:
        """The width of the box in pixels."""
        return self.box[2] * self.image_size[1]

    @property
    def height(self) -> float:
        """The height of the box in pixels."""
        return self.box[3] * self.image_size[0]

    @property
    def right(self) -> float:
        """The right edge of the box in pixels; may be outside the picture."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The bottom edge of the box in pixels; may be outside the picture."""
        return self.top + self.height


def detections(
    model: Model,
    x: npt.ArrayLike | Mapping[int, npt.ArrayLike],
    *,
    image_sizes: ImageSizes | None = None,
    threshold: float | None = None,
    nms: float | None = DEFAULT_OVERLAP,
    nms_kind: str | None = None,
    letterbox: bool | None = None,
    names: Sequence[str] | None = None,
    exact: bool = False,
    session: Session | None = None,
) -> list[list[Detection]]:
    """Detect objects in pictures.

    Parameters
    ----------
    model : Model
    x : float32 array (n, c, h, w), or mapping from layer number to array
        The pictures, resized or letterboxed to the size of the network's input; or outputs of
        layers, from which the heads are computed as in `run_heads`.
    image_sizes : (height, width), or one for each picture
        The sizes of the pictures before resizing; by default the size of the network's input.
    threshold : float, optional
        From 0 to 1; by default the program's own: 0.5 for pjreddie, 0.25 for the forks.
    nms : float or None
        How much boxes may overlap; 0 or None keeps all boxes.
    nms_kind : str, optional
        As in `nms`; by default what the last head's options in the cfg say.
    letterbox : bool, optional
        Whether the pictures were letterboxed, so that boxes must be converted back; by default as
        the program does: pjreddie's always, the forks' if ``letter_box=1`` is in ``[net]``.
    names : sequence of str, optional
        Class names, as in `list_detections`.
    exact : bool
        As in `forward`.
    session : Session, optional
        What runs the model, as `open_session` gives it; by default `forward`.

    Returns
    -------
    found : list of lists of Detection
        For each picture, its detections in the order in which the program prints them.

    Raises
    ------
    DarknetError
        The network has no detection head, a threshold is not from 0 to 1, there is no such kind, or
        there are fewer names than classes.
    ShapeError
        The input or the sizes do not fit.

    Warns
    -----
    DarknetWarning
        There are more names than classes.

    Notes
    -----
    C: ``test_detector`` in ``examples/detector.c`` (pjreddie) and ``src/detector.c`` (AlexeyAB).
    hank-ai's program makes boxes for ``[yolo]`` only; here its other heads give AlexeyAB's boxes.
    """
    heads = heads_of(model.network)
    own = list(heads.values())[-1].suppression
    outputs = compute_outputs(model, x, heads, session=session, exact=exact)
    sizes = sizes_of(image_sizes, len(outputs[min(heads)]), model.network)
    boxes = network_boxes(
        model, outputs, image_sizes=sizes, threshold=threshold, letterbox=letterbox
    )
    kept = [suppress(each, nms or 0, kind=nms_kind or own.kind, beta=own.beta) for each in boxes]
    return [
        list_detections(each, size, model.dialect, names)
        for each, size in zip(kept, sizes, strict=True)
    ]


def list_detections(
    boxes: Boxes, image_size: Size, dialect: Dialect, names: Sequence[str] | None = None
) -> list[Detection]:
    """Turn boxes into a list of detections as the program prints it.

    Parameters
    ----------
    boxes : Boxes
        The boxes of one picture.
    image_size : (height, width)
        The picture's size in pixels.
    dialect : Dialect
        AlexeyAB's and hank-ai's programs sort boxes from left to right and print the best class of
        a box first; pjreddie's keeps the order.
    names : sequence of str, optional
        Class names; without them, the numbers of the classes are used.  AlexeyAB's and hank-ai's
        programs hide names that begin with ``dont_show``.

    Returns
    -------
    found : list of Detection
        Boxes without any class are left out.

    Raises
    ------
    DarknetError
        There are fewer names than classes.

    Warns
    -----
    DarknetWarning
        There are more names than classes.

    Notes
    -----
    C: ``draw_detections`` (pjreddie) and ``draw_detections_v3`` (AlexeyAB) in ``src/image.c``.
    """
    labels = _labels(boxes.probabilities.shape[1], names)
    shown = boxes.probabilities != 0
    if dialect.prints_by_left:
        left = boxes.xywh[:, 0] - boxes.xywh[:, 2] / 2
        by_left = np.argsort(left, kind="stable")
        boxes, shown = boxes.take(by_left), shown[by_left]
        shown[:, [label.startswith(_HIDDEN) for label in labels]] = False
    rows, numbers = np.nonzero(shown)
    scores: dict[int, list[ClassScore]] = {row: [] for row in rows.tolist()}
    values = boxes.probabilities[rows, numbers].tolist()
    for row, number, value in zip(rows.tolist(), numbers.tolist(), values, strict=True):
        scores[row].append(ClassScore(number, labels[number], value))
    found = []
    xywh, objectness = boxes.xywh.tolist(), boxes.objectness.tolist()
    for row, classes in scores.items():
        each = Detection(tuple(classes), objectness[row], tuple(xywh[row]), image_size)
        if dialect.prints_by_left:
            others = (score for score in classes if score is not each.best)
            each = replace(each, classes=(each.best, *others))
        found.append(each)
    return found


def _labels(classes: int, names: Sequence[str] | None) -> Sequence[str]:
    if names is None:
        return [str(number) for number in range(classes)]
    require_names(names, classes)
    return names[:classes]
