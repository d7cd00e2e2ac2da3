"""What every data set has: a length, batches with their truth, a line about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import DarknetError
from darknet_bn.layers.shape import Shape
from darknet_bn.values import brief, counted, file_name


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of a data set, as the files have it.

    Attributes
    ----------
    path : str
    boxes : float32 array (boxes, 5)
        x, y, w, h and class of each box; empty in a data set of classes.
    number : int or None
        Its class, in a data set of classes.
    """

    path: str
    boxes: F32
    number: int | None = None

    def __repr__(self) -> str:
        """Return one line about it."""
        what = (
            f"class {self.number}"
            if self.number is not None
            else counted(len(self.boxes), "box", "boxes")
        )
        return brief(self, f"{file_name(self.path)}: {what}")


class Dataset(ABC):
    """Examples by number: inputs and their truth."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many examples there are."""

    @abstractmethod
    def batch(
        self, indices: Sequence[int], rng: np.random.Generator, *, shape: Shape
    ) -> tuple[F32, F32]:
        """Return some examples, in their order.

        Parameters
        ----------
        indices : sequence of int
            Numbers from 0 up to, but not including, the length.
        rng : Generator
            Each example gets a generator of its own from it, so that it does not depend on later
            ones.
        shape : Shape
            The shape of the network's input.

        Returns
        -------
        x : float32 array (n, *shape)
        truth : float32 array (n, ...)
            As `train_step` takes it.

        Raises
        ------
        DarknetError
            A file cannot be read.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return a line about the data set."""

    @property
    def pictures(self) -> Sequence[Picture]:
        """The pictures in files; empty if the examples are arrays."""
        return ()

    @property
    def boxes(self) -> Sequence[F32]:
        """The boxes (boxes, 5) of each example: x, y, w, h and class, as the files have them."""
        return [picture.boxes for picture in self.pictures]

    @property
    def left_out(self) -> Sequence[DarknetError]:
        """One error for each box in a label file that is impossible and ignored."""
        return ()

    @property
    def class_names(self) -> Sequence[str]:
        """The names of classes, if the labels themselves have them; else empty."""
        return ()

    @property
    def notes(self) -> Sequence[str]:
        """What to know about how the labels were read, such as the order of classes."""
        return ()

    @property
    def without_labels(self) -> Sequence[str]:
        """The pictures that have no label file, and so no boxes."""
        return ()


def many(count: int, what: str) -> str:
    """Return a count in words: ``1 box``, ``2 boxes``."""
    end = "es" if what.endswith(("s", "x")) else "s"
    return f"{count} {what}{end * (count != 1)}"
