"""How well a model does on data whose truth is known: average precision, or accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data import ArrayDataset, Dataset
from darknet_bn.errors import DarknetError, Where
from darknet_bn.kernels.boxes.box import Size
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.pictures.prepare import Fit
from darknet_bn.predictions.average_precision import (
    DEFAULT_IOU,
    DEFAULT_THRESHOLD,
    AveragePrecision,
    require_options,
)
from darknet_bn.predictions.classification import DEFAULT_TOP, class_layer, classify
from darknet_bn.predictions.findings import find_boxes
from darknet_bn.predictions.inputs import DEFAULT_BATCH, Batch, Spread, Work, own_fit_for_tests
from darknet_bn.run.session import Session
from darknet_bn.values import brief, counted


@dataclass(frozen=True)
class ClassAccuracy:
    """How well a classifier recognises one class.

    Attributes
    ----------
    class_id, images : int
    top_1, top_k : int
        In how many of these it was the most probable class, and among the first ``top``.
    """

    class_id: int
    images: int
    top_1: int
    top_k: int


@dataclass(frozen=True)
class Accuracy:
    """How well a classifier recognises classes.

    Attributes
    ----------
    images, top : int
    top_1, top_k : float
        The share of the images whose class was the most probable, and among the first ``top``.
    classes : tuple of ClassAccuracy
        One for each class, in order.
    failed : int
        Pictures that could not be read or used; they count as wrong.
    """

    images: int
    top: int
    top_1: float
    top_k: float
    classes: tuple[ClassAccuracy, ...]
    failed: int = 0

    def __repr__(self) -> str:
        """Return one line about it."""
        parts = f"top 1 {self.top_1:.2%}, top {self.top} {self.top_k:.2%}"
        return brief(self, f"{parts} of {counted(self.images, 'image')}")


def evaluate(
    model: Model,
    dataset: Dataset,
    *,
    top: int = DEFAULT_TOP,
    points: int = 0,
    iou_threshold: float = DEFAULT_IOU,
    threshold: float = DEFAULT_THRESHOLD,
    overlap: float | None = DEFAULT_OVERLAP,
    fit: Fit | None = None,
    batch: int = DEFAULT_BATCH,
    session: Session | None = None,
    after_batch: Callable[[], None] | None = None,
    spread: Spread | None = None,
) -> AveragePrecision | Accuracy:
    """Compare a model's results with the truth.

    Parameters
    ----------
    model : Model
    dataset : Dataset
        As `load_dataset` opens it with ``train`` off.
    top : int
        For classifiers: among how many classes the true class may be.
    points, iou_threshold, threshold : int, float, float
        For detectors: as in `average_precision`.
    overlap : float or None
        For detectors: how much boxes may overlap, as ``nms`` in `detections`.
    fit : "letterbox", "stretch" or "crop", optional
        How to fit pictures from files into the input; by default as `own_fit_for_tests` says.
    batch : int
        How many images to compute at once.
    session : Session, optional
        What runs the model, as `open_session` gives it; by default `forward`.
    after_batch : function, optional
        Called after each batch, to show progress.
    spread : function, optional
        Called like `map`, with a function that can be pickled and with batches as ranges: it may
        compute them on other machines, and return the results in any order.  By default `map`
        itself.  The report is the same to the bit.

    Returns
    -------
    report : AveragePrecision or Accuracy
        An AveragePrecision for a detector, an Accuracy for a classifier.

    Raises
    ------
    DarknetError
        An option means nothing, or the data lack the truth that such a network needs.
    ImageError
        No picture can be read or used.

    Warns
    -----
    DarknetWarning
        A picture cannot be read or used; nothing counts as found in it.

    Notes
    -----
    C: ``validate_detector_map`` in AlexeyAB's ``src/detector.c`` (boxes more probable than 0.005),
    ``validate_classifier_single`` in ``src/classifier.c``.
    """
    if top < 1:
        raise DarknetError("top must be at least 1", found=f"{top}")
    if not model.network.is_detector:
        way = fit or own_fit_for_tests(model)
        work = Work(model, dataset, way, batch, after_batch, session, spread)
        return _accuracy(work, top)
    require_options(iou_threshold, points, threshold)
    findings = find_boxes(
        model,
        dataset,
        overlap=overlap,
        fit=fit,
        batch=batch,
        session=session,
        after_batch=after_batch,
        spread=spread,
    )
    return findings.average_precision(
        iou_threshold=iou_threshold, points=points, threshold=threshold
    )


def _accuracy(work: Work, top: int) -> Accuracy:
    classes = work.model.network.nodes[class_layer(work.model.network)].y.size
    kinds = _kinds(work.dataset, classes)
    counts = np.zeros((3, classes), np.intp)
    np.add.at(counts[0], kinds, 1)
    for number, _, best in work.found(_best, top):
        kind = kinds[number]
        counts[1:, kind] += best[0] == kind, kind in best
    images, right, among = counts.sum(axis=1).tolist()
    rows = enumerate(counts.T.tolist())
    return Accuracy(
        images,
        top,
        right / images,
        among / images,
        tuple(ClassAccuracy(number, *each) for number, each in rows),
        work.tell_failed(),
    )


def _best(batch: Batch, x: F32, sizes: list[Size]) -> list[list[int]]:
    """Return the most probable classes of some images, the best first."""
    found = classify(batch.model, x, top=batch.option, session=batch.session)
    return [[score.class_id for score in scores] for scores in found]


def _kinds(dataset: Dataset, classes: int) -> list[int]:
    """Return the class of each image."""
    if dataset.pictures:
        kinds = []
        for picture in dataset.pictures:
            if picture.number is None:
                raise DarknetError("its class is not known", where=Where(file=picture.path))
            kinds.append(picture.number)
        return kinds
    y = dataset.y if isinstance(dataset, ArrayDataset) else np.zeros(0)
    if y.dtype.kind in "iu" and y.size == len(y):
        return [int(number) for number in y.reshape(-1)]
    y = y.reshape(len(y), -1)
    one_hot = y.shape == (len(dataset), classes) and np.isin(y, (0, 1)).all()
    if not one_hot or (y.sum(axis=1) != 1).any():
        raise DarknetError(
            "the data has no classes, but the network is a classifier",
            expected=f"whole numbers, or a 1 among {classes} zeros",
        )
    return [int(number) for number in y.argmax(axis=1)]
