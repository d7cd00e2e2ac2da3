"""Inputs that are loaded batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from darknet_bn.arrays import F32
from darknet_bn.errors import ImageError, ShapeError, Where
from darknet_bn.images import load_image
from darknet_bn.kernels.box import Size
from darknet_bn.model import Model
from darknet_bn.prepare import Fit, picture_shape, prepare
from darknet_bn.values import brief, brief_fields, counted
from darknet_bn.workers import workers


@dataclass(frozen=True)
class Batches:
    """A sequence of inputs (n, *shape), none of which stays in memory.

    Attributes
    ----------
    count : int
        How many images there are.
    size : int
        How many a batch has; the last may have fewer.
    load : function
        ``load(numbers)`` returns the images of these numbers, from 0 to ``count - 1``.
    """

    count: int
    size: int
    load: Callable[[range], F32]

    def __repr__(self) -> str:
        """Return one line about it."""
        return brief(self, f"of {self.size}, {counted(self.count, 'image')} in all")

    def __len__(self) -> int:
        """Return how many batches there are."""
        return -(-self.count // self.size)

    def __getitem__(self, number: int) -> F32:
        """Load a batch."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        start = number * self.size
        return self.load(range(start, min(start + self.size, self.count)))


def picture_batches(
    model: Model, paths: Sequence[str], size: int, fit: Fit | None = None
) -> Batches:
    """Return batches of the inputs that pictures become.

    Parameters
    ----------
    model : Model
    paths : sequence of str
    size : int
        How many a batch has.
    fit : "letterbox", "stretch" or "crop", optional
        As in `prepare`.

    Notes
    -----
    Loading a batch raises what `load_inputs` does.
    """
    return Batches(len(paths), size, _Pictures(model, tuple(paths), fit))


@dataclass(frozen=True, eq=False)
class _Pictures:
    """Pictures by number; unlike a function inside of another, it can be pickled."""

    model: Model
    paths: tuple[str, ...]
    fit: Fit | None

    __repr__ = brief_fields

    def __call__(self, numbers: range) -> F32:
        x, _ = load_inputs(self.model, [self.paths[number] for number in numbers], self.fit)
        return x


def load_inputs(
    model: Model, paths: Sequence[str], fit: Fit | None = None
) -> tuple[F32, list[Size]]:
    """Read pictures, and make them the input of a network, on all threads.

    Parameters
    ----------
    model : Model
    paths : sequence of str
    fit : "letterbox", "stretch" or "crop", optional
        As in `prepare`.

    Returns
    -------
    x : float32 array (n, c, h, w)
    sizes : list of (height, width)
        Of the pictures.

    Raises
    ------
    ImageError
        A picture cannot be read, or not be made the input; it names the file.
    ShapeError
        The network takes no pictures.
    """
    shape = picture_shape(model.network)
    x = np.empty((len(paths), *shape.dims), np.float32)
    sizes: list[Size] = [(0, 0)] * len(paths)

    def load(row: int) -> None:
        im = load_image(paths[row], shape.c)
        try:
            x[row] = prepare(im, model, fit)[0]
        except ShapeError as error:
            raise ImageError(
                error.problem,
                where=Where(file=paths[row]),
                expected=error.expected,
                found=error.found,
            ) from error
        sizes[row] = (im.shape[1], im.shape[2])

    workers().run(load, range(len(paths)))
    return x, sizes
