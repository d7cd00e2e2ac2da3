"""The pictures of a data set as inputs of a network, and those that could not be used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data import Dataset
from darknet_bn.errors import DarknetError, DarknetWarning, ImageError, Oddities
from darknet_bn.kernels.boxes.box import Size
from darknet_bn.model.model import Model
from darknet_bn.pictures.batches import load_inputs
from darknet_bn.pictures.prepare import Fit, own_fit
from darknet_bn.run.session import Session

DEFAULT_BATCH = 8
"""How many images are computed at once; each needs memory of its own."""


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
class Work:
    """What is computed, and how.

    Raises
    ------
    DarknetError
        ``batch`` is below 1, or there are no examples.
    """

    model: Model
    dataset: Dataset
    fit: Fit
    batch: int
    after_batch: Callable[[], None] | None
    session: Session | None = None
    failed: dict[int, ImageError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse work that cannot be done."""
        if self.batch < 1:
            raise DarknetError("batch must be at least 1", found=f"{self.batch}")
        if not len(self.dataset):
            raise DarknetError("there is nothing to evaluate")

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
