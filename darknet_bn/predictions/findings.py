"""What a detector finds in a data set, next to what is there: the material of every measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data import ArrayDataset, Dataset
from darknet_bn.errors import DarknetError
from darknet_bn.kernels.boxes.box import Boxes, Size
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.pictures.prepare import Fit
from darknet_bn.predictions.average_precision import (
    DEFAULT_IOU,
    DEFAULT_THRESHOLD,
    AveragePrecision,
    average_precision,
)
from darknet_bn.predictions.boxes import heads_of, network_boxes, nms
from darknet_bn.predictions.inputs import DEFAULT_BATCH, Batch, Spread, Work, own_fit_for_tests
from darknet_bn.run.outputs import compute_outputs
from darknet_bn.run.session import Session
from darknet_bn.values import brief, counted

_THRESHOLD = 0.005  # the least probability of boxes, low enough for the curve to continue


@dataclass(frozen=True, eq=False)
class Findings:
    """What a detector found in the pictures of a data set, and what is in them.

    Attributes
    ----------
    found : tuple of Boxes
        The boxes of each picture, after suppression.
    truths : tuple of float32 arrays (k, 5)
        The true boxes of each picture: centre x and y, width, height and class, relative to the
        picture.
    sizes : tuple of (height, width)
        The size of each picture in pixels; of one that could not be used, the size of the input.
    paths : tuple of str
        The files of the pictures; empty if the examples are arrays.
    failed : int
        Pictures that could not be read or used; nothing is found in them.
    """

    found: tuple[Boxes, ...]
    truths: tuple[F32, ...]
    sizes: tuple[Size, ...]
    paths: tuple[str, ...] = ()
    failed: int = 0

    def __repr__(self) -> str:
        """Return one line about it."""
        boxes = counted(sum(map(len, self.found)), "box", "boxes")
        truths = counted(sum(map(len, self.truths)), "truth")
        return brief(self, f"{boxes} and {truths} in {counted(len(self.found), 'picture')}")

    @property
    def classes(self) -> int:
        """The number of classes."""
        count: int = self.found[0].probabilities.shape[1]
        return count

    def average_precision(
        self,
        *,
        iou_threshold: float = DEFAULT_IOU,
        points: int = 0,
        threshold: float = DEFAULT_THRESHOLD,
    ) -> AveragePrecision:
        """Return the average precision; parameters and errors are those of `average_precision`."""
        report = average_precision(
            self.found,
            self.truths,
            iou_threshold=iou_threshold,
            points=points,
            threshold=threshold,
        )
        return replace(report, failed=self.failed)


def find_boxes(
    model: Model,
    dataset: Dataset,
    *,
    overlap: float | None = DEFAULT_OVERLAP,
    fit: Fit | None = None,
    batch: int = DEFAULT_BATCH,
    session: Session | None = None,
    after_batch: Callable[[], None] | None = None,
    spread: Spread | None = None,
) -> Findings:
    """Run a detector on a data set, and keep what it finds.

    Parameters
    ----------
    model : Model
    dataset : Dataset
        As `load_dataset` opens it with ``train`` off.
    overlap : float or None
        How much boxes may overlap, as ``nms`` in `detections`.
    fit, batch, session, after_batch, spread
        As of `evaluate`.

    Returns
    -------
    findings : Findings
        Boxes more probable than 0.005.

    Raises
    ------
    DarknetError
        An option means nothing, or the network or the data have no boxes.
    ImageError
        No picture can be read or used.

    Warns
    -----
    DarknetWarning
        A picture cannot be read or used; nothing counts as found in it.
    """
    heads = heads_of(model.network)
    way = fit or own_fit_for_tests(model)
    work = Work(model, dataset, way, batch, after_batch, session, spread)
    truths = _truths(dataset)
    classes = next(iter(heads.values())).classes
    nothing = Boxes(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, classes), np.float32)
    )
    found = [nothing] * len(dataset)
    shapes = [(model.network.input.h, model.network.input.w)] * len(dataset)
    for number, size, boxes in work.found(_boxes, overlap):
        found[number] = boxes
        shapes[number] = size
    return Findings(
        tuple(found),
        tuple(truths),
        tuple(shapes),
        tuple(picture.path for picture in dataset.pictures),
        work.tell_failed(),
    )


def _boxes(batch: Batch, x: F32, sizes: list[Size]) -> list[Boxes]:
    """Return the boxes of some pictures."""
    heads = heads_of(batch.model.network)
    kind, beta = list(heads.values())[-1].suppression
    letterbox = batch.fit == "letterbox"  # changes nothing for images of the input's size
    outputs = compute_outputs(batch.model, x, heads, session=batch.session)
    boxes = network_boxes(
        batch.model, outputs, image_sizes=sizes, threshold=_THRESHOLD, letterbox=letterbox
    )
    return [nms(each, batch.option or 0, kind=kind, beta=beta) for each in boxes]


def _truths(dataset: Dataset) -> list[F32]:
    """Return the true boxes (k, 5) of each image."""
    if dataset.pictures:
        return [picture.boxes for picture in dataset.pictures]
    if not isinstance(dataset, ArrayDataset) or dataset.y.ndim != 3:
        raise DarknetError("the data has no boxes, but the network is a detector")
    truths: list[F32] = []
    for rows in dataset.y.astype(np.float32):
        ends = np.flatnonzero(rows[:, 0] == 0)
        truths.append(rows[: ends[0]] if len(ends) else rows)
    return truths
