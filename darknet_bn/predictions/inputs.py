"""The pictures of a data set as inputs of a network, and those that could not be used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.data import Dataset
from darknet_bn.errors import DarknetError, DarknetWarning, ImageError, Oddities
from darknet_bn.kernels.boxes.box import Size
from darknet_bn.model.model import Model
from darknet_bn.pictures.batches import load_inputs
from darknet_bn.pictures.prepare import Fit, own_fit
from darknet_bn.run.session import Session

Spread: TypeAlias = Callable[[Callable[[range], Any], Sequence[range]], Iterable[Any]]
"""How batches are computed: like `map`, but the results may come in any order."""

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
class Part:
    """What came of a batch: the images that could be used, what was found in them, the others."""

    numbers: list[int]
    sizes: list[Size]
    found: list[Any]
    failed: dict[int, ImageError]


@dataclass(frozen=True, eq=False)
class Batch:
    """A function of the numbers of a batch; unlike one inside another, it can be pickled."""

    model: Model
    dataset: Dataset
    fit: Fit
    session: Session | None
    look: Look
    option: Any

    def __call__(self, numbers: range) -> Part:
        """Load the images, and look at them."""
        failed: dict[int, ImageError] = {}
        x, sizes = self._load(numbers, failed)
        kept = [each for each in numbers if each not in failed]
        return Part(kept, sizes, self.look(self, x, sizes) if len(x) else [], failed)

    def _load(self, numbers: range, failed: dict[int, ImageError]) -> tuple[F32, list[Size]]:
        shape = self.model.network.input
        pictures = self.dataset.pictures
        if not pictures:
            rng = np.random.default_rng(0)  # nothing is drawn from it
            x, _ = self.dataset.batch(numbers, rng, shape=shape)
            return x, [(shape.h, shape.w)] * len(x)
        rows: dict[int, ImageError] = {}
        paths = [pictures[number].path for number in numbers]
        loaded = load_inputs(self.model, paths, self.fit, rows)
        failed.update((numbers[row], error) for row, error in rows.items())
        return loaded


Look: TypeAlias = Callable[[Batch, F32, list[Size]], list[Any]]
"""What is found in each of some images, from their inputs and sizes."""


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
    spread: Spread | None = None
    failed: dict[int, ImageError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse work that cannot be done."""
        if self.batch < 1:
            raise DarknetError("batch must be at least 1", found=f"{self.batch}")
        if not len(self.dataset):
            raise DarknetError("there is nothing to evaluate")

    def found(self, look: Look, option: Any) -> Iterator[tuple[int, Size, Any]]:
        """Yield the number of each image, its size, and what was found in it, in any order.

        Images that cannot be used go to ``failed``.

        Parameters
        ----------
        look : function
            It can be pickled.
        option
            What it needs to know beyond the batch.
        """
        count = len(self.dataset)
        starts = range(0, count, self.batch)
        batches = [range(start, min(start + self.batch, count)) for start in starts]
        compute = Batch(self.model, self.dataset, self.fit, self.session, look, option)
        for part in (self.spread or map)(compute, batches):
            self.failed.update(part.failed)
            yield from zip(part.numbers, part.sizes, part.found, strict=True)
            if self.after_batch is not None:
                self.after_batch()

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
