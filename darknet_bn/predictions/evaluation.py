"""How well a model does on data whose truth is known: average precision, or accuracy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data import ArrayDataset, Dataset
from darknet_bn.errors import DarknetError, DarknetWarning, ImageError, Oddities, Where
from darknet_bn.kernels.boxes.box import Boxes, Size
from darknet_bn.kernels.boxes.nms import DEFAULT_OVERLAP
from darknet_bn.model.model import Model
from darknet_bn.pictures.batches import load_inputs
from darknet_bn.pictures.prepare import Fit, own_fit
from darknet_bn.predictions.average_precision import (
    DEFAULT_IOU,
    DEFAULT_THRESHOLD,
    AveragePrecision,
    average_precision,
    require_options,
)
from darknet_bn.predictions.boxes import heads_of, network_boxes, nms
from darknet_bn.predictions.classification import DEFAULT_TOP, class_layer, classify
from darknet_bn.run.outputs import compute_outputs
from darknet_bn.run.session import Session
from darknet_bn.values import brief, counted

_THRESHOLD = 0.005  # the least probability of boxes, low enough for the curve to continue
DEFAULT_BATCH = 8
"""How many images are computed at once; each needs memory of its own."""


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
    if batch < 1 or top < 1:
        raise DarknetError("batch and top must be at least 1", found=f"{batch}, {top}")
    if not len(dataset):
        raise DarknetError("there is nothing to evaluate")
    work = _Work(model, dataset, fit or own_fit_for_tests(model), batch, after_batch, session)
    if not model.network.is_detector:
        return _accuracy(work, top)
    require_options(iou_threshold, points, threshold)
    truths = _truths(dataset)
    found = _found(work, overlap)
    report = average_precision(
        found, truths, iou_threshold=iou_threshold, points=points, threshold=threshold
    )
    return replace(report, failed=work.tell_failed())


def own_fit_for_tests(model: Model) -> Fit:
    """Return how the program fits pictures into the input when it tests a network.

    Returns
    -------
    fit : "letterbox", "stretch" or "crop"
        ``"crop"`` for a classifier.  For a detector the result of `own_fit`, but ``"stretch"`` if
        its boxes are never taken out of a letterbox.

    Notes
    -----
    C: ``validate_classifier_single``, ``validate_detector``, ``validate_yolo``.
    """
    heads = model.network.heads.values()
    if not heads:
        return "crop"
    return own_fit(model) if all(head.leaves_letterbox for head in heads) else "stretch"


@dataclass(frozen=True, eq=False)
class _Work:
    """What is computed, and how."""

    model: Model
    dataset: Dataset
    fit: Fit
    batch: int
    after_batch: Callable[[], None] | None
    session: Session | None = None
    failed: dict[int, ImageError] = field(default_factory=dict)

    def inputs(self) -> Iterator[tuple[list[int], F32, list[Size]]]:
        """Yield the numbers of some images, their inputs, and the sizes of the pictures.

        Images that cannot be used go to ``failed``.
        """
        count = len(self.dataset)
        for start in range(0, count, self.batch):
            numbers = range(start, min(start + self.batch, count))
            x, sizes = self._load(numbers)
            if len(x):
                yield [each for each in numbers if each not in self.failed], x, sizes
            if self.after_batch is not None:
                self.after_batch()

    def _load(self, numbers: range) -> tuple[F32, list[Size]]:
        shape = self.model.network.input
        pictures = self.dataset.pictures
        if not pictures:
            rng = np.random.default_rng(0)  # nothing is drawn from it
            x, _ = self.dataset.batch(numbers, rng, shape=shape)
            return x, [(shape.h, shape.w)] * len(x)
        failed: dict[int, ImageError] = {}
        paths = [pictures[number].path for number in numbers]
        loaded = load_inputs(self.model, paths, self.fit, failed)
        self.failed.update((numbers[row], error) for row, error in failed.items())
        return loaded

    def tell_failed(self) -> int:
        """Warn of the pictures that could not be used, and return how many there are.

        Raises
        ------
        ImageError
            All pictures have failed.
        """
        odd = Oddities()
        for number in sorted(self.failed):
            odd(f"{self.failed[number]}; it counts as having no detections")
        if len(self.failed) == len(self.dataset):
            raise self.failed[0]
        for text in odd.texts:
            warnings.warn(text, DarknetWarning, stacklevel=4)
        return len(self.failed)


def _found(work: _Work, overlap: float | None) -> list[Boxes]:
    """Return the boxes of all pictures."""
    heads = heads_of(work.model.network)
    kind, beta = list(heads.values())[-1].suppression
    letterbox = work.fit == "letterbox"  # changes nothing for images of the input's size
    classes = next(iter(heads.values())).classes
    nothing = Boxes(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, classes), np.float32)
    )
    found = [nothing] * len(work.dataset)
    for numbers, x, sizes in work.inputs():
        outputs = compute_outputs(work.model, x, heads, session=work.session)
        boxes = network_boxes(
            work.model, outputs, image_sizes=sizes, threshold=_THRESHOLD, letterbox=letterbox
        )
        for number, each in zip(numbers, boxes, strict=True):
            found[number] = nms(each, overlap or 0, kind=kind, beta=beta)
    return found


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


def _accuracy(work: _Work, top: int) -> Accuracy:
    classes = work.model.network.nodes[class_layer(work.model.network)].y.size
    kinds = _kinds(work.dataset, classes)
    counts = np.zeros((3, classes), np.intp)
    np.add.at(counts[0], kinds, 1)
    for numbers, x, _ in work.inputs():
        found = classify(work.model, x, top=top, session=work.session)
        for number, scores in zip(numbers, found, strict=True):
            best = [score.class_id for score in scores]
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
